"""Several attacks of which each example has to survive all: AutoAttack is one.

attack = Ensemble({"apgd-ce": search, "square": other})
adversarial = attack(logits_fn, images, labels, seed)
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.attacks import draws
from sat_tf.attacks.arguments import checked_labels
from sat_tf.attacks.search import Search, judge, select
from sat_tf.attacks.threat import images_within


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Searches one after the other, by name; each is for the examples that none before has broken.

    Called as a function on a batch it makes them all, since there is no telling in a graph what the
    rest of a batch would do; `sat_tf.evaluation` drops what is broken.
    """

    stages: dict[str, Search]

    def __post_init__(self):
        """Raises ValueError for a targeted stage, whose examples are broken in another sense."""
        for name, search in self.stages.items():
            if search.targeted:
                raise ValueError(f"stage {name!r} is targeted: call it by itself, or leave it out")

    def __call__(
        self, logits_fn: Callable, images: TensorLike, labels: TensorLike, seed: int | TensorLike
    ) -> tf.Tensor:
        """Returns each example's first misclassified result, or its image where there is none.

        The arguments and what is raised are those of `pgd`.
        """
        threat = next(iter(self.stages.values())).threat
        images = images_within(images, threat.bounds)
        labels, seed = checked_labels(labels, images), draws.as_seed(seed)
        found, broken = images, judge(logits_fn, images, labels).broken
        for search in self.stages.values():
            adversarial = search(logits_fn, images, labels, seed)
            now = ~broken & judge(logits_fn, adversarial, labels).broken
            found, broken = select(now, adversarial, found), broken | now
        return tf.stop_gradient(found)
