"""What an attacker may do to an image: a norm, a radius and the range of valid pixels.

    threat = ThreatModel(epsilon=4 / 255)                 # L-infinity, pixels in [0, 1]
    threat = ThreatModel("l2", epsilon=0.5)               # Euclidean, over all pixels and channels
    start = images + threat.random_start(images, seed)    # may leave [0, 1]
    adversarial = threat.project(images, start)           # nearest allowed images

All sizes are in the pixel units of `bounds`: 4 / 255 is four of 255 grey levels, and an L2 radius
of 0.5 is one pixel's channel changed by half of the range.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.attacks import draws


class _Geometry(NamedTuple):
    """What one norm means: the size(change) [batch] of it, project(images, adversarial, epsilon)
    onto its ball, a noise draw noise(images, seed, epsilon) from that ball, and the unit step
    ascent(gradient)."""

    size: Callable
    project: Callable
    noise: Callable
    ascent: Callable


def _over_pixels(images):
    return list(range(1, images.shape.rank))


def per_example(values, images):
    """Returns `values`, [batch], shaped to be multiplied with images, [batch, ...]."""
    return tf.reshape(values, [-1] + [1] * (images.shape.rank - 1))


def _linf_size(change):
    return tf.reduce_max(tf.abs(change), _over_pixels(change))


def _linf_project(images, adversarial, epsilon):
    return tf.clip_by_value(adversarial, images - epsilon, images + epsilon)


def _linf_noise(images, seed, epsilon):
    return draws.uniform(images, seed, -epsilon, epsilon)


def _l2_size(change):
    return tf.sqrt(tf.reduce_sum(tf.square(change), _over_pixels(change)))


def _l2_unit(change):
    """Returns each example's change at length 1, or 0 where there is none."""
    # Divided by its largest part first, so that the squares of small gradients do not vanish.
    axes = _over_pixels(change)
    change = tf.math.divide_no_nan(change, tf.reduce_max(tf.abs(change), axes, keepdims=True))
    length = tf.sqrt(tf.reduce_sum(tf.square(change), axes, keepdims=True))
    return tf.math.divide_no_nan(change, length)


def _l2_project(images, adversarial, epsilon):
    change = adversarial - images
    length = tf.sqrt(tf.reduce_sum(tf.square(change), _over_pixels(change), keepdims=True))
    return images + change * tf.minimum(1.0, tf.math.divide_no_nan(epsilon, length))


def _l2_noise(images, seed, epsilon):
    direction_seed, share_seed = draws.split(seed)
    direction = _l2_unit(draws.normal(images, direction_seed))
    one_each = tf.reshape(images, [tf.shape(images)[0], -1])[:, 0]
    share = draws.uniform(one_each, share_seed, 0.0, 1.0)
    share **= 1 / tf.cast(tf.size(images[0]), images.dtype)  # as the volume grows with the radius
    return epsilon * direction * per_example(share, images)


_GEOMETRIES = {
    "linf": _Geometry(_linf_size, _linf_project, _linf_noise, tf.sign),
    "l2": _Geometry(_l2_size, _l2_project, _l2_noise, _l2_unit),
}
NORMS = tuple(_GEOMETRIES)


@dataclasses.dataclass(frozen=True)
class ThreatModel:
    """The allowed changes to an image.

    Attributes:
      norm: name of the norm that measures a change; "linf" bounds every channel of every pixel by
        itself, "l2" the root of the sum of their squares.
      epsilon: radius of the ball, 0 or more; for "linf" at most the width of `bounds`.
      bounds: lowest and highest valid pixel value.
    Raises: ValueError for an unknown norm, and for bounds or an epsilon out of range.
    Reference: Madry et al., 2018, section 2.1, https://arxiv.org/abs/1706.06083.
    """

    norm: str = "linf"
    epsilon: float = dataclasses.field(kw_only=True)
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        if self.norm not in _GEOMETRIES:
            raise ValueError(f"norm={self.norm!r}: known norms are {', '.join(_GEOMETRIES)}")
        try:
            low, high = map(float, self.bounds)
        except (TypeError, ValueError):
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"bounds={self.bounds}: give (low, high), finite, low < high")
        if self.norm == "l2" and not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ValueError(f"epsilon={self.epsilon}: give a number of at least 0, such as 0.5")
        if self.norm == "linf" and not 0 <= self.epsilon <= high - low:
            raise ValueError(
                f"epsilon={self.epsilon}: give a number from 0 to {high - low:g}, in "
                f"the units of pixels in [{low:g}, {high:g}], such as {_example(high - low)}"
            )
        object.__setattr__(self, "epsilon", float(self.epsilon))
        object.__setattr__(self, "bounds", (low, high))

    def size(self, images: TensorLike, adversarial: TensorLike) -> tf.Tensor:
        """Returns how far `adversarial` is from `images` in the norm, float32 [batch]."""
        return _GEOMETRIES[self.norm].size(adversarial - images)

    def project(self, images: TensorLike, adversarial: TensorLike) -> tf.Tensor:
        """Returns allowed images close to `adversarial`.

        They are the nearest in the ball, then the nearest of those in `bounds`; for "linf" that is
        the nearest allowed image, for "l2" it may not quite be.

        Args:
          images: float32 [batch, height, width, channels] in `bounds`; centres of the balls.
          adversarial: same shape and dtype, any real values.
        Returns: float32, same shape, within epsilon of `images` and in `bounds`.
        """
        nearest = _GEOMETRIES[self.norm].project(images, adversarial, self.epsilon)
        return tf.clip_by_value(nearest, *self.bounds)

    def random_start(self, images: TensorLike, seed: TensorLike) -> tf.Tensor:
        """Returns noise drawn uniformly from the ball, not yet fitted to `bounds`.

        Args:
          images: float32 [batch, height, width, channels]; only shape and dtype are used.
          seed: int32 or int64 [2], or [batch, 2] with one for each example; the noise is a pure
            function of it.
        Returns: float32, the shape of `images`, of norm at most epsilon.
        """
        noise = _GEOMETRIES[self.norm].noise(images, seed, self.epsilon)
        return tf.ensure_shape(noise, images.shape)

    def ascent_direction(self, gradient: TensorLike) -> tf.Tensor:
        """Returns the step of unit size along which a loss with this `gradient` grows fastest."""
        return _GEOMETRIES[self.norm].ascent(gradient)


def _example(width):
    """Returns four of 255 grey levels, as one would write them."""
    return "4/255" if width == 1 else f"{4 * width / 255:g}"


def images_within(images: TensorLike, bounds: tuple[float, float]) -> tf.Tensor:
    """Returns images as float32, after a check that they are on the scale of `bounds`.

    Args:
      images: floating [batch, height, width, channels].
      bounds: (low, high), the pixel range.
    Raises: ValueError for images that are not floating; tf.errors.InvalidArgumentError for pixels
      outside the range, which projecting would quietly destroy.
    """
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise ValueError(f"images are {images.dtype.name}: give floating images within {bounds}")
    images = tf.cast(images, tf.float32)
    low, high = bounds
    slack = 1e-3 * (high - low)
    tf.debugging.Assert(
        tf.reduce_all((images >= low - slack) & (images <= high + slack)),
        [f"images must be within {bounds}; found", tf.reduce_min(images), tf.reduce_max(images)],
    )
    return images
