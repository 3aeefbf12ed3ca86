"""AutoAugment and RandAugment: operations chosen at random for each image.

    image = autoaugment(image, seed)                            # uint8 [H, W, 3], integer [2]
    image = randaugment(image, seed, layers=2, magnitude=10)

An operation has a level from 0 to 10 that says how much it does; its row in OPERATIONS turns the
level into the argument of a function of `image_ops`.  The arguments are those of the TensorFlow
release, with one departure: it counts shifts and the sides of cut-out squares in pixels of images
224 wide, so on smaller images we scale them by the shorter side / 224.

All randomness is a function of the seed, and only the operations that were chosen run: both
policies can stand in a `tf.data` map.

References: Cubuk et al., 2019, https://arxiv.org/abs/1805.09501; Cubuk et al., 2020,
https://arxiv.org/abs/1909.13719; `efficientnet/autoaugment.py` of
https://github.com/tensorflow/tpu.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sat_tf.data import image_ops


class Reach(NamedTuple):
    """How far an operation goes at level 10, in pixels of images 224 wide."""

    shift: float
    cutout: float  # half a side

    def on(self, image):
        """Returns the same on `image`: less if it is smaller, never more."""
        share = min(1.0, min(image.shape[:2]) / 224)
        return Reach(self.shift * share, self.cutout * share)


AUTOAUGMENT_REACH = Reach(shift=250, cutout=100)
RANDAUGMENT_REACH = Reach(shift=100, cutout=40)

POLICY_V0 = (  # sub-policies: two operations in turn, each with its probability and level
    (("Equalize", 0.8, 1), ("ShearY", 0.8, 4)),
    (("Color", 0.4, 9), ("Equalize", 0.6, 3)),
    (("Color", 0.4, 1), ("Rotate", 0.6, 8)),
    (("Solarize", 0.8, 3), ("Equalize", 0.4, 7)),
    (("Solarize", 0.4, 2), ("Solarize", 0.6, 2)),
    (("Color", 0.2, 0), ("Equalize", 0.8, 8)),
    (("Equalize", 0.4, 8), ("SolarizeAdd", 0.8, 3)),
    (("ShearX", 0.2, 9), ("Rotate", 0.6, 8)),
    (("Color", 0.6, 1), ("Equalize", 1.0, 2)),
    (("Invert", 0.4, 9), ("Rotate", 0.6, 0)),
    (("Equalize", 1.0, 9), ("ShearY", 0.6, 3)),
    (("Color", 0.4, 7), ("Equalize", 0.6, 0)),
    (("Posterize", 0.4, 6), ("AutoContrast", 0.4, 7)),
    (("Solarize", 0.6, 8), ("Color", 0.6, 9)),
    (("Solarize", 0.2, 4), ("Rotate", 0.8, 9)),
    (("Rotate", 1.0, 7), ("TranslateY", 0.8, 9)),
    (("ShearX", 0.0, 0), ("Solarize", 0.8, 4)),
    (("ShearY", 0.8, 0), ("Color", 0.6, 4)),
    (("Color", 1.0, 0), ("Rotate", 0.6, 2)),
    (("Equalize", 0.8, 4), ("Equalize", 0.0, 8)),
    (("Equalize", 1.0, 4), ("AutoContrast", 0.6, 2)),
    (("ShearY", 0.4, 7), ("SolarizeAdd", 0.6, 7)),
    (("Posterize", 0.8, 2), ("Solarize", 0.6, 10)),
    (("Solarize", 0.6, 8), ("Equalize", 0.6, 1)),
    (("Color", 0.8, 6), ("Rotate", 0.4, 5)),
)


class Operation(NamedTuple):
    """One row of OPERATIONS; `chance` is float32 [2] in [0, 1), the randomness of one use."""

    apply: Callable  # (image, argument, chance) -> image
    argument: Callable  # (level, Reach on the image) -> number


def _alone(function):
    return lambda image, argument, chance: function(image)


def _graded(function):
    return lambda image, argument, chance: function(image, argument)


def _whole(function):
    return lambda image, argument, chance: function(image, tf.cast(argument, tf.int32))


def _either_way(function):
    return lambda image, argument, chance: function(
        image, tf.where(chance[0] < 0.5, argument, -argument)
    )


def _cutout_anywhere(image, argument, chance):
    place = tf.cast(chance * image.shape[:2].as_list(), tf.int32)
    return image_ops.cutout(image, tf.cast(argument, tf.int32), place[0], place[1])


def _nothing(level, reach):
    return 0


def _bits(level, reach):
    # No bits, and from level 22.5 on more than eight, are shifts that TensorFlow's op limits to
    # seven: one bit is left.  (Pillow makes the image black.)
    bits = int(level / 10 * 4)
    return bits if 1 <= bits <= 8 else 1


def _threshold(level, reach):
    # The release compares in uint8, where 256 is 0: level 10 inverts the whole image, as level 0
    # does.  (By the paper it would leave it alone.)
    return int(level / 10 * 256) % 256


def _enhancement(level, reach):
    return level / 10 * 1.8 + 0.1


def _shift(level, reach):
    return level / 10 * reach.shift


OPERATIONS = {
    "AutoContrast": Operation(_alone(image_ops.autocontrast), _nothing),
    "Equalize": Operation(_alone(image_ops.equalize), _nothing),
    "Invert": Operation(_alone(image_ops.invert), _nothing),
    "Rotate": Operation(_either_way(image_ops.rotate), lambda level, reach: level / 10 * 30),
    "Posterize": Operation(_whole(image_ops.posterize), _bits),
    "Solarize": Operation(_whole(image_ops.solarize), _threshold),
    "SolarizeAdd": Operation(
        _whole(image_ops.solarize_add), lambda level, reach: int(level / 10 * 110)
    ),
    "Color": Operation(_graded(image_ops.color), _enhancement),
    "Contrast": Operation(_graded(image_ops.contrast), _enhancement),
    "Brightness": Operation(_graded(image_ops.brightness), _enhancement),
    "Sharpness": Operation(_graded(image_ops.sharpness), _enhancement),
    "ShearX": Operation(_either_way(image_ops.shear_x), lambda level, reach: level / 10 * 0.3),
    "ShearY": Operation(_either_way(image_ops.shear_y), lambda level, reach: level / 10 * 0.3),
    "TranslateX": Operation(_either_way(image_ops.translate_x), _shift),
    "TranslateY": Operation(_either_way(image_ops.translate_y), _shift),
    "Cutout": Operation(_cutout_anywhere, lambda level, reach: int(level / 10 * reach.cutout)),
}


def autoaugment(image, seed):
    """Returns the image after one of the 25 sub-policies of POLICY_V0, each as likely.

    They are those the release calls "v0" and trained its networks with; the appendix of the paper
    lists other ones for ImageNet.

    Args:
      image: uint8 [height, width, 3], static shape.
      seed: integer [2]; the same seed gives the same result.
    Returns: same shape and dtype.
    Raises: ValueError for another dtype or a shape that is not static.
    Reference: Cubuk et al., 2019, section 3, https://arxiv.org/abs/1805.09501.
    """
    image = _checked(image)
    draws = tf.random.stateless_uniform([7], seed)
    chosen = _pick(draws[0], len(POLICY_V0))
    for slot, chance in zip(zip(*POLICY_V0), (draws[1:4], draws[4:7])):
        names = tuple(dict.fromkeys(name for name, _, _ in slot))
        numbers = tf.constant([names.index(name) for name, _, _ in slot])
        probabilities = tf.constant([probability for _, probability, _ in slot])
        arguments = _arguments(
            ((name, level) for name, _, level in slot), AUTOAUGMENT_REACH.on(image)
        )
        number = tf.where(chance[0] < probabilities[chosen], numbers[chosen], len(names))
        image = _apply(image, names, number, arguments[chosen], chance[1:])
    return image


def randaugment(image, seed, *, layers, magnitude):
    """Returns the image after `layers` operations of OPERATIONS, each as likely, drawn anew.

    Every chosen operation is applied.  (The release draws a probability between 0.2 and 0.8 for
    it as well, but only operations on bounding boxes would use that; there are none here.)

    Args:
      image: uint8 [height, width, 3], static shape.
      seed: integer [2]; the same seed gives the same result.
      layers: how many operations, a Python int, >= 1; N of the paper, mostly 1 to 3.
      magnitude: the level of all of them, a Python number in [0, 30]; M of the paper.
    Returns: same shape and dtype.
    Raises: ValueError for another dtype, a shape that is not static, layers or a magnitude out
      of range.
    Reference: Cubuk et al., 2020, section 3, https://arxiv.org/abs/1909.13719.
    """
    if layers < 1 or not 0 <= magnitude <= 30:
        raise ValueError(
            f"layers={layers}, magnitude={magnitude}: "
            "give at least 1 layer and a magnitude from 0 to 30"
        )
    image = _checked(image)
    names = tuple(OPERATIONS)
    arguments = _arguments(((name, magnitude) for name in names), RANDAUGMENT_REACH.on(image))
    for chance in tf.unstack(tf.random.stateless_uniform([layers, 3], seed)):
        number = _pick(chance[0], len(names))
        image = _apply(image, names, number, arguments[number], chance[1:])
    return image


def _checked(image):
    image = tf.convert_to_tensor(image)
    if (
        image.dtype != tf.uint8
        or image.shape.rank != 3
        or image.shape[2] != 3
        or not image.shape.is_fully_defined()
    ):
        raise ValueError(
            f"an image of {image.dtype.name} {image.shape}: "
            "give uint8 [height, width, 3] with a static shape"
        )
    return image


def _pick(draw, count):
    """Returns a number below `count`, for `draw` uniform in [0, 1)."""
    return tf.cast(draw * count, tf.int32)


def _arguments(names_and_levels, reach):
    numbers = [OPERATIONS[name].argument(level, reach) for name, level in names_and_levels]
    return tf.constant(numbers, tf.float32)


def _apply(image, names, number, argument, chance):
    """Applies operation `names[number]`, or none if `number` is `len(names)`; runs no other."""
    branches = [
        functools.partial(OPERATIONS[name].apply, image, argument, chance) for name in names
    ]
    return tf.switch_case(number, [*branches, lambda: tf.identity(image)])
