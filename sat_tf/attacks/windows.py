"""The windows that the Square attack changes: their sizes, their places, their patterns.

sides = window_sides("linf", num_queries=5000, height=32, width=32)    # pixels, shrinking
drawn = draw_queries(sides, runs=1, height=32, width=32, channels=3, window_seed=0)
mask = window_mask(corner, side, images)                                   # 1 in the window, else 0
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

# The share of an image that a window covers halves after these queries, whatever their number.
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
TINY = 1e-12  # the reference's, against division by 0


def window_sides(norm, num_queries, height, width, p_init=0.8):
    """Returns the side in pixels of the window of each query, int32 [num_queries].

    The share of the image that it covers is p_init, halved after each of HALVED_AFTER.  For "l2" a
    side is at least 3 and odd, unless the image is too small for that.
    """
    share = p_init / 2.0 ** np.searchsorted(HALVED_AFTER, np.arange(num_queries))
    side = np.rint(np.sqrt(share * height * width)).astype(np.int32)
    side = np.maximum(side, 1) if norm == "linf" else np.maximum(side, 3) | 1
    return np.minimum(side, min(height, width))


class Queries(NamedTuple):
    """What is drawn for queries: two windows of the same side, of which "linf" uses the first.

    `side` int32 [...]; `corner`, `second_corner`: top and left, int32 [..., 2]; `turned`: whether
    the pattern is transposed, bool [...]; `signs` float32 [..., channels].
    """

    side: object
    corner: object
    second_corner: object
    turned: object
    signs: object


def draw_queries(sides, runs, height, width, channels, window_seed):
    """Returns the Queries of each run after the other, as NumPy arrays [runs * num_queries, ...].

    In the first run they do not depend on the number of runs, nor on that of queries.
    """
    sides = np.tile(sides, runs)
    # The one generator of NumPy whose numbers are promised to stay the same in later versions.
    drawn = np.random.RandomState(window_seed).random_sample([len(sides), 5 + channels])
    room = np.stack([height - sides, width - sides], -1) + 1
    first, second = ((part * room).astype(np.int32) for part in (drawn[:, :2], drawn[:, 2:4]))
    return Queries(
        sides,
        first,
        second,
        drawn[:, 4] < 0.5,
        np.where(drawn[:, 5:] < 0.5, -1, 1).astype(np.float32),
    )


def _offsets(corner, images):
    """Returns [batch, height, 1] below and [batch, 1, width] right of each `corner`, in pixels."""
    height, width = images.shape[1:3]
    return (
        tf.range(height)[None, :, None] - corner[:, :1, None],
        tf.range(width)[None, None, :] - corner[:, 1:, None],
    )


def window_mask(corner, side, images):
    """Returns 1 where a pixel lies in the window of its example, else 0.

    float32 [batch, height, width, 1], to multiply with: tf.where takes far longer on a CPU.
    """
    side = side[:, None, None]
    down, right = (
        tf.cast((offset >= 0) & (offset < side), tf.float32) for offset in _offsets(corner, images)
    )
    return (down * right)[..., None]


def patterns(query, images, sides):
    """Returns float32 [batch, height, width, 1]: each window's `eta`; beyond it, anything."""
    distinct, largest = np.unique(sides), max(sides)
    table = np.zeros([len(distinct), largest, largest], np.float32)
    for pattern, side in zip(table, distinct):
        pattern[:side, :side] = eta(side)
    down, right = (
        tf.clip_by_value(offset, 0, largest - 1) for offset in _offsets(query.corner, images)
    )
    turned = query.turned[:, None, None]
    place = (
        tf.where(turned, right, down) * largest
        + tf.where(turned, down, right)
        + tf.searchsorted(distinct, query.side)[:, None, None] * largest**2
    )
    return tf.gather(table.reshape(-1), place)[..., None]


def eta(side):
    """Returns the pattern of the L2 attack, float64 [side, side], of length 1.

    Two bumps above each other, the lower one negative.
    """
    pattern = np.concatenate([_bump(side // 2, side), -_bump(side - side // 2, side)])
    return pattern / np.linalg.norm(pattern)


def _bump(height, width):
    """Returns rectangles within each other, the smaller the higher, at length 1 in all."""
    bump = np.zeros([height, width])
    for reach in range(max(height, width) // 2 + 1):
        top, left = height // 2 - reach, width // 2 - reach
        bump[max(top, 0) : top + 2 * reach + 1, max(left, 0) : left + 2 * reach + 1] += (
            1 / (reach + 1) ** 2
        )
    return bump / max(np.linalg.norm(bump), TINY)  # of height 0 where side is 1
