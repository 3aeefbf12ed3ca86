"""Attacks on a few examples whose outcomes tell whether gradient attacks work on a network.

    for finding in probe(logits_fn, images, labels, seed=0, threat=threat):
        print(f"warning: {finding.name}: {finding.text}")

They must get better with more steps, and break everything where nothing limits them; where they do
not, gradients are masked.  docs/evaluation.md explains the checks under their names.
"""

import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf

from sat_tf.attacks import (
    as_seed,
    class_indices,
    images_within,
    is_of_autoattack,
    judge,
    pgd_search,
)
from sat_tf.evaluation.checks import outcomes

CROSSING = 2.5  # radii that the steps of an attack make together


class Prober:
    """FGSM, PGD with a quarter of the steps and with all of them, and PGD without a limit.

    One graph for each, and one that judges, traced on the first batch and kept.  PGD makes steps of
    2.5 epsilon / steps, so that it can cross the ball.  Without a limit it starts from the image
    itself, and one misclassified iterate is enough.
    """

    def __init__(self, logits_fn, *, threat, num_steps=20, compiled="none", loss_scale=1.0):
        """Takes the arguments of `attacks.pgd` by these names, and a ThreatModel.

        Raises: ValueError for num_steps below 8, of which a quarter is hardly PGD; and as `pgd`.
        """
        if num_steps < 8:
            raise ValueError(f"num_steps={num_steps}: give at least 8, to compare with a quarter")

        def search(threat, steps, **settings):
            settings = {"step_size": CROSSING * threat.epsilon / steps, **settings}
            return pgd_search(
                epsilon=threat.epsilon,
                num_steps=steps,
                norm=threat.norm,
                bounds=threat.bounds,
                compiled=compiled,
                loss_scale=loss_scale,
                **settings,
            )

        self._threat, few = threat, num_steps // 4
        attacks = {
            "fgsm": lambda images: search(threat, 1, step_size=threat.epsilon, random_start=False),
            f"pgd-{few}": lambda images: search(threat, few),
            f"pgd-{num_steps}": lambda images: search(threat, num_steps),
            f"pgd-{num_steps} without a limit": lambda images: search(
                _unlimited(threat, images), num_steps, random_start=False, robust_if="any_iterate"
            ),
        }
        self._attacks = {name: _graph(create, logits_fn) for name, create in attacks.items()}
        self._judge = tf.function(functools.partial(judge, logits_fn), autograph=False)

    def __call__(self, images, labels, seed):
        """Returns the findings on one batch; batches of one shape trace once.

        Args:
          images: floating [batch, height, width, channels] in the bounds; 64 to 128 are enough.
          labels: integer [batch]; examples that are misclassified as they are do not count.
          seed: as for `attacks.pgd`.
        """
        images, labels = images_within(images, self._threat.bounds), class_indices(labels)
        seed = as_seed(seed)
        correct = ~self._judge(images, labels).broken.numpy()
        survives, losses = {}, {}
        for name, attack in self._attacks.items():
            verdict = self._judge(attack(images, labels, seed), labels)
            survives[name] = correct & ~verdict.broken.numpy()
            losses[name] = verdict.loss.numpy()
        *limited, unlimited = survives
        found = [
            outcomes.single_step_beats_many({name: survives[name] for name in limited}, correct),
            outcomes.more_steps_do_not_help({name: losses[name] for name in limited}, correct),
            outcomes.robust_at_any_epsilon(survives[unlimited], correct, attack=unlimited),
        ]
        return [finding for finding in found if finding]


def are_wanted(self_checks: str, names) -> bool:
    """Whether short attacks are made to check an evaluation by.

    Args:
      self_checks: "full", "basic", or "auto" for where one of the attacks is of AutoAttack.
      names: of the attacks that were made.
    """
    return self_checks == "full" or (self_checks == "auto" and any(map(is_of_autoattack, names)))


def probe(
    logits_fn, images, labels, seed, *, threat, num_steps=20, compiled="none", loss_scale=1.0
):
    """Returns the findings of a `Prober` on one batch; the arguments are its own and its call's."""
    prober = Prober(
        logits_fn, threat=threat, num_steps=num_steps, compiled=compiled, loss_scale=loss_scale
    )
    return prober(images, labels, seed)


def _graph(create, logits_fn):
    """Returns (images, labels, seed) -> images of the search that `create(images)` makes."""
    # TensorFlow counts the traces of a partial by itself, those of one lambda made often together,
    # and would warn.
    return tf.function(functools.partial(_attack, create, logits_fn), autograph=False)


def _attack(create, logits_fn, images, labels, seed):
    return create(images)(logits_fn, images, labels, seed)


def _unlimited(threat, images):
    """Returns the ThreatModel in which any image is near any other."""
    low, high = threat.bounds
    width = 1.0 if threat.norm == "linf" else math.sqrt(np.prod(images.shape[1:]))
    return dataclasses.replace(threat, epsilon=float(width * (high - low)))
