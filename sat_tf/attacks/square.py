"""The Square Attack: random search by square windows, from the logits alone.

    search = square_search(epsilon=8 / 255)                  # a Search
    adversarial = search(logits_fn, images, labels, seed)    # or square(logits_fn, ...)

No gradient is taken, so that masked gradients cannot hide anything.  Each query changes one window
of the best images so far and keeps the change where the margin, the true logit less the highest
other one, falls.  Images are float32 in [0, 1]; epsilon is in the same units.

The windows and signs come from a table that is a function of `window_seed`; as in AutoAttack, query
i is the same for every image.  What an image has of its own, drawn from the attack's seed, is where
it starts; and for "l2" its signs too, the table's times a sign for each of its channels.
"""

import numbers
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.attacks import draws
from sat_tf.attacks.arguments import logits_of
from sat_tf.attacks.search import COMPILED_FORMS, Search, check_count, is_broken, select
from sat_tf.attacks.threat import ThreatModel
from sat_tf.attacks.windows import (
    TINY,
    Queries,
    draw_queries,
    eta,
    patterns,
    window_mask,
    window_sides,
)


def square(
    logits_fn: Callable,
    images: TensorLike,
    labels: TensorLike,
    seed: int | TensorLike,
    *,
    epsilon: float,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    num_queries: int = 5000,
    restarts: int = 1,
    p_init: float = 0.8,
    window_seed: int = 0,
    compiled: str = "none",
) -> tf.Tensor:
    """Returns images near the given ones on which the margin is low.

    A pure function of its arguments that calls `logits_fn`, which need not be differentiable, once
    for the start and once for each query.

    Three departures from the authors' code, in the form that AutoAttack gave it.  There a window
    never touches the last row and column; here it lies anywhere with the same chance.  There the
    tiles of an "l2" start begin where five in a row would be centred, and may pass the border where
    more than five fit; here all that fit are centred.  There a margin of 0 ends the search; here an
    example is broken when another class is predicted.

    Args:
      logits_fn: float32 [batch, height, width, channels] -> floating [batch, num_classes].
      images: floating, converted to float32 [batch, height, width, channels], in `bounds`; the
        last three sizes known when the attack is traced.
      labels: integer [batch], the true classes.
      seed: integer [2] tensor or pair, or one integer; or integer [batch, 2], one for each example.
      epsilon: radius, >= 0.
      norm: "linf" or "l2", of the ball.
      bounds: lowest and highest valid pixel.
      num_queries: queries after the start, >= 1.
      restarts: runs, of different starts and queries, >= 1.  With several, each example's result is
        its first misclassified one, else the one of the highest cross-entropy.
      p_init: share of the image that the first windows cover, in (0, 1].
      window_seed: integer in [0, 2**32), which table of windows and signs to use.
      compiled: as for `pgd`.
    Returns: float32, the shape of `images`, in `bounds` and in the ball; gradients stop here.
    Raises: ValueError for values out of range, images not floating and labels not integer;
      tf.errors.InvalidArgumentError for images outside `bounds`.
    Reference: Andriushchenko et al., 2020, https://arxiv.org/abs/1912.00049; Croce and Hein, 2020,
      https://arxiv.org/abs/2003.01690.
    """
    return square_search(
        epsilon=epsilon,
        norm=norm,
        bounds=bounds,
        num_queries=num_queries,
        restarts=restarts,
        p_init=p_init,
        window_seed=window_seed,
        compiled=compiled,
    )(logits_fn, images, labels, seed)


def square_search(
    *,
    epsilon: float,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    num_queries: int = 5000,
    restarts: int = 1,
    p_init: float = 0.8,
    window_seed: int = 0,
    compiled: str = "none",
) -> Search:
    """Returns `square` as a Search that stops where an example is broken; for all else see there.

    Its state has also the "margin" of "adversarial", the best images so far, float32 [batch].
    """
    threat = ThreatModel(norm, epsilon=epsilon, bounds=bounds)
    _check(num_queries, restarts, p_init, window_seed, compiled)
    form = _FORMS[norm]

    def begin(logits_fn, images, labels, seed, run):
        seed = draws.fold_in(seed, run if seed.shape.rank == 2 else run[0])
        start, own = form.start(threat, images, seed)
        margin, broken = _margin_and_broken(logits_fn, start, labels)
        return {
            "adversarial": start,
            "margin": margin,
            "broken": broken,
            "first_query": run * num_queries,
            **own,
        }

    def step(logits_fn, images, labels, state, index):
        height, width, channels = images.shape[1:]
        sides = window_sides(norm, num_queries, height, width, p_init)
        queries = draw_queries(sides, restarts, height, width, channels, window_seed)
        # A finished example is still passed in, its index one too high.
        row = state["first_query"] + tf.minimum(index, num_queries - 1)
        query = Queries(*(tf.gather(column, row) for column in queries))
        candidate = form.candidate(threat, images, state, query, sides)
        candidate = tf.ensure_shape(candidate, images.shape)
        margin, broken = _margin_and_broken(logits_fn, candidate, labels)
        better = broken | (margin < state["margin"]) | (margin <= 0)
        return {
            **state,
            "adversarial": select(better, candidate, state["adversarial"]),
            "margin": tf.where(better, margin, state["margin"]),
            "broken": broken,
        }

    return Search(
        begin, step, num_queries, threat, runs=restarts, stops=True, compiled=compiled, passes=0.5
    )


def _linf_start(threat, images, seed):
    """Returns vertical stripes of +-epsilon, a sign for each channel of each column."""
    signs = _signs(draws.uniform(images[:, :1], seed, 0.0, 1.0))
    return threat.project(images, images + threat.epsilon * signs), {}


def _linf_candidate(threat, images, state, query, sides):
    """Returns the best images with one window of each moved to a corner of the ball."""
    inside = window_mask(query.corner, query.side, images)
    change = 2 * threat.epsilon * query.signs[:, None, None]
    return threat.project(images, state["adversarial"] + inside * change)


def _l2_start(threat, images, seed):
    """Returns tiles of a fifth of the shorter side, with a sign for each tile and channel."""
    height, width, channels = images.shape[1:]
    side = max(min(height, width) // 5, 1)
    rows, columns = height // side, width // side
    tile_seed, sign_seed = draws.split(seed)
    drawn = draws.uniform(
        tf.zeros([tf.shape(images)[0], rows, columns, 1 + channels]), tile_seed, 0.0, 1.0
    )
    drawn = tf.repeat(tf.repeat(drawn, side, 1), side, 2)
    upright, turned = (
        np.tile(pattern, (rows, columns))[..., None].astype(np.float32)
        for pattern in (eta(side), eta(side).T)
    )
    change = tf.where(drawn[..., :1] < 0.5, turned, upright) * _signs(drawn[..., 1:])
    change = tf.image.pad_to_bounding_box(
        change, (height - rows * side) // 2, (width - columns * side) // 2, height, width
    )
    own_signs = _signs(draws.uniform(images[:, 0, 0], sign_seed, 0.0, 1.0))
    return _l2_scaled(threat, images, change), {"signs": own_signs}


def _l2_candidate(threat, images, state, query, sides):
    """Returns the best images with the change of a second window moved into the first.

    The change in the first window is a pattern of either sign on top of what is there.  Its length
    in each channel is, as in AutoAttack, that of both windows over all channels together with the
    channel's part of what the box has cut off; the whole is then scaled to epsilon.
    """
    change = state["adversarial"] - images
    first = window_mask(query.corner, query.side, images)
    second = window_mask(query.second_corner, query.side, images)
    squares = tf.square(change)
    either = tf.maximum(first, second)
    of_first, of_either = _sum(first * squares, [1, 2]), _sum(either * squares, [1, 2, 3])
    unused = tf.nn.relu(threat.epsilon**2 - _sum(squares, [1, 2, 3])) / images.shape[-1]

    signs = (query.signs * state["signs"])[:, None, None]
    new = first * (patterns(query, images, sides) * signs + change / (TINY + tf.sqrt(of_first)))
    new *= tf.sqrt(unused + of_either) / (TINY + tf.sqrt(_sum(tf.square(new), [1, 2])))
    return _l2_scaled(threat, images, new + (1 - either) * change)


def _l2_scaled(threat, images, change):
    """Returns images with `change` at length epsilon, then fitted to the bounds."""
    length = TINY + tf.sqrt(_sum(tf.square(change), [1, 2, 3]))
    return tf.clip_by_value(images + change * (threat.epsilon / length), *threat.bounds)


def _sum(values, axes):
    return tf.reduce_sum(values, axes, keepdims=True)


def _signs(uniform):
    return tf.where(uniform < 0.5, -1.0, 1.0)


def _margin_and_broken(logits_fn, images, labels):
    """Returns the true logit less the highest other one, and whether another class is predicted."""
    logits = tf.cast(logits_of(logits_fn, images), tf.float32)
    is_true = tf.one_hot(labels, tf.shape(logits)[-1], on_value=True, off_value=False)
    true_logit = tf.reduce_sum(tf.where(is_true, logits, 0.0), -1)
    margin = true_logit - tf.reduce_max(tf.where(is_true, logits.dtype.min, logits), -1)
    return (
        tf.ensure_shape(margin, labels.shape),
        tf.ensure_shape(is_broken(logits, labels), labels.shape),
    )


class _Form(NamedTuple):
    """What a norm makes of the attack.

    start(threat, images, seed) -> allowed images and further state; candidate(threat, images,
    state, query, sides) -> the allowed images to query, of a Queries of [batch, ...] tensors.
    """

    start: Callable
    candidate: Callable


_FORMS = {"linf": _Form(_linf_start, _linf_candidate), "l2": _Form(_l2_start, _l2_candidate)}


def _check(num_queries, restarts, p_init, window_seed, compiled):
    check_count("num_queries", num_queries)
    check_count("restarts", restarts)
    if not 0 < p_init <= 1:
        raise ValueError(f"p_init={p_init}: give a share above 0, up to 1, such as 0.8")
    if not isinstance(window_seed, numbers.Integral) or not 0 <= window_seed < 2**32:
        raise ValueError(f"window_seed={window_seed!r}: give an integer from 0 to 2**32 - 1")
    if compiled not in COMPILED_FORMS:
        raise ValueError(f"compiled={compiled!r}: allowed are {', '.join(COMPILED_FORMS)}")
