"""One call from a classifier and its data to a robust accuracy that was checked.

    result = evaluate(model, (images, labels), "pgd-20,square", epsilon=8 / 255)
    print(result)                       # a table; why to doubt it, where there is a reason
    result.robust_accuracy["pgd-20"]    # a fraction

`Evaluator` is the engine; this is what stands around it: any kind of model, data and attacks, and
the checks of `evaluation.checks` before and after.
"""

import dataclasses
import numbers
import time
import warnings
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from sat_tf import attacks as attacks_
from sat_tf.errors import UserError
from sat_tf.evaluation import asked as asking
from sat_tf.evaluation import checks as self_checks
from sat_tf.evaluation.batches import batches_of, check_classes
from sat_tf.evaluation.classifier import classifier_of, evaluated_weights
from sat_tf.evaluation.evaluator import Evaluator
from sat_tf.evaluation.result import Result
from sat_tf.evaluation.stream import Order, Stream
from sat_tf.evaluation.suite import Suite

PROBED_EXAMPLES = 128  # of the first, that the checks are made on
_LEAST_PROBED = 16  # even where batches are smaller: few examples tell little


def evaluate(
    model_or_function: Callable,
    data: Any,
    attacks: Any = "autoattack",
    *,
    epsilon: float | None = None,
    norm: str = "linf",
    batch_size: int = 128,
    seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
    checks: bool = True,
    strategy: tf.distribute.Strategy | None = None,
    verbose: int = 1,
) -> Result:
    """Returns the clean accuracy of a classifier, and that under each of the attacks.

    Data is read from its beginning for the checks, for the clean accuracy and for each attack, so
    that every reading has to have the same examples in the same order; one that differs is
    recognised by the examples' checksums, and refused.  Each finding of the self-checks is a Python
    warning as well.

    Args:
      model_or_function: a Keras model, of Keras 2 or of Keras 3 on TensorFlow; an AdversarialModel,
        of which the averaged weights are measured where it has them; or any function in TensorFlow
        operations, float32 [batch, height, width, channels] in `bounds` -> floating logits [batch,
        num_classes], in inference mode.
      data: (images, labels) or (images, labels, mask), arrays or tensors; or a tf.data.Dataset,
        Keras Sequence, list or other iterable of such batches, which begins anew each time it is
        read; or a tf.data.Dataset of single examples.  Images are floating, in `bounds`; labels
        integer class indices [batch] or [batch, 1]; the mask is bool [batch], False where an
        example is padding.
      attacks: a name as for `attacks.create`, such as "pgd-20"; a comma list of names; an attack (a
        Search, an Ensemble, or any function of logits_fn, images, labels, seed [batch, 2], which
        is given epsilon, norm and bounds where it asks for them by name); a list of these; or a
        dict of name -> any of them.  "clean" is counted in any case.
      epsilon: radius of the ball, in the units of the pixels, as 8/255; needed where an attack is
        asked for by its name.  All attacks are held to it, also functions.
      norm: "linf" or "l2", of the ball.
      batch_size: examples at a time, of arrays and single examples; batches are run as they are.
      seed: integer; decides all randomness.
      bounds: lowest and highest valid pixel.
      checks: False leaves the self-checks out, which the result then says.
      strategy: the tf.distribute strategy that runs it; None means the current one.
      verbose: 0 for no output, 1 for a progress bar for each attack, 2 for one line.
    Returns: a Result.
    Raises: ValueError for what the caller can mend; NotTrustworthy where no number would mean
      anything; NonFinite for logits that are not finite.
    """
    _check_settings(norm, batch_size, seed, bounds, checks, verbose)
    asked = asking.parse(attacks)
    threat = asking.threat_of(asked, epsilon=epsilon, norm=norm, bounds=bounds)
    batches = batches_of(data, batch_size)
    order = Order()
    stream = Stream(batches, order=order, bounds=bounds)
    first = stream.take(min(PROBED_EXAMPLES, max(_LEAST_PROBED, stream.batch_size)))
    if not first:
        raise UserError("data: no examples to evaluate")
    images, labels = first["images"], first["labels"]
    with evaluated_weights(model_or_function):
        logits_fn, num_classes = classifier_of(model_or_function, images)
        check_classes(labels, num_classes)
        evaluator = Evaluator(
            logits_fn,
            _made(asked, threat, num_classes, bounds),
            seed=seed,
            strategy=strategy,
            bounds=bounds,
        )
        found = []
        if checks:
            differentiable = _ask_for_gradients(asked)
            if differentiable is None:
                differentiable = self_checks.has_gradient(logits_fn, images)
            found += self_checks.examine(
                logits_fn, images, labels, bounds=bounds, seed=seed, differentiable=differentiable
            )
        told = _Told(verbose, getattr(batches, "examples", None))
        result = evaluator(batches, on_batch=told, order=order)
        told.end()
        if checks:
            black_box = [] if differentiable else [name for name in asked if name != "clean"]
            found += self_checks.review_result(result, threat=threat, black_box=black_box)
            wanted = self_checks.are_wanted("auto", result.survivors())
            if wanted and differentiable and threat is not None:
                found += self_checks.probe(logits_fn, images, labels, seed, threat=threat)
    findings = self_checks.first_of_each(found)
    for finding in findings:
        warnings.warn(f"{finding.name}: {finding.text}", stacklevel=2)
    return dataclasses.replace(
        result,
        epsilon=threat and threat.epsilon,
        norm=threat and threat.norm,
        checked=checks,
        findings=tuple(findings),
    )


def _check_settings(norm, batch_size, seed, bounds, checks, verbose):
    if norm not in attacks_.NORMS:
        raise UserError(f"norm={norm!r}: give one of {', '.join(map(repr, attacks_.NORMS))}")
    if not _is_integer(batch_size) or batch_size < 1:
        raise UserError(f"batch_size={batch_size!r}: give an integer of at least 1, such as 128")
    if not _is_integer(seed):
        raise UserError(f"seed={seed!r}: give an integer, such as 0")
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise UserError(f"bounds={bounds!r}: give (low, high) of the pixels, such as (0.0, 1.0)")
    asking.whole(bounds)
    if not isinstance(checks, bool):
        raise UserError(f"checks={checks!r}: give True or False")
    if verbose not in (0, 1, 2):
        raise UserError(f"verbose={verbose!r}: give 0, 1 or 2")


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _made(asked, threat, num_classes, bounds):
    """Returns {name: Search, Ensemble, or None for "clean"} of what was asked for."""
    # Without a radius in common there is still the range of the pixels that functions keep to.
    limit = threat or asking.whole(bounds)
    suite = Suite(
        epsilon=limit.epsilon,
        norm=limit.norm,
        num_classes=num_classes,
        **({} if limit.bounds == (0.0, 1.0) else {"bounds": limit.bounds}),
    )
    made = {}
    for name, attack in asked.items():
        if isinstance(attack, str):
            made[name] = suite.create(attack)
        elif isinstance(attack, attacks_.Ensemble):
            stages = {stage: _within(limit, search) for stage, search in attack.stages.items()}
            made[name] = attacks_.Ensemble(stages)
        elif isinstance(attack, attacks_.Search):
            made[name] = _within(limit, attack)
        else:
            made[name] = attacks_.held_to(limit, name, attack, told=threat is not None)
    return made


def _within(limit, search):
    """Returns the Search, held to the limit where it has none of its own."""
    return search if search.threat else dataclasses.replace(search, threat=limit)


def _ask_for_gradients(asked):
    """Returns whether an attack differentiates the network; None where only the caller knows."""
    known = []
    for name, attack in asked.items():
        if isinstance(attack, attacks_.Ensemble):
            known += map(attacks_.needs_gradient, attack.stages)
        elif isinstance(attack, (str, attacks_.Search)):
            known.append(attacks_.needs_gradient(attack if isinstance(attack, str) else name))
        else:
            known.append(None)
    return True if True in known else None if None in known else False


class _Told:
    """Progress as Keras shows it, a bar for each attack, or a line when one is over."""

    def __init__(self, verbose, examples):
        self._verbose, self._examples = verbose, examples
        self._name, self._bar, self._done, self._since = None, None, 0, time.monotonic()

    def __call__(self, name, done, total):
        if name != self._name:
            self.end()
            self._name, self._since = name, time.monotonic()
            if self._verbose == 1:
                print(name, flush=True)
                total = self._examples if total is None else total
                self._bar = tf.keras.utils.Progbar(total, unit_name="example")
        if self._bar is not None and done != self._done:
            self._bar.update(done, finalize=False)
        self._done = done

    def end(self):
        """Says that an attack is over."""
        if self._bar is not None:
            self._bar.update(self._done, finalize=True)
        elif self._verbose == 2 and self._name is not None:
            seconds = time.monotonic() - self._since
            print(f"{self._name}: {self._done} examples in {seconds:.1f} s", flush=True)
        self._name, self._bar = None, None
