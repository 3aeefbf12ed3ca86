"""A SavedModel as the network on which attacks on another one are made."""

import dataclasses

import tensorflow as tf

from sat_tf import data
from sat_tf.config import refuse
from sat_tf.errors import few
from sat_tf.saved_models.loading import SavedClassifier


def check_surrogate(surrogate: SavedClassifier, *, image_size: int, num_classes: int) -> None:
    """Raises UserError, naming --transfer_from, unless attacks on another network can be made on
    it.

    Args:
      surrogate: a SavedClassifier.
      image_size, num_classes: of the network that is evaluated.
    """
    height, width, channels = surrogate.image_shape
    if not surrogate.differentiable:
        refuse(
            "transfer_from",
            surrogate.path,
            f"it has no gradient ({surrogate.no_gradient}); name a network that has one",
        )
    if {height, width} - {None, image_size} or channels not in (None, 3):
        refuse(
            "transfer_from",
            surrogate.path,
            f"takes images {height} x {width} x {channels}, not "
            f"{image_size} x {image_size} x 3; name a network of such images",
        )
    if surrogate.num_classes < num_classes:
        refuse(
            "transfer_from",
            surrogate.path,
            f"has {surrogate.num_classes} classes, not "
            f"{num_classes}; name a network of the same classes",
        )


def aligned(surrogate: SavedClassifier, class_names: tuple[str, ...]) -> SavedClassifier:
    """Returns a surrogate with its logits in the order of another network's classes.

    Args:
      surrogate: a SavedClassifier.
      class_names: the other network's, in the order of its logits; () where they are not known.
    Raises: UserError, naming --transfer_from, where the surrogate does not know one of them.
    """
    theirs = surrogate.class_names
    if not theirs or theirs[: len(class_names)] == class_names:
        return surrogate
    unknown = [name for name in class_names if name not in theirs]
    if unknown:
        refuse(
            "transfer_from",
            surrogate.path,
            f"does not know the class {few(unknown)}; name a network of the same classes",
        )
    order = tf.constant(data.order_of(class_names, theirs))
    logits_fn = surrogate.logits_fn
    return dataclasses.replace(
        surrogate,
        logits_fn=lambda images: tf.gather(logits_fn(images), order, axis=-1),
        num_classes=len(class_names),
        class_names=class_names,
    )
