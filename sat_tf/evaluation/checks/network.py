"""Can a robust accuracy be trusted?  Checks of the network and of an attack's images.

    for finding in examine(logits_fn, images, labels):       # before attacking, on one batch
        print(f"warning: {finding.name}: {finding.text}")
    check_inside(threat, images, adversarial)                # after

What makes every number meaningless raises `NotTrustworthy`; what makes one doubtful is a Finding.
`outcomes` judges what attacks achieved.  docs/evaluation.md explains each check by its name.
"""

from typing import NamedTuple

import numpy as np

from sat_tf.attacks import class_indices, images_within
from sat_tf.errors import NonFinite, NotTrustworthy
from sat_tf.evaluation.checks import gradients as gradients_of

CHECKS = {
    "randomised_model": "the same images give other logits when they are asked again",
    "probabilities_as_logits": "the outputs look like probabilities, not logits",
    "too_few_classes": "fewer classes than the DLR losses need",
    "zero_gradients": "the gradient of the attacked loss is zero on some examples",
    "batch_dependence": "an example's logits depend on what else is in its batch",
    "gradient_mismatch": "the logits do not change as their gradient says",
    "outside_ball": "an attack returned images that it was not allowed to",
    "square_beats_white_box": "the black-box attack breaks what all gradient attacks left standing",
    "single_step_beats_many": "one step of an attack breaks more than many steps",
    "more_steps_do_not_help": "an attack reaches a higher loss with fewer steps",
    "transfer_beats_white_box": "images made on another network break more than attacks on this",
    "robust_at_any_epsilon": "an attack without any limit leaves examples standing",
}

EXAMPLES = 64  # of a batch, at most
REPEATS = 2
MIN_CLASSES = 4
ZERO_SHARE = 0.05  # of the correctly classified examples
CONTRADICTED_SHARE, LEAST_DECIDED = 1 / 3, 8


class Finding(NamedTuple):
    """A warning: the name of its check in CHECKS, and one line with what was measured."""

    name: str
    text: str


def examine(
    logits_fn, images, labels, *, bounds=(0.0, 1.0), seed=0, loss_scale=1.0, differentiable=True
) -> list[Finding]:
    """Checks a network before it is attacked, on one batch of the evaluation's images.

    Runs the network on batches of the given size, at most 64; two graphs are traced.  A randomised
    model is not asked what it cannot answer: whether its gradient fits.

    Args:
      logits_fn: float32 [batch, height, width, channels] -> floating [batch, num_classes].
      images: floating [batch, height, width, channels] in `bounds`; 16 examples or more are best.
      labels: integer [batch].
      bounds: lowest and highest valid pixel.
      seed: integer; decides directions and points of the finite differences.
      loss_scale: factor on the loss whose gradient is taken, for float16 models.
      differentiable: False where no attack needs gradients; nothing is then said of them.
    Returns: the warnings, in the order of CHECKS.
    Raises: NonFinite; NotTrustworthy for batch_dependence and gradient_mismatch; UserError for a
      `logits_fn` that is not differentiable with respect to its images.
    """
    images = images_within(images, bounds).numpy()[:EXAMPLES]
    labels = class_indices(labels).numpy()[:EXAMPLES]
    if len(images) == 1:
        images, labels = np.repeat(images, 2, 0), np.repeat(labels, 2)  # each has a neighbour
    network = gradients_of.Network(logits_fn, loss_scale=loss_scale)
    logits = network.logits(images)
    _check_finite(logits)
    # Beyond rounding, which may differ between the places of a batch.
    tolerance = max(1e-4, 8 * network.arithmetic(images).rounding)
    repeats = max(_change(logits, network.logits(images)) for _ in range(REPEATS))
    _check_neighbours(network, images, logits, bounds, max(tolerance, 3 * repeats))
    findings = []
    if repeats > tolerance:
        findings.append(
            Finding(
                "randomised_model",
                (
                    f"logits of the same {len(images)} images change by up to {repeats:.2g} of "
                    f"the largest "
                    "when they are asked again"
                ),
            )
        )
    findings += _look_at_outputs(logits)
    if differentiable:
        findings += _look_at_gradients(network, images, labels, logits)
        if repeats <= tolerance:
            _check_gradient(network, images, bounds, seed)
    return findings


def check_inside(threat, images, adversarial):
    """Refuses images that an attack was not allowed to return.

    What rounding takes is allowed: 1e-6 of the pixel range; for "l2" also 1e-5 of epsilon, for the
    length of a change is a sum over all pixels.

    Args:
      threat: the ThreatModel.
      images: floating [n, height, width, channels], in its bounds.
      adversarial: floating, the same shape.
    Raises: NotTrustworthy, with how many are outside and by how much; also for NaN.
    """
    low, high = threat.bounds
    slack = 1e-6 * (high - low)
    adversarial = np.asarray(adversarial, np.float64)
    change = (adversarial - np.asarray(images, np.float64)).reshape(len(adversarial), -1)
    size = np.abs(change).max(-1) if threat.norm == "linf" else np.linalg.norm(change, axis=-1)
    reach = threat.epsilon + slack + (1e-5 * threat.epsilon if threat.norm == "l2" else 0.0)
    pixels = adversarial.reshape(len(adversarial), -1)
    excess = np.maximum(low - pixels, pixels - high).max(-1)
    # Written so that NaN, which compares with nothing, is outside.
    far, invalid = ~(size <= reach), ~(excess <= slack)
    if not (far | invalid).any():
        return
    parts = [
        text
        for count, text in (
            (
                far.sum(),
                f"{far.sum()} by more than epsilon={threat.epsilon:.6g} in {threat.norm} "
                f"(at most {size.max():.6g})",
            ),
            (
                invalid.sum(),
                f"{invalid.sum()} with pixels outside [{low:g}, {high:g}] (by at most "
                f"{excess.max():.3g})",
            ),
        )
        if count
    ]
    raise NotTrustworthy(
        "outside_ball",
        (
            f"{(far | invalid).sum()} of {len(adversarial)} adversarial images are not allowed: "
            f"{' and '.join(parts)}; mend the attack, its broken examples do not count"
        ),
    )


def _change(logits, others):
    """Returns the largest change of a logit, relative to the largest logit of its example."""
    size = np.maximum(np.abs(logits).max(-1), np.abs(others).max(-1))
    change = np.abs(logits - others).max(-1)
    return float(np.max(np.divide(change, size, out=np.zeros_like(change), where=size > 0)))


def _check_finite(logits):
    bad = int(np.count_nonzero(~np.isfinite(logits).all(-1)))
    if bad:
        raise NonFinite(
            f"the logits of {bad} of {len(logits)} examples are not finite (before any "
            "attack): there is no accuracy to report"
        )


def _check_neighbours(network, images, logits, bounds, tolerance):
    """Half of the batch keeps company with the negatives of the other half, in another order."""
    kept = len(images) // 2
    others = np.concatenate([sum(bounds) - images[kept:], images[:kept][::-1]])
    change = _change(logits[:kept], network.logits(others)[len(images) - kept :][::-1])
    if not change <= tolerance:
        raise NotTrustworthy(
            "batch_dependence",
            (
                f"logits of the same {kept} images change by up to {change:.2g} of the largest "
                f"when "
                "their neighbours and places in the batch change; give a logits_fn in inference "
                "mode "
                "(training=False), where batch normalisation uses its moving averages"
            ),
        )


def _look_at_outputs(logits):
    findings, classes = [], logits.shape[-1]
    off = float(np.abs(logits.sum(-1) - 1).max())
    # 1e-2: probabilities that were computed in half precision.
    if logits.min() >= 0 and logits.max() <= 1 and off <= 1e-2 and classes > 1:
        findings.append(
            Finding(
                "probabilities_as_logits",
                (
                    f"all outputs of {len(logits)} examples are in [0, 1] and their sums at most "
                    f"{off:.1g} "
                    "away from 1: they are taken for logits; leave out the softmax"
                ),
            )
        )
    if classes < MIN_CLASSES:
        findings.append(
            Finding(
                "too_few_classes",
                (
                    f"{classes} classes: the targeted DLR loss of apgd-t is defined by the 4th "
                    f"largest logit, "
                    "the untargeted one by the 3rd; with fewer, their denominators are other ones"
                ),
            )
        )
    return findings


def _look_at_gradients(network, images, labels, logits):
    """Zero gradients; refuses those that are not finite."""
    gradients = gradients_of.loss_gradients(network, images, labels)
    correct = logits.argmax(-1) == labels
    shares = {}
    for name, gradient in gradients.items():
        largest = np.abs(gradient).reshape(len(images), -1).max(-1)
        bad = int(np.count_nonzero(~np.isfinite(largest)))
        if bad:
            raise NotTrustworthy(
                "gradient_mismatch",
                (
                    f"the gradient of {name} is NaN or infinite on {bad} of {len(images)} "
                    f"examples, "
                    "whose logits are finite; mend the operation whose gradient overflows (such "
                    "as a "
                    "root or logarithm at 0), or use black-box attacks"
                ),
            )
        if correct.any():
            shares[name] = float(np.mean(largest[correct] <= gradients_of.VANISHING))
    if max(shares.values(), default=0.0) < ZERO_SHARE:
        return []
    parts = ", ".join(f"that of {name} on {share:.0%}" for name, share in shares.items())
    return [
        Finding(
            "zero_gradients",
            (
                f"the gradient is zero on some of {correct.sum()} correctly classified examples "
                f"({parts}): "
                "attacks cannot climb there"
            ),
        )
    ]


def _check_gradient(network, images, bounds, seed):
    for found in gradients_of.contradictions(network, images, seed=seed, bounds=bounds):
        if found.decided >= LEAST_DECIDED and found.wrong >= CONTRADICTED_SHARE * found.decided:
            raise NotTrustworthy(
                "gradient_mismatch",
                (
                    f"along {found.direction} the logits of {found.wrong} of {found.decided} "
                    f"examples "
                    f"do not change as their gradient says (one by {found.seen:.3g}, which should "
                    f"be "
                    f"{found.promised:.3g}); attack a logits_fn without stopped or made-up "
                    f"gradients "
                    "and rounded inputs, or use black-box attacks, such as square, alone"
                ),
            )
