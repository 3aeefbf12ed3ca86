"""The shortest way from an image to a hyperplane, without leaving the range of pixels.

move = shortest_move(images, normal, offset, norm="l2", bounds=(0.0, 1.0))
# sum(normal * move) is offset, and images + move in the bounds, with the shortest such move
"""

import tensorflow as tf

from sat_tf.attacks.threat import per_example

# The shortest move pushes each pixel as far as it can go, min(length * pace, room): at the pace of
# all others in L-infinity, at its own share of the normal in L2.
_PACES = {"linf": tf.ones_like, "l2": tf.identity}

# More than an image needs.  Each iteration at least quarters the product of what is still missing
# and the rate at which it is gained, so 64 are more than float32 can tell apart.
_MOST_ITERATIONS = 64


def distance(normal, offset, *, norm):
    """Returns how far a hyperplane is where no range of pixels is in the way, float32 [batch].

    That is |offset| / |normal|, the latter in the dual norm.  An absent normal counts as 1e-12,
    as in the authors' code.

    Args:
      normal: float32 [batch, height, width, channels].
      offset: float32 [batch].
      norm: "linf" or "l2".
    """
    _, size, largest = _scaled(normal)
    length = tf.reduce_sum(size * _PACES[norm](size), _axes(normal))
    dual = length if norm == "linf" else tf.sqrt(length)
    return tf.abs(offset) / (1e-12 + dual * tf.reshape(largest, [-1]))


def shortest_move(points, normal, offset, *, norm, bounds):
    """Returns the smallest `move` with sum(normal * move) = offset and points + move in `bounds`.

    Where the bounds do not let it reach the offset, the move that comes closest.  With the pixels
    moved by min(length * pace, room), what is reached is a concave, piecewise linear function of
    the length; Newton's method solves it exactly, from below, in a few iterations that each are
    sums over the pixels.  (The authors' code sorts the pixels; the solution is the same, but
    running sums in float32 over the pixels of a large image are not exact enough.)

    Args:
      points: float32 [batch, height, width, channels], where to start, in `bounds`.
      normal: float32, the same shape, of any scale; pixels where it is 0 do not move.
      offset: float32 [batch].
      norm: "linf" or "l2", in which the move is the smallest.
      bounds: lowest and highest valid pixel.
    Returns: float32, the shape of `points`.
    Reference: Croce and Hein, 2020, section 2.2, https://arxiv.org/abs/1907.02044.
    """
    low, high = bounds
    offset = per_example(offset, points)
    normal, size, largest = _scaled(normal)
    offset = tf.math.divide_no_nan(offset, largest)
    direction = tf.where(offset < 0, -1.0, 1.0) * tf.sign(normal)
    room = tf.maximum(tf.where(direction > 0, high - points, points - low), 0.0)
    pace = _PACES[norm](size)
    length = _length(size, pace, room, tf.abs(offset))
    out_of_reach = tf.abs(offset) >= _total(size * room)
    return direction * tf.where(out_of_reach, room, tf.minimum(length * pace, room))


def _length(size, pace, room, offset):
    """Returns the length at which sum(size * min(length * pace, room)) is offset, keeping dims."""

    def iteration(length, stopped, _):
        stops = length * pace >= room
        gained = _total(tf.where(stops, size * room, 0.0))
        rate = _total(tf.where(stops, 0.0, size * pace))
        longer = tf.maximum(length, tf.math.divide_no_nan(offset - gained, rate))
        return longer, _total(tf.cast(stops, tf.int32)), stopped

    # Once no further pixel comes to its bound the length is the solution.
    nothing = tf.zeros_like(offset, tf.int32)
    return tf.while_loop(
        lambda length, stopped, before: tf.reduce_any(stopped > before),
        iteration,
        (tf.zeros_like(offset), nothing - 1, nothing - 2),
        parallel_iterations=1,
        maximum_iterations=_MOST_ITERATIONS,
    )[0]


def _scaled(normal):
    """Returns normal / largest, its size, and largest: else the squares of small normals vanish."""
    largest = tf.reduce_max(tf.abs(normal), _axes(normal), keepdims=True)
    normal = tf.math.divide_no_nan(normal, largest)
    return normal, tf.abs(normal), largest


def _total(values):
    return tf.reduce_sum(values, _axes(values), keepdims=True)


def _axes(values):
    return list(range(1, values.shape.rank))
