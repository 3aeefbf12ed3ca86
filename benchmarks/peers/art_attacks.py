"""The Adversarial Robustness Toolbox: FGSM, PGD, Auto-PGD and an ensemble after AutoAttack.

https://github.com/Trusted-AI/adversarial-robustness-toolbox
FGSM and PGD are ours step by step, but that an L2 step is clipped to the range first and then
projected onto the ball; with us, as in Foolbox, it is the other way round.

Auto-PGD departs from the authors' code, and from ours, which follows that:

- it returns the last iterate where that is misclassified, else the random start; an example that is
  misclassified on the way only counts as robust, with us any iterate counts;
- the random start is uniform in the ball, not stretched to its surface;
- a move counts as a rise where it raises the loss above the highest so far, not above the last one,
  so that steps are halved sooner;
- an example that goes back to its best point goes on with the momentum it had there;
- a batch in which every loss is 0 is over.

`autoattack` is its ensemble: that Auto-PGD with cross-entropy and with DLR, DeepFool, and Square.
Neither targeted Auto-PGD nor FAB are in it.  Its own numbers of restarts, five, are one here, as in
the authors' standard version.  In L2 its Square divides 0 by 0 on images of under 10 pixels a side,
as the digits are, so that there the ensemble is left out.
"""

import art
import numpy as np
import tensorflow as tf
from art.attacks import evasion
from art.estimators.classification import TensorFlowV2Classifier

NAME, VERSION = "art", art.__version__


def _ball(setting):
    return {"norm": {"linf": np.inf, "l2": 2}[setting.norm], "eps": setting.epsilon}


def _fgsm(classifier, setting, size):
    return evasion.FastGradientMethod(
        classifier, **_ball(setting), eps_step=setting.epsilon, batch_size=size
    )


def _pgd(classifier, setting, size):
    return evasion.ProjectedGradientDescent(
        classifier,
        **_ball(setting),
        eps_step=setting.step_size,
        max_iter=setting.num_steps,
        num_random_init=int(setting.random_start),
        batch_size=size,
        verbose=False,
    )


def _apgd(loss):
    return lambda classifier, setting, size: evasion.AutoProjectedGradientDescent(
        classifier,
        **_ball(setting),
        eps_step=2 * setting.epsilon,
        max_iter=100,
        nb_random_init=1,
        batch_size=size,
        loss_type=loss,
        verbose=False,
    )


def _autoattack(classifier, setting, size):
    return evasion.AutoAttack(
        classifier,
        **_ball(setting),
        eps_step=2 * setting.epsilon,
        batch_size=size,
        attacks=[
            *(ATTACKS[name](classifier, setting, size) for name in ("apgd-ce", "apgd-dlr")),
            evasion.DeepFool(
                classifier, max_iter=100, epsilon=1e-3, nb_grads=10, batch_size=size, verbose=False
            ),
            evasion.SquareAttack(
                classifier,
                **_ball(setting),
                max_iter=5000,
                p_init=0.8,
                nb_restarts=1,
                batch_size=size,
                verbose=False,
            ),
        ],
    )


ATTACKS = {
    "fgsm": _fgsm,
    "pgd": _pgd,
    "apgd-ce": _apgd("cross_entropy"),
    "apgd-dlr": _apgd("difference_logits_ratio"),
    "autoattack": _autoattack,
}


def offers(setting) -> bool:
    """Returns whether there is such an attack for the digits."""
    return setting.algorithm in ATTACKS and (setting.algorithm, setting.norm) != (
        "autoattack",
        "l2",
    )


def run(logits_fn, images, labels, setting):
    """Returns what the attack makes of the images, an array like them.

    The arguments are those of `agreement.judged`.
    """
    classes = int(logits_fn(tf.constant(images[:1])).shape[-1])
    classifier = TensorFlowV2Classifier(
        model=tf.function(lambda images, training=False: logits_fn(images)),
        nb_classes=classes,
        input_shape=images.shape[1:],
        clip_values=(0.0, 1.0),
        loss_object=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    np.random.seed(0)
    # Its DLR makes a matrix of a batch by itself, and a loop of Python over a batch.
    attack = ATTACKS[setting.algorithm](classifier, setting, min(len(images), 120))
    return attack.generate(images, tf.one_hot(labels, classes).numpy())
