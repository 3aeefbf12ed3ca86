"""Training methods: how images are perturbed, and which loss the weights then descend.

    method = create("trades", epsilon=8/255, num_steps=10, beta=6.0)
    adversarial = method.perturb(logits_fn, images, labels, seed)
    per_example, metrics = method.loss(train_logits_fn, images, adversarial, labels)

A method is a pair of functions and knows neither the model nor the optimizer.  In every
method here the attack sees the network in inference mode (moving batch-norm statistics, no dropout)
and moves no statistics; the loss runs it in training mode, and each forward pass of the loss moves
them once, with the statistics of the images it is given.

Cost is counted in passes, one forward and one backward; a forward alone counts half of one.  With
K attack steps: `standard` 1, `fast` 2, `pgd` K + 1, `trades` K + 2.5, `backward_smoothing` K + 3.5,
`converge_smooth` 3.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from sat_tf import attacks

PerExample = tf.Tensor  # float32 [batch]
Loss = Callable[..., tuple[PerExample, dict[str, PerExample]]]


@dataclasses.dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
      perturb: an Attack: (logits_fn, images, labels, seed) -> images, no gradient through it.
      loss: (train_logits_fn, images, adversarial, labels) -> (float32 [batch] to average and
        descend, {metric name: float32 [batch]}).  It changes nothing besides what
        `train_logits_fn` changes: sharpness-aware updates call it twice a step on the same tensors.
      metrics: the names `loss` reports.
      bounds: the pixel range of the images; epsilon is in its units.
      state: what the method remembers from step to step, or None; see `converge_smooth.State`.
      config: {"name": ..., setting: value}, by which `create` makes the same method again; None
        for one that was made otherwise, with which no model can be copied.
    """

    perturb: attacks.Attack
    loss: Loss
    metrics: tuple[str, ...]
    bounds: tuple[float, float] = (0.0, 1.0)
    state: Any | None = None
    config: dict | None = None


def cross_entropy(logits, labels, *, label_smoothing=0.0):
    """Returns float32 [batch]: cross-entropy with one-hot targets, smoothed towards uniform.

    Args:
      logits: [batch, classes], any float dtype.
      labels: integer [batch].
      label_smoothing: share of the target spread evenly over all classes, in [0, 1).
    """
    logits = tf.cast(logits, tf.float32)
    classes = logits.shape[-1]
    # One-hot targets of other labels would be zero, and such examples teach nothing.
    tf.debugging.Assert(
        tf.reduce_all((labels >= 0) & (labels < classes)),
        [f"labels must be in [0, {classes}); found", labels],
    )
    targets = tf.one_hot(labels, classes) * (1.0 - label_smoothing) + label_smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits)


def is_correct(logits, labels):
    """Returns float32 [batch]: 1 where the largest logit is the label's."""
    return tf.cast(tf.equal(tf.argmax(logits, -1, output_type=labels.dtype), labels), tf.float32)


def _adversarial_loss(logits_fn, images, adversarial, labels, *, label_smoothing, metric):
    """Cross-entropy on the perturbed images alone, as Madry et al. and the SAT release do."""
    del images
    logits = logits_fn(adversarial)
    loss = cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return loss, {metric: is_correct(logits, labels)}


def _unperturbed(logits_fn, images, labels, seed):
    del logits_fn, labels, seed
    return images


def standard(*, label_smoothing=0.0, bounds=(0.0, 1.0)) -> Method:
    """Plain training on the images as they are: the baseline.  One pass."""
    return Method(
        _unperturbed,
        functools.partial(
            _adversarial_loss, label_smoothing=label_smoothing, metric="clean_accuracy"
        ),
        ("clean_accuracy",),
        bounds,
    )


def _train_on(attack, label_smoothing, bounds):
    return Method(
        attack,
        functools.partial(
            _adversarial_loss, label_smoothing=label_smoothing, metric="adversarial_accuracy"
        ),
        ("adversarial_accuracy",),
        bounds,
    )


def pgd(
    *,
    epsilon,
    num_steps=1,
    step_size=None,
    random_start=True,
    clean_start_probability=0.0,
    label_smoothing=0.0,
    norm="linf",
    bounds=(0.0, 1.0),
    compiled="none",
    loss_scale=1.0,
) -> Method:
    """PGD adversarial training (Madry et al., 2018), the inner loop of SAT (arXiv 2006.14536).

    num_steps + 1 passes.

    Args:
      epsilon, step_size: in the units of `bounds`; step_size None is the rule of `attacks.pgd`.
      clean_start_probability: chance, drawn once per batch and replica, of starting from the
        image itself; the release trains with 0.2.
      norm, bounds, compiled, loss_scale: see `attacks.pgd`.
    """
    attack = functools.partial(
        attacks.pgd,
        epsilon=epsilon,
        step_size=step_size,
        num_steps=num_steps,
        random_start=random_start,
        clean_start_probability=clean_start_probability,
        norm=norm,
        bounds=bounds,
        compiled=compiled,
        loss_scale=loss_scale,
    )
    return _train_on(attack, label_smoothing, bounds)


def fast(
    *,
    epsilon,
    step_size=None,
    label_smoothing=0.0,
    norm="linf",
    bounds=(0.0, 1.0),
    compiled="none",
    loss_scale=1.0,
) -> Method:
    """Fast adversarial training: one step from a random start (Wong et al., arXiv 2001.03994).

    The start is clipped to the pixel range and the step is 1.25 epsilon unless given, also with
    `norm` "l2", which the authors did not try.  A
    departure from the authors' code: batch norm is in inference mode while attacking, here as
    in all methods; theirs leaves it in training mode.  Two passes.
    """
    attack = functools.partial(
        attacks.pgd,
        epsilon=epsilon,
        step_size=fast_step_size(epsilon, 1) if step_size is None else step_size,
        num_steps=1,
        random_start=True,
        clip_start=True,
        norm=norm,
        bounds=bounds,
        compiled=compiled,
        loss_scale=loss_scale,
    )
    return _train_on(attack, label_smoothing, bounds)


def fast_step_size(epsilon, unused_num_steps):
    """Returns 1.25 epsilon, the step of Fast AT."""
    return 1.25 * epsilon


def step_of_epsilon(epsilon, unused_num_steps):
    """Returns epsilon, the step of Backward Smoothing and ConvergeSmooth."""
    return epsilon
