"""Are the gradients of a network there, and are they its own?

    network = Network(logits_fn)
    zero_shares(network, images, labels)       # {"cross-entropy": 0.0, "DLR": 0.0}
    contradictions(network, images, seed=0)    # [Comparison("gradient", wrong=0, decided=16, ...)]

White-box attacks climb gradients.  Where those are zero, or belong to another function than the
one that is run, an attack fails and a network looks robust; `network` says so.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sat_tf.attacks import cross_entropy
from sat_tf.errors import UserError

# Steps of the finite differences as shares of the pixel range, the shortest first.
STEPS = tuple(8 / 255 * 4.0**power for power in range(-5, 1))
LEAST_EXAMPLES = 16  # to compare along each direction
VANISHING = 1e-30  # a gradient that is nowhere larger counts as zero

_DOUBT = 0.2  # share of the change that is judged


class Arithmetic(NamedTuple):
    """What a precision does to a network.

    `rounding`: distance of neighbouring numbers, relative to their size; `difference`: the share of
    a change by which a sound gradient may be wrong.  In bfloat16 a third was seen, in an untrained
    network of 80 layers: there the backward pass itself is that inexact.
    """

    rounding: float
    difference: float


_FLOAT32 = Arithmetic(2.0**-23, 0.3)
_COARSER = {tf.float16: Arithmetic(2.0**-10, 0.5), tf.bfloat16: Arithmetic(2.0**-7, 0.75)}


class Network:
    """A `logits_fn` of which values and gradients are traced once each, for images of one shape."""

    def __init__(self, logits_fn, *, loss_scale=1.0):
        """Takes the arguments of `attacks.pgd` by these names."""
        # Partials, of which TensorFlow counts the traces one by one; see `lanes`.
        self._forward, self._backward = (
            tf.function(functools.partial(function, logits_fn, *more), autograph=False)
            for function, *more in ((_forward,), (_backward, loss_scale))
        )

    def logits(self, images):
        """Returns float32 [batch, num_classes] for float32 images [batch, H, W, C]."""
        return self._forward(tf.constant(images)).numpy()

    def gradient(self, images, weights):
        """Returns the gradient of each example's sum of weights * logits, the shape of `images`.

        Args:
          images: float32 [batch, height, width, channels].
          weights: float32 [batch, num_classes].
        Raises: UserError where there is none.
        """
        return self._backward(tf.constant(images), tf.constant(weights)).numpy()

    def arithmetic(self, images):
        """Returns the coarsest Arithmetic in use, as far as the graph and the devices tell.

        GPUs that compute float32 products as TensorFloat-32 have the precision of float16 there,
        TPUs that of bfloat16.
        """
        graph = self._forward.get_concrete_function(tf.constant(images)).graph.as_graph_def()
        nodes = [
            *graph.node,
            *(node for function in graph.library.function for node in function.node_def),
        ]
        used = {attribute.type for node in nodes for attribute in node.attr.values()}
        if tf.config.list_logical_devices("TPU"):
            used.add(tf.bfloat16.as_datatype_enum)
        if (
            tf.config.list_logical_devices("GPU")
            and tf.config.experimental.tensor_float_32_execution_enabled()
        ):
            used.add(tf.float16.as_datatype_enum)
        return max(
            [
                _FLOAT32,
                *(
                    arithmetic
                    for dtype, arithmetic in _COARSER.items()
                    if dtype.as_datatype_enum in used
                ),
            ]
        )


def _forward(logits_fn, images):
    return tf.cast(logits_fn(images), tf.float32)


def _backward(logits_fn, loss_scale, images, weights):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = _forward(logits_fn, images)
    gradient = tape.gradient(logits, images, output_gradients=weights * loss_scale)
    if gradient is None:
        raise UserError(
            "logits_fn is not differentiable with respect to its images: only black-box attacks, "
            "such as square, can be used on it"
        )
    return gradient / loss_scale


def has_gradient(logits_fn, images):
    """Whether the logits of images, float32 [batch, H, W, C], have any gradient by these."""
    network = Network(logits_fn)
    try:
        network.gradient(images, np.ones_like(network.logits(images)))
    except UserError:
        return False
    return True


def _dlr(logits, labels):
    """Returns the difference-of-logits-ratio loss, float32 [batch]; at least three classes.

    Reference: Croce and Hein, 2020, https://arxiv.org/abs/2003.01690.
    """
    is_true = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False)
    true = tf.reduce_sum(tf.where(is_true, logits, 0.0), -1)
    other = tf.reduce_max(tf.where(is_true, -math.inf, logits), -1)
    highest = tf.math.top_k(logits, 3).values
    return (other - true) / (highest[:, 0] - highest[:, 2] + 1e-12)


def loss_gradients(network, images, labels):
    """Returns {name of a loss: its gradient, float32, the shape of `images`}.

    Args:
      network: a `Network`.
      images: float32 [batch, height, width, channels].
      labels: int32 [batch].
    Returns: those of cross-entropy and, from three classes, of the difference of logits ratio; the
      latter as if its largest derivative by a logit were 1, since it grows without limit where
      logits are nearly the same.
    """
    logits = tf.constant(network.logits(images))
    losses = {"cross-entropy": cross_entropy, **({"DLR": _dlr} if logits.shape[-1] >= 3 else {})}
    gradients = {}
    for name, loss in losses.items():
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(logits, labels)
        # The gradient of a loss is that of the logits, weighted by the loss' own.
        weights = tape.gradient(value, logits).numpy()
        if name == "DLR":
            weights /= np.maximum(np.abs(weights).max(-1, keepdims=True), VANISHING)
        gradients[name] = network.gradient(images, weights)
    return gradients


@dataclasses.dataclass
class Comparison:
    """How the logits change along one direction, against what their gradient says.

    Attributes:
      direction: in words.
      wrong, decided: of `decided` examples whose change could be judged, `wrong` change otherwise.
      promised, seen: the change by the gradient, and that of the logits, of one of the wrong.
    """

    direction: str
    wrong: int = 0
    decided: int = 0
    promised: float = math.nan
    seen: float = math.nan


def contradictions(network, images, *, seed, bounds=(0.0, 1.0)):
    """Returns a Comparison for each of three directions.

    They are the sign of the gradient, random signs, and the one value of the image with the largest
    gradient, which alone shows that an image is rounded where rounding many values averages out.
    The gradient is that of a random sum of the logits.  Images are moved a little, to where no
    value is 0, 1 or the same as its neighbour: there a network of ReLU may have a kink.

    Args:
      network: a `Network`.
      images: float32 [batch, height, width, channels] in `bounds`.
      seed: integer.
      bounds: lowest and highest valid pixel.
    """
    random = np.random.default_rng(seed)
    low, high = bounds
    arithmetic = network.arithmetic(images)
    found = {}
    for _ in range(math.ceil(LEAST_EXAMPLES / len(images))):
        # 0.0375 of the range from either bound at least, so that no step leaves it.
        inner = random.uniform(low + (high - low) / 4, high - (high - low) / 4, images.shape)
        centre = (0.85 * images + 0.15 * inner).astype(np.float32)
        logits = network.logits(centre)
        weights = random.standard_normal(logits.shape).astype(np.float32)
        gradient = network.gradient(centre, weights)
        for name, direction in _directions(gradient, random).items():
            comparison = found.setdefault(name, Comparison(name))
            _compare(
                comparison,
                network,
                centre,
                logits,
                weights,
                gradient,
                (high - low) * direction,
                arithmetic,
            )
    return list(found.values())


def _directions(gradient, random):
    size = np.abs(gradient).reshape(len(gradient), -1)
    largest = np.arange(size.shape[1]) == size.argmax(1)[:, None]
    return {
        "the gradient's sign": np.sign(gradient),
        "random signs": random.choice([-1.0, 1.0], gradient.shape),
        "a single value": np.sign(gradient) * largest.reshape(gradient.shape),
    }


def _compare(comparison, network, centre, logits, weights, gradient, direction, arithmetic):
    """Adds what central differences of these examples say to a Comparison.

    The shortest step that can tell decides: the slopes on both sides agree with each other, and
    what rounding does to the logits is little against the change.
    """

    def score(images):
        return np.sum(weights.astype(np.float64) * network.logits(images), -1)

    here = np.sum(weights.astype(np.float64) * logits, -1)
    floor = 8 * arithmetic.rounding * np.linalg.norm(weights, axis=-1) * np.abs(logits).max(-1)
    decided, uneven = np.zeros(len(centre), bool), np.zeros(len(centre))
    for step in STEPS:
        above, below = ((centre + sign * step * direction).astype(np.float32) for sign in (1, -1))
        right, left = score(above) - here, here - score(below)
        # By the difference that float32 images really have.
        promised = np.einsum("bhwc,bhwc->b", gradient, above.astype(np.float64) - below)
        seen = right + left
        # Shorter steps had the noise of longer ones, and less of a change.
        uneven = np.maximum(uneven, np.abs(right - left))
        size = np.maximum(np.abs(promised), np.abs(seen))
        new = ~decided & (2 * uneven + floor <= _DOUBT * size) & (size > 0)
        wrong = np.flatnonzero(new & (np.abs(promised - seen) > arithmetic.difference * size))
        decided |= new
        if len(wrong):
            comparison.promised, comparison.seen = promised[wrong[0]], seen[wrong[0]]
        comparison.wrong += len(wrong)
        if decided.all():
            break
    comparison.decided += int(np.count_nonzero(decided))
