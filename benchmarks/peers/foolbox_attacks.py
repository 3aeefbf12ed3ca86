"""Foolbox (https://github.com/bethgelab/foolbox): FGSM and PGD in both norms; it has no Auto-PGD.

Its PGD is ours step by step: project onto the ball, then clip to the range, and return the last
iterate.  Its cross-entropy's gradient rounds to 0 where an example is classified with a margin of
over 17 or so; ours does not.
"""

import foolbox
import numpy as np
import tensorflow as tf

NAME, VERSION = "foolbox", foolbox.__version__


def _fgsm(setting):
    kind = {
        "linf": foolbox.attacks.LinfFastGradientAttack,
        "l2": foolbox.attacks.L2FastGradientAttack,
    }[setting.norm]
    return kind(random_start=False)


def _pgd(setting):
    kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[setting.norm]
    return kind(
        abs_stepsize=setting.step_size, steps=setting.num_steps, random_start=setting.random_start
    )


ATTACKS = {"fgsm": _fgsm, "pgd": _pgd}


def offers(setting) -> bool:
    """Returns whether there is such an attack."""
    return setting.algorithm in ATTACKS


def run(logits_fn, images, labels, setting):
    """Returns what the attack makes of the images, an array like them.

    The arguments are those of `agreement.judged`.
    """
    model = foolbox.models.TensorFlowModel(tf.function(logits_fn), bounds=(0, 1), device="/cpu:0")
    tf.random.set_seed(0)
    _, clipped, _ = ATTACKS[setting.algorithm](setting)(
        model,
        tf.constant(images),
        foolbox.criteria.Misclassification(tf.constant(labels)),
        epsilons=setting.epsilon,
    )
    return np.asarray(clipped)
