"""Labels by the names of their classes, as a network's order and a data set's may differ.

    known = ("ant", "bee", "cat")                    # what the network's logits stand for
    description = aligned(describe("folder:photos"), known)   # of bee and cat: labels 1 and 2
    source = with_classes(load("folder:photos"), known)

Where either has no names, labels are the indices that they are.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from sat_tf.data.description import Description, Source
from sat_tf.errors import UserError, few


def aligned(description: Description, known: tuple[str, ...]) -> Description:
    """Returns the description of the same images with labels in the order of `known`.

    Args:
      description: of the data set.
      known: the names of the classes that the network was trained on, in the order of its logits;
        () where they are not known.
    Raises: UserError where the data set has a class that is not among them.
    """
    names = description.class_names
    if not known or not names or names == known:
        return description
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"--dataset={description.name}: has {_classes(unknown)}, which the network was not "
            f"trained on; it knows {few(list(known))}: rename them, or leave them out"
        )
    twice = sorted(
        {name for name in (*known, *names) if max(map(_times(name), (known, names))) > 1}
    )
    if twice:
        raise UserError(
            f"--dataset={description.name}: {_classes(twice)} there are two of, and the network "
            "has its classes in another order; give each a name of its own"
        )
    lacking = {*known} - {*names} | {*description.eval_lacks}
    return dataclasses.replace(
        description,
        class_names=known,
        num_classes=len(known),
        eval_lacks=tuple(name for name in known if name in lacking),
    )


def _times(name):
    return lambda names: names.count(name)


def _classes(names):
    return f"the class{'es' * (len(names) > 1)} {few(names)}"


def order_of(names: tuple[str, ...], known: tuple[str, ...]) -> np.ndarray | None:
    """Returns int32 [names], the place of each name in `known`; None where labels stay."""
    if not known or not names or names == known:
        return None
    return np.array([known.index(name) for name in names], np.int32)


class _Relabelled(NamedTuple):
    """A part of a data set whose labels are those of another order, `order[label]`."""

    part: Any
    order: np.ndarray

    @property
    def size(self) -> int:
        return self.part.size

    def prepared(self, batches, recipe) -> tf.data.Dataset:
        """As that of the part."""
        with tf.device("/CPU:0"):
            order = tf.constant(self.order)
        return self.part.prepared(batches, recipe).map(
            lambda images, labels, readable: (images, tf.gather(order, labels), readable)
        )


def with_classes(source: Source, known: tuple[str, ...]) -> Source:
    """Returns the data set with its labels in the order of `known`, see `aligned`."""
    order = order_of(source.description.class_names, known)
    if order is None:
        return source
    return source._replace(
        description=aligned(source.description, known),
        **{
            name: part and _Relabelled(part, order)
            for name, part in (("train", source.train), ("eval", source.eval))
        },
    )
