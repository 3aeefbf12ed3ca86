"""Which iterate of PGD an example has to survive: the last, each of them, or the best.

    criterion = CRITERIA["any_iterate"]
    state = criterion.begin(images, start)
    state = criterion.step(state, index, ascended, evaluated, broken)

The names are those of `pgd_search`'s `robust_if`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sat_tf.attacks.search import select


class Criterion(NamedTuple):
    """How a search keeps what it is judged by.

    begin(images, start) -> State; step(state, index, ascended, evaluated, broken) -> State, where
    ascended(images, gradient) is the next iterate, evaluated(images) -> (logits, loss, gradient)
    and broken(logits) -> bool [batch].
    """

    begin: Callable
    step: Callable
    further_steps: int = 0
    stops: bool = False


def _final_begin(images, start):
    return {"adversarial": start}


def _final_step(state, index, ascended, evaluated, broken):
    current = state["adversarial"]
    return {"adversarial": ascended(current, evaluated(current)[-1])}


# The start is no iterate: it need not be a valid image, and judging it is not the search's affair.
def _any_begin(images, start):
    return {"adversarial": start, "broken": tf.zeros(tf.shape(start)[:1], tf.bool)}


def _any_step(state, index, ascended, evaluated, broken):
    current = state["adversarial"]
    logits, _, gradient = evaluated(current)
    now = (index > 0) & broken(logits)
    return {"adversarial": select(now, current, ascended(current, gradient)), "broken": now}


def _best_begin(images, start):
    return {
        "current": start,
        "adversarial": images,
        "highest": tf.fill(tf.shape(start)[:1], tf.constant(-math.inf)),
    }


def _best_step(state, index, ascended, evaluated, broken):
    current = state["current"]
    _, value, gradient = evaluated(current)
    # NaN is kept, once met, for whoever judges the result to see.
    better = (index > 0) & ((value > state["highest"]) | tf.math.is_nan(value))
    return {
        "current": ascended(current, gradient),
        "adversarial": select(better, current, state["adversarial"]),
        "highest": tf.where(better, value, state["highest"]),
    }


CRITERIA = {
    "final": Criterion(_final_begin, _final_step),
    "any_iterate": Criterion(_any_begin, _any_step, stops=True),
    "best_loss": Criterion(_best_begin, _best_step, further_steps=1),
}
