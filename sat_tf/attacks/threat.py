"""What an attacker may do to an image: a norm, a radius and the range of valid pixels.

    threat = ThreatModel(epsilon=4 / 255)                 # L-infinity, pixels in [0, 1]
    start = images + threat.random_start(images, seed)    # may leave [0, 1]
    adversarial = threat.project(images, start)           # nearest allowed images

All sizes are in the pixel units of `bounds`: 4 / 255 is four of 255 grey levels.
"""

import dataclasses
import math
from typing import Callable, NamedTuple, Tuple

import tensorflow as tf


class _Geometry(NamedTuple):
    """What one norm means: project(images, adversarial, epsilon) onto its ball, a noise draw
    noise(images, seed, epsilon) from that ball, and the unit step ascent(gradient)."""
    project: Callable
    noise: Callable
    ascent: Callable


def _linf_project(images, adversarial, epsilon):
    return tf.clip_by_value(adversarial, images - epsilon, images + epsilon)


def _linf_noise(images, seed, epsilon):
    return tf.random.stateless_uniform(tf.shape(images), seed, -epsilon, epsilon, images.dtype)


_GEOMETRIES = {
    "linf": _Geometry(_linf_project, _linf_noise, tf.sign),
}


@dataclasses.dataclass(frozen=True)
class ThreatModel:
    """The allowed changes to an image.

    Attributes:
      norm: name of the norm that measures a change; "linf" bounds every pixel by itself.
      epsilon: radius of the ball, from 0 to the width of `bounds`.
      bounds: lowest and highest valid pixel value.
    Raises: ValueError for an unknown norm, and for bounds or an epsilon out of range.
    Reference: Madry et al., 2018, section 2.1, https://arxiv.org/abs/1706.06083.
    """
    norm: str = "linf"
    epsilon: float = dataclasses.field(kw_only=True)
    bounds: Tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        if self.norm not in _GEOMETRIES:
            raise ValueError(f"norm={self.norm!r}: known norms are {', '.join(_GEOMETRIES)}")
        low, high = self.bounds
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"bounds={self.bounds}: give (low, high), finite, low < high")
        if not 0 <= self.epsilon <= high - low:
            raise ValueError(f"epsilon={self.epsilon}: give a number from 0 to {high - low:g}, in "
                             f"the units of pixels in [{low:g}, {high:g}], such as 4/255")
        object.__setattr__(self, "epsilon", float(self.epsilon))
        object.__setattr__(self, "bounds", (float(low), float(high)))

    def project(self, images, adversarial):
        """Returns the allowed images nearest to `adversarial`.

        Args:
          images: float32 [batch, height, width, channels] in `bounds`; centres of the balls.
          adversarial: same shape and dtype, any real values.
        Returns: float32, same shape, within epsilon of `images` and in `bounds`.
        """
        nearest = _GEOMETRIES[self.norm].project(images, adversarial, self.epsilon)
        return tf.clip_by_value(nearest, *self.bounds)

    def random_start(self, images, seed):
        """Returns noise from the ball (for L-infinity, uniform), not yet fitted to `bounds`.

        Args:
          images: float32 [batch, height, width, channels]; only shape and dtype are used.
          seed: int32 or int64 [2]; the noise is a pure function of it.
        Returns: float32, the shape of `images`, of norm at most epsilon.
        """
        noise = _GEOMETRIES[self.norm].noise(images, seed, self.epsilon)
        return tf.ensure_shape(noise, images.shape)

    def ascent_direction(self, gradient):
        """Returns the unit step along which a loss with this `gradient` grows fastest."""
        return _GEOMETRIES[self.norm].ascent(gradient)


def images_within(images, bounds):
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
        [f"images must be within {bounds}; found", tf.reduce_min(images), tf.reduce_max(images)])
    return images
