"""An attack as a search that every example makes by itself.

    search = apgd_search("ce", epsilon=8 / 255)              # a Search
    adversarial = search(logits_fn, images, labels, seed)    # like any other attack

A search is a first state and a step from one state to the next.  What becomes of an example
depends on its own image, label and seed alone, so whoever runs the search may stop an example
that is broken, put another in its place, and go on later from a state that was saved;
`evaluation.lanes` does.  Called as a function, a search runs to its end on a batch as it is.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.attacks import draws, tracing
from sat_tf.attacks.arguments import Watched, checked_labels
from sat_tf.attacks.losses import cross_entropy
from sat_tf.attacks.threat import ThreatModel, images_within, per_example

COMPILED_FORMS = ("none", "step", "loop")

State = dict[str, tf.Tensor]  # each [batch, ...]


@dataclasses.dataclass(frozen=True)
class Search:
    """An attack, one example like the other.

    Attributes:
      begin: (logits_fn, images, labels, seed [batch, 2] or [2], run int32 [batch]) -> State.  The
        state holds what the search is to return, "adversarial", float32, the shape of `images`;
        and, where `stops`, "broken", bool [batch].  All randomness comes from seed and run.
      step: (logits_fn, images, labels, state, index int32 [batch]) -> State; `index` counts the
        steps that an example has made in this run.  May be compiled by XLA, so it draws nothing.
        None where `begin` does everything, in no steps.
      num_steps: steps of one run.
      threat: the ThreatModel that "adversarial" obeys at all times.
      runs: how many times to begin, for as long as no run has broken the example: restarts, times
        targets where the attack has targets.
      stops: whether a run may be over earlier, where "broken" says that "adversarial" is
        misclassified; the state is then left alone.
      targeted: whether labels are the classes to reach: an example is then broken when it is
        classified as that one.  An evaluation, which counts what is misclassified, is not made
        for it.
      compiled: one of COMPILED_FORMS: "none" for a plain graph loop; "step" for a graph loop over
        one XLA-compiled step; "loop" for the whole loop in one XLA program.
      passes: what a step costs an example, in passes of the network, one forward and one backward;
        a forward alone is half of one.  For estimates of time.
    """

    begin: Callable
    step: Callable | None
    num_steps: int
    threat: ThreatModel
    runs: int = 1
    stops: bool = False
    targeted: bool = False
    compiled: str = "none"
    passes: float = 1.0

    def __call__(
        self, logits_fn: Callable, images: TensorLike, labels: TensorLike, seed: int | TensorLike
    ) -> tf.Tensor:
        """Returns float32, the shape of `images`: where every run ends, or the best of several.

        With several runs, each example's result is its first broken one, else the one of the
        highest cross-entropy, or lowest where targeted.  The arguments are those of `pgd`, and so
        is what is raised.  Called eagerly it is traced once and kept, see `tracing`.
        """
        images = images_within(images, self.threat.bounds)
        labels, seed = checked_labels(labels, images), draws.as_seed(seed)
        return tracing.run(self, self._attacked, logits_fn, images, labels, seed)

    def advance(
        self,
        logits_fn: Callable,
        images: tf.Tensor,
        labels: tf.Tensor,
        state: State,
        index: tf.Tensor,
        count: int | tf.Tensor,
    ) -> tuple[State, tf.Tensor]:
        """Returns state and index after at most `count` further steps of each example."""
        if self.step is None:
            return state, index

        def step(values, images, labels):
            state, index = values
            new = self.step(logits_fn, images, labels, state, index)
            goes_on = index < self.num_steps
            if self.stops:
                goes_on &= ~state["broken"]
                new = {name: select(goes_on, new[name], old) for name, old in state.items()}
            return new, index + tf.cast(goes_on, index.dtype)

        def somebody_goes_on(values):
            state, index = values
            return tf.reduce_any((index < self.num_steps) & ~state["broken"])

        loop = repeat(step, count, self.compiled, somebody_goes_on if self.stops else None)
        return loop((state, index), images, labels)

    def through(self, transform: Callable) -> "Search":
        """Returns the same search, to which every logits_fn looks as transform(logits_fn).

        For attacks by another derivative, or made on another network.
        """

        def seen(logits_fn):
            watched = isinstance(logits_fn, Watched)
            return logits_fn.through(transform) if watched else transform(logits_fn)

        return dataclasses.replace(
            self,
            begin=lambda logits_fn, *arguments: self.begin(seen(logits_fn), *arguments),
            step=lambda logits_fn, *arguments: self.step(seen(logits_fn), *arguments),
        )

    def _attacked(self, logits_fn, images, labels, seed):
        def attack(run):
            state = self.begin(logits_fn, images, labels, seed, tf.zeros_like(labels) + run)
            return self.advance(
                logits_fn, images, labels, state, tf.zeros_like(labels), self.num_steps
            )[0]["adversarial"]

        return attack(0) if self.runs == 1 else self._strongest(logits_fn, attack, images, labels)

    def _strongest(self, logits_fn, attack, images, labels):
        def body(run, best, best_loss, best_broken):
            adversarial = attack(run)
            verdict = judge(logits_fn, adversarial, labels, targeted=self.targeted)
            loss = -verdict.loss if self.targeted else verdict.loss
            better = ~best_broken & (verdict.broken | (loss > best_loss))
            return (
                run + 1,
                select(better, adversarial, best),
                tf.where(better, loss, best_loss),
                best_broken | verdict.broken,
            )

        nothing = tf.zeros_like(labels, tf.float32)
        return tf.while_loop(
            lambda run, *_: run < self.runs,
            body,
            (tf.constant(0), images, nothing - math.inf, nothing > 0),
            parallel_iterations=1,
            maximum_iterations=self.runs,
        )[1]


class Verdict(NamedTuple):
    """What a network says of images, each [batch].

    `broken`: misclassified (where targeted, classified as the target), or not finite, so that the
    caller gets to see it; `finite`: whether all logits are; `loss`: cross-entropy, float32;
    `predicted`: int32; `known`: whether the label is a class of the network, without which the
    others mean nothing.
    """

    broken: tf.Tensor
    finite: tf.Tensor
    loss: tf.Tensor
    predicted: tf.Tensor
    known: tf.Tensor


def judge(
    logits_fn: Callable, images: TensorLike, labels: TensorLike, *, targeted: bool = False
) -> Verdict:
    """Returns the Verdict on images of these labels; the arguments are those of `pgd`.

    Raises: UserError, as `pgd`, for labels that are known to be none of the classes; those of a
      graph are for `known` to tell.
    """
    labels = checked_labels(labels, images)
    logits = tf.cast(Watched(logits_fn, labels)(images), tf.float32)
    predicted = tf.argmax(logits, -1, tf.int32)
    finite = tf.reduce_all(tf.math.is_finite(logits), -1)
    loss = tf.ensure_shape(cross_entropy(logits, labels), labels.shape)
    known = (labels >= 0) & (labels < tf.shape(logits)[-1])
    return Verdict(is_broken(logits, labels, targeted), finite, loss, predicted, known)


def is_broken(logits, labels, targeted=False):
    """Returns bool [batch]: whether another class has the highest logit, or one is not finite.

    Where targeted, whether the class of `labels` has it.
    """
    predicted = tf.argmax(logits, -1, tf.int32)
    reached = predicted == labels if targeted else predicted != labels
    return reached | ~tf.reduce_all(tf.math.is_finite(logits), -1)


def select(condition, chosen, other):
    """Returns `chosen` for the examples where `condition`, bool [batch], holds, else `other`."""
    return tf.ensure_shape(tf.where(per_example(condition, other), chosen, other), other.shape)


def repeat(step, count, compiled, goes_on=None):
    """Returns (values, images, labels) -> values after `count` steps, in the form asked for.

    Args:
      step: (values, images, labels) -> values, of the same structure and shapes.
      count: how many.
      compiled: one of COMPILED_FORMS.
      goes_on: values -> bool scalar, False where further steps would change nothing; or None.
    """
    # No AutoGraph of our own: logits_fn is traced in the same way in every form.
    if compiled == "step":
        step = tf.function(step, jit_compile=True, autograph=False)

    def loop(values, images, labels):
        return tf.while_loop(
            lambda index, values: (index < count) & goes_on(values) if goes_on else index < count,
            lambda index, values: (index + 1, step(values, images, labels)),
            (tf.constant(0), values),
            parallel_iterations=1,
            maximum_iterations=count,
        )[1]

    return tf.function(loop, jit_compile=True, autograph=False) if compiled == "loop" else loop


def compiled_form(xla: str, device_type: str) -> str:
    """Returns the form of the attack loop that suits a device.

    On a CPU, XLA runs convolutions far slower inside a loop than outside: against the plain
    graph loop, benchmarks/attack_speed.py measured 1.5 times the time for "step" and 17 times
    for "loop".  So there only the loop's body is compiled, and not unless asked for.  On GPU
    and TPU the choice of one program is XLA's usual practice, not measured here.

    Args:
      xla: "auto", "on" or "off".
      device_type: "CPU", "GPU" or "TPU", where the attack will run.
    Returns: one of COMPILED_FORMS, for the `compiled` argument of `pgd`.
    Raises: ValueError for any other value.
    """
    forms = {
        "off": {"CPU": "none", "GPU": "none", "TPU": "none"},
        "auto": {"CPU": "none", "GPU": "loop", "TPU": "loop"},
        "on": {"CPU": "step", "GPU": "loop", "TPU": "loop"},
    }
    if xla not in forms:
        raise ValueError(f"xla={xla!r}: allowed are {', '.join(forms)}")
    if device_type not in forms[xla]:
        raise ValueError(f"device_type={device_type!r}: allowed are {', '.join(forms[xla])}")
    return forms[xla][device_type]


def check_count(name, value):
    """Raises ValueError unless `value` is a positive integer."""
    if not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name}={value!r}: give an integer of at least 1")


def check_settings(num_steps, step_size, loss_scale, compiled):
    """Raises ValueError where one of them is out of its range, as `pgd` says."""
    check_count("num_steps", num_steps)
    if step_size is not None and not (math.isfinite(step_size) and step_size >= 0):
        raise ValueError(f"step_size={step_size}: give a number of at least 0, such as 1/255")
    if not (math.isfinite(loss_scale) and loss_scale > 0):
        raise ValueError(f"loss_scale={loss_scale}: give a number above 0")
    if compiled not in COMPILED_FORMS:
        raise ValueError(f"compiled={compiled!r}: allowed are {', '.join(COMPILED_FORMS)}")
