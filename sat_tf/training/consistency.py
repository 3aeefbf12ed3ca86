"""Methods whose loss asks for the same prediction on an image and on its adversarial one.

    method = trades(epsilon=8 / 255, num_steps=10, beta=6.0)

The cross-entropy is that of the clean image, and the divergence of the two predictions is added.
"""

import functools

import tensorflow as tf

from sat_tf import attacks
from sat_tf.training.methods import Method, cross_entropy, is_correct

_TRADES_NOISE = 0.001  # standard deviation of the start, in the authors' pixels of [0, 1]


def _consistency_loss(logits_fn, images, adversarial, labels, *, beta, label_smoothing):
    """CE(f(x), y) + beta KL(softmax f(x) || softmax f(x')), the outer loss of TRADES.

    The clean branch of the divergence is not detached.  The authors of TRADES run it as a forward
    pass of its own; here it is that of the cross-entropy, which has the same values (but for
    dropout) and saves a pass.  Clean images go first through the network, then perturbed ones, and
    both move the batch-norm statistics.
    """
    clean, attacked = logits_fn(images), logits_fn(adversarial)
    loss = cross_entropy(clean, labels, label_smoothing=label_smoothing)
    loss += beta * attacks.kl_divergence(clean, attacked)
    return loss, {
        "clean_accuracy": is_correct(clean, labels),
        "adversarial_accuracy": is_correct(attacked, labels),
    }


def _consistent(attack, beta, label_smoothing, bounds):
    return Method(
        attack,
        functools.partial(_consistency_loss, beta=beta, label_smoothing=label_smoothing),
        ("clean_accuracy", "adversarial_accuracy"),
        bounds,
    )


def trades(
    *,
    epsilon,
    num_steps=10,
    step_size=None,
    beta=6.0,
    label_smoothing=0.0,
    norm="linf",
    bounds=(0.0, 1.0),
    compiled="none",
    loss_scale=1.0,
) -> Method:
    """TRADES (Zhang et al., 2019, https://arxiv.org/abs/1901.08573), as the authors' code has it.

    The attack starts at x + 0.001 N(0, 1), since the divergence from the clean prediction, which it
    climbs, has no gradient at x itself; no label is used.  The clean logits are computed once, not
    at every step as in the authors' code: they are the same each time.  One forward, num_steps
    attack passes and two of training: num_steps + 2.5 passes.

    Args:
      epsilon, step_size: in the units of `bounds`; step_size None is the rule of `attacks.pgd`.
      beta: weight of the divergence, >= 0, the inverse of the paper's lambda; 1 to 10 are useful,
        and 6 is the authors' for CIFAR-10.
      label_smoothing: of the cross-entropy; the authors have none.
      norm, bounds, compiled, loss_scale: see `attacks.pgd`.
    """
    threat = attacks.ThreatModel(norm, epsilon=epsilon, bounds=bounds)
    deviation = _TRADES_NOISE * (threat.bounds[1] - threat.bounds[0])

    def perturb(logits_fn, images, labels, seed):
        clean = logits_fn(images)
        start = images + deviation * tf.random.stateless_normal(
            tf.shape(images), attacks.as_seed(seed)
        )
        return attacks.ascend(
            logits_fn,
            tf.ensure_shape(start, images.shape),
            images,
            labels,
            threat=threat,
            num_steps=num_steps,
            step_size=step_size,
            loss=lambda logits, unused_labels: attacks.kl_divergence(clean, logits),
            compiled=compiled,
            loss_scale=loss_scale,
        )

    return _consistent(perturb, beta, label_smoothing, bounds)


def backward_smoothing(
    *,
    epsilon,
    num_steps=1,
    step_size=None,
    beta=10.0,
    gamma=1.0,
    label_smoothing=0.0,
    norm="linf",
    bounds=(0.0, 1.0),
    compiled="none",
    loss_scale=1.0,
) -> Method:
    """Backward Smoothing (Chen et al., 2022, https://arxiv.org/abs/2010.01278), after their code.

    Noise is drawn around the logits, not around the image, and mapped back: from x, one step down
    KL(softmax(f(x) + gamma v) || softmax f(.)), v uniform in [-1, 1] per logit, gives the start.
    From there num_steps steps climb KL(softmax f(x) || softmax f(.)).  The outer loss is that of
    TRADES.  One forward, num_steps + 1 attack passes and two of training: num_steps + 3.5 passes.

    Args:
      epsilon, step_size: in the units of `bounds`; step_size None means epsilon, as in their code.
      beta: weight of the divergence in the loss, >= 0; 10 is their command for CIFAR-10.
      gamma: size of the noise on the logits, >= 0.
      label_smoothing: of the cross-entropy; the authors have none.
      norm, bounds, compiled, loss_scale: see `attacks.pgd`.
    """
    step_size = epsilon if step_size is None else step_size
    ascend = functools.partial(
        attacks.ascend,
        threat=attacks.ThreatModel(norm, epsilon=epsilon, bounds=bounds),
        step_size=step_size,
        compiled=compiled,
        loss_scale=loss_scale,
    )

    def perturb(logits_fn, images, labels, seed):
        clean = tf.cast(logits_fn(images), tf.float32)
        noise = tf.random.stateless_uniform(tf.shape(clean), attacks.as_seed(seed), -1.0, 1.0)
        target = clean + gamma * noise
        start = ascend(
            logits_fn,
            images,
            images,
            labels,
            num_steps=1,
            loss=lambda logits, unused_labels: -attacks.kl_divergence(target, logits),
        )
        return ascend(
            logits_fn,
            start,
            images,
            labels,
            num_steps=num_steps,
            loss=lambda logits, unused_labels: attacks.kl_divergence(clean, logits),
        )

    return _consistent(perturb, beta, label_smoothing, bounds)
