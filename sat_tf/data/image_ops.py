"""Operations on one uint8 image, as the augmentation policies use them.

    turned = rotate(image, 30.0)           # uint8 [H, W, 3], counterclockwise
    coarse = posterize(image, 4)           # 16 levels a channel

They do what the TensorFlow release of AutoAugment does, which is not everywhere what Pillow does;
each docstring says where the two part.  Common to all: `image` is uint8 [H, W, 3] of static shape
and so is the result, arguments may be tensors, what comes from outside the image is GREY.

Geometry, equalising, smoothing and cutting out exist twice, behind BACKEND: ADDONS calls
tensorflow-addons, PLAIN the ops below it.  On uint8 images the two agree in every bit, so which
one runs depends only on what is installed.

References: `efficientnet/autoaugment.py` of https://github.com/tensorflow/tpu;
Cubuk et al., 2019, appendix, https://arxiv.org/abs/1805.09501.
"""

import functools
import importlib.util
import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

GREY = 128


# Levels of each pixel.


def invert(image):
    """Returns 255 minus the image."""
    return 255 - image


def posterize(image, bits):
    """Returns the image with only the `bits` highest bits of each value kept, 1 to 8."""
    shift = tf.cast(8 - bits, tf.uint8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(image, shift), shift)


def solarize(image, threshold):
    """Returns the image with values from `threshold` on inverted; 0 inverts all, 256 nothing."""
    below = tf.cast(image, tf.int32) < tf.cast(threshold, tf.int32)
    return tf.where(below, image, 255 - image)


def solarize_add(image, addition, threshold=128):
    """Returns the image with `addition` added to values below `threshold`, 255 being the most."""
    brighter = tf.cast(image, tf.int32) + tf.cast(addition, tf.int32)
    return tf.where(image < threshold, tf.cast(tf.clip_by_value(brighter, 0, 255), tf.uint8), image)


def autocontrast(image):
    """Returns the image with each channel stretched to 0 ... 255; a constant one stays.

    In float32, as in the release, where Pillow takes float64: a value may be one level off.
    """
    values = tf.cast(image, tf.float32)
    low, high = (reduce(values, axis=[0, 1]) for reduce in (tf.reduce_min, tf.reduce_max))
    scale = 255.0 / tf.maximum(high - low, 1.0)  # at least 1 apart unless they are equal
    stretched = tf.clip_by_value(values * scale + -low * scale, 0.0, 255.0)
    return tf.where(high > low, tf.cast(stretched, tf.uint8), image)


def equalize(image):
    """Returns the image with the histogram of each channel made flat; as Pillow does."""
    return tf.ensure_shape(BACKEND.equalize(image), image.shape)


# Blends with a poorer image.


def _blend(poorer, image, factor):
    """Returns poorer + factor * (image - poorer), its fraction cut off; 1 gives the image."""
    poorer, image = tf.cast(poorer, tf.float32), tf.cast(image, tf.float32)
    blended = poorer + tf.cast(factor, tf.float32) * (image - poorer)
    return tf.cast(tf.clip_by_value(blended, 0.0, 255.0), tf.uint8)


def color(image, factor):
    """Returns the image less or more colourful: grey at factor 0, itself at 1.

    TensorFlow's weights and rounding of the grey differ from Pillow's by one level at most.
    """
    return _blend(tf.image.rgb_to_grayscale(image), image, factor)


def contrast(image, factor):
    """Returns the image with less or more contrast: even at factor 0, itself at 1.

    What it is drawn towards is the level H * W / 256, at most 255: in the release the counts of
    the histogram are summed, not its grey values.  With 224 pixels a side that is 196, where
    Pillow takes the mean grey of the image.  The networks were trained so; we follow.
    """
    height, width, _ = image.shape
    return _blend(min(height * width // 256, 255), image, factor)


def brightness(image, factor):
    """Returns the image darker or brighter: black at factor 0, itself at 1."""
    return _blend(0, image, factor)


def sharpness(image, factor):
    """Returns the image, at least 3 x 3, blurred or sharpened: smooth at factor 0, itself at 1.

    Smooth is a mean of 3 x 3 pixels in which the middle one counts five times; the border is left
    alone.  Its fraction is cut off, where Pillow rounds; and because the weights are rounded to
    float32, an even surface may lose one level.
    """
    return _blend(tf.ensure_shape(BACKEND.smooth(image), image.shape), image, factor)


# Geometry: nearest neighbour, no interpolation.


def rotate(image, degrees):
    """Returns the image rotated about its centre, counterclockwise for positive `degrees`."""
    radians = tf.cast(degrees, tf.float32) * (math.pi / 180)
    return tf.ensure_shape(BACKEND.rotate(image, radians), image.shape)


def shear_x(image, level):
    """Returns the image with row y moved left by level * y pixels."""
    return tf.ensure_shape(BACKEND.shear(image, tf.cast(level, tf.float32), 0.0), image.shape)


def shear_y(image, level):
    """Returns the image with column x moved up by level * x pixels."""
    return tf.ensure_shape(BACKEND.shear(image, 0.0, tf.cast(level, tf.float32)), image.shape)


def translate_x(image, pixels):
    """Returns the image moved left by `pixels`, which need not be whole."""
    return tf.ensure_shape(BACKEND.translate(image, tf.cast(pixels, tf.float32), 0.0), image.shape)


def translate_y(image, pixels):
    """Returns the image moved up by `pixels`, which need not be whole."""
    return tf.ensure_shape(BACKEND.translate(image, 0.0, tf.cast(pixels, tf.float32)), image.shape)


def cutout(image, half, row, column):
    """Returns the image with a square of side 2 * half made GREY, as far as it is inside.

    Args:
      half: integer, >= 0.
      row, column: integers, where the middle is: `row - half` is the first grey row and
        `row + half` the first one after them.
    Reference: DeVries and Taylor, 2017, https://arxiv.org/abs/1708.04552.
    """
    return tf.ensure_shape(BACKEND.cutout(image, half, row, column), image.shape)


# The two backends.


class Backend(NamedTuple):
    """What tensorflow-addons has as well; images are uint8 [H, W, 3]."""

    rotate: Callable  # (image, radians) -> image
    shear: Callable  # (image, x by row, y by column) -> image
    translate: Callable  # (image, left, up in pixels) -> image
    cutout: Callable  # (image, half, row, column) -> image
    equalize: Callable  # (image) -> image
    smooth: Callable  # (image) -> image


def _transform(image, matrix):
    """Returns output(x, y) = image(a x + b y + c, d x + e y + f), `matrix` being (a, ..., f)."""
    matrix = tf.stack([*matrix, 0.0, 0.0])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=matrix[tf.newaxis],
        output_shape=image.shape[:2],
        fill_value=float(GREY),
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )[0]


def _plain_rotate(image, radians):
    cos, sin = tf.cos(radians), tf.sin(radians)
    y, x = ((side - 1) / 2 for side in image.shape[:2])  # the centre, which stays where it is
    return _transform(
        image, (cos, -sin, x - (cos * x - sin * y), sin, cos, y - (sin * x + cos * y))
    )


def _plain_cutout(image, half, row, column):
    height, width, _ = image.shape
    rows, columns = tf.range(height)[:, tf.newaxis] - row, tf.range(width)[tf.newaxis] - column
    inside = (rows >= -half) & (rows < half) & (columns >= -half) & (columns < half)
    return tf.where(inside[..., tf.newaxis], tf.constant(GREY, tf.uint8), image)


def _plain_equalize(image):
    return tf.stack([_equalized(channel) for channel in tf.unstack(image, axis=-1)], axis=-1)


def _equalized(channel):
    values = tf.cast(channel, tf.int32)
    counts = tf.histogram_fixed_width(values, [0, 255], nbins=256)
    step = (tf.size(values) - counts[tf.reduce_max(values)]) // 255
    levels = (tf.cumsum(counts, exclusive=True) + step // 2) // tf.maximum(step, 1)
    # With nearly all pixels at the highest level there is nothing to spread.
    levels = tf.where(step > 0, tf.minimum(levels, 255), tf.range(256))
    return tf.gather(tf.cast(levels, tf.uint8), values)


def _plain_smooth(image):
    weights = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32) / 13.0
    kernel = tf.tile(weights[..., tf.newaxis, tf.newaxis], [1, 1, 3, 1])
    values = tf.cast(image, tf.float32)[tf.newaxis]
    smooth = tf.nn.depthwise_conv2d(values, kernel, [1, 1, 1, 1], padding="VALID")
    inside = tf.pad(tf.ones_like(smooth[0], tf.bool), [[1, 1], [1, 1], [0, 0]])
    smooth = tf.pad(tf.cast(smooth[0], tf.uint8), [[1, 1], [1, 1], [0, 0]])
    return tf.where(inside, smooth, image)


PLAIN = Backend(
    rotate=_plain_rotate,
    shear=lambda image, x, y: _transform(image, (1.0, x, 0.0, y, 1.0, 0.0)),
    translate=lambda image, left, up: _transform(image, (1.0, 0.0, left, 0.0, 1.0, up)),
    cutout=_plain_cutout,
    equalize=_plain_equalize,
    smooth=_plain_smooth,
)


@functools.cache
def _addons():
    """Returns `tfa.image`; imported at first use, without its notice that development has ended."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*TensorFlow Addons \(TFA\) has ended", UserWarning)
        import tensorflow_addons
    return tensorflow_addons.image


ADDONS = Backend(
    rotate=lambda image, radians: _addons().rotate(image, radians, fill_value=float(GREY)),
    # `shear_x` and `shear_y` of tensorflow-addons carry a fourth channel along to find what to
    # fill, at half the speed; `transform` fills by itself.
    shear=lambda image, x, y: _addons().transform(
        image, tf.stack([1.0, x, 0.0, y, 1.0, 0.0, 0.0, 0.0]), fill_value=float(GREY)
    ),
    translate=lambda image, left, up: _addons().translate(
        image, tf.stack([-left, -up]), fill_value=float(GREY)
    ),
    cutout=lambda image, half, row, column: _addons().cutout(
        image[tf.newaxis], 2 * half, tf.stack([[row, column]]), constant_values=GREY
    )[0],
    equalize=lambda image: _addons().equalize(image),
    # Its own blend rounds, where the release cuts the fraction off: factor 0 avoids it.
    smooth=lambda image: _addons().sharpness(image, 0.0),
)

BACKEND = ADDONS if importlib.util.find_spec("tensorflow_addons") else PLAIN
