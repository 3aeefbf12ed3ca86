"""Auto-PGD: projected gradient descent that finds its own step size.

    search = apgd_search("ce", epsilon=8 / 255)                        # a Search
    adversarial = apgd(logits_fn, images, labels, 7, loss="dlr", epsilon=8 / 255)

With momentum, from twice the radius down: at checkpoints, an example whose loss no longer rises
well halves its step and goes on from the best point it has found.

What `pgd` says of images, epsilon and `logits_fn` holds here.
Reference: Croce & Hein, 2020, https://arxiv.org/abs/2003.01690; what the paper leaves open is as in
its authors' code, except for one comparison, see `apgd_search`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.attacks import draws, passes
from sat_tf.attacks.arguments import logits_of
from sat_tf.attacks.losses import classes_by_rank, cross_entropy, dlr, negative, targeted_dlr
from sat_tf.attacks.search import Search, check_count, check_settings, select
from sat_tf.attacks.threat import ThreatModel, per_example
from sat_tf.errors import look_up

ALPHA = 0.75  # share of the gradient's step in a move; the rest goes on along the last move
RHO = 0.75  # a step is halved unless more than this share of a window's moves have raised the loss


class _Loss(NamedTuple):
    """`value`: (logits, labels[, targets]) -> float32 [batch]; `targeted`: if it takes targets."""

    value: Callable
    targeted: bool = False


LOSSES = {
    "ce": _Loss(cross_entropy),
    "dlr": _Loss(dlr),
    "dlr-targeted": _Loss(targeted_dlr, targeted=True),
}


def apgd(
    logits_fn: Callable,
    images: TensorLike,
    labels: TensorLike,
    seed: int | TensorLike,
    *,
    loss: str = "ce",
    epsilon: float,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    num_steps: int = 100,
    restarts: int = 1,
    num_targets: int = 9,
    eot: int = 1,
    loss_scale: float = 1.0,
    compiled: str = "none",
    targeted: bool = False,
) -> tf.Tensor:
    """Returns images near the given ones: broken ones, else those of the highest loss found.

    Called eagerly it is traced once for each network and shape, and kept: see `tracing`.

    Args:
      logits_fn, images, labels, seed: as for `pgd`.
      The others are those of `apgd_search`.
    Returns: float32, the shape of `images`, in `bounds` and in the ball; gradients stop here.
    Raises: as `pgd`; ValueError also for a network of a single class with a DLR loss.
    """
    return apgd_search(
        loss,
        epsilon=epsilon,
        norm=norm,
        bounds=bounds,
        num_steps=num_steps,
        restarts=restarts,
        num_targets=num_targets,
        eot=eot,
        loss_scale=loss_scale,
        compiled=compiled,
        targeted=targeted,
    )(logits_fn, images, labels, seed)


def apgd_search(
    loss: str,
    *,
    epsilon: float,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    num_steps: int = 100,
    restarts: int = 1,
    num_targets: int = 9,
    eot: int = 1,
    loss_scale: float = 1.0,
    compiled: str = "none",
    targeted: bool = False,
) -> Search:
    """Returns Auto-PGD as a Search, which stops at the first broken iterate.

    The start counts as one: it is in the ball and in `bounds`.  So the Search has one step more
    than `num_steps`, for as many gradients as there are iterates.

    The authors' code takes the first iterate after the start for a rise of the loss where its loss
    is above 0: always with cross-entropy, never with DLR.  Here it is compared with the start.

    Args:
      loss: what to ascend, a name of LOSSES.  With "dlr-targeted", each run drives an example to
        one class: the first `restarts` runs to the class of the clean image's highest logit, the
        true one left out, the next to that of the second highest, and so on.
      epsilon, norm, bounds: radius, >= 0, norm and pixel range, as in ThreatModel.
      num_steps: moves of one run, >= 1.
      restarts: runs from different starts, >= 1; with targets, so many for each.
      num_targets: how many classes to drive each example to, >= 1, where the loss is targeted; the
        runs past the last class repeat it, so give no more than there are other classes.
      eot: passes through the network, >= 1, of which loss and gradient are the means, for networks
        that are random (expectation over transformation).  The last one says what is broken, as in
        the authors' code.
      loss_scale: factor on the loss while it is differentiated, > 0, for float16 models.
      compiled: one of COMPILED_FORMS, as for `pgd`.
      targeted: whether labels are the classes to reach, by descending the loss, as for `pgd`.  Not
        the same as "dlr-targeted", which leaves the true class for any other that it finds.
    Raises: ValueError for an unknown loss, listing the known ones, for "dlr-targeted" with
      `targeted`, and for values out of range.
    """
    if targeted and loss == "dlr-targeted":
        raise ValueError(f"targeted={targeted}: loss={loss!r} chooses its targets; give ce or dlr")
    loss = look_up(LOSSES, "loss", loss)
    threat = ThreatModel(norm, epsilon=epsilon, bounds=bounds)
    check_settings(num_steps, None, loss_scale, compiled)
    for name, value in {"restarts": restarts, "num_targets": num_targets, "eot": eot}.items():
        check_count(name, value)

    def begin(logits_fn, images, labels, seed, run):
        run_seed = draws.fold_in(seed, run if seed.shape.rank == 2 else run[0])
        state = _begin(threat, _start(threat, images, run_seed))
        if loss.targeted:
            state["target"] = _target(
                logits_of(logits_fn, images), labels, run // restarts, num_targets
            )
        return state

    def step(logits_fn, images, labels, state, index):
        targets = [state["target"]] if loss.targeted else []
        value = lambda logits, labels: loss.value(logits, labels, *targets)
        evaluation = passes.evaluate(
            logits_fn,
            state["current"],
            labels,
            negative(value) if targeted else value,
            eot=eot,
            loss_scale=loss_scale,
            targeted=targeted,
        )
        new = _step(threat, images, state, index, _windows_by_step(num_steps), evaluation)
        return {**state, **new}

    return Search(
        begin,
        step,
        num_steps + 1,
        threat,
        stops=True,
        targeted=targeted,
        compiled=compiled,
        runs=restarts * num_targets if loss.targeted else restarts,
        passes=eot,
    )


def checkpoints(num_steps) -> list[tuple[int, int]]:
    """Returns (after how many moves, moves since the one before) for each checkpoint of a run.

    The first window is 0.22 of the run, each next one shorter by 0.03, down to 0.06; for 100 moves
    the checkpoints are after 22, 41, 57, 70, 80, 87, 93 and 99.
    """
    window, shrinkage, shortest = (max(int(share * num_steps), 1) for share in (0.22, 0.03, 0.06))
    moves, found = window, []
    while moves <= num_steps:
        found.append((moves, window))
        window = max(window - shrinkage, shortest)
        moves += window
    return found


def _windows_by_step(num_steps):
    """Returns int32, the window that ends at each iterate, or 0; one more for those at the end."""
    windows = dict(checkpoints(num_steps))
    return tf.constant([windows.get(moves, 0) for moves in range(num_steps + 2)])


def _start(threat, images, seed):
    # Noise uniform in the ball, stretched to its surface, is uniform noise over its largest part
    # in L-infinity, and a uniform direction in L2.
    noise = threat.random_start(images, seed)
    size = per_example(threat.size(tf.zeros_like(noise), noise), images)
    return threat.project(images, images + threat.epsilon * tf.math.divide_no_nan(noise, size))


def _target(clean_logits, labels, place, num_targets):
    """Returns the class at `place`, int32 [batch] from 0, or the last if there are fewer."""
    classes = classes_by_rank(clean_logits, labels, num_targets)
    return tf.gather(classes, tf.minimum(place, classes.shape[-1] - 1), batch_dims=1)


def _begin(threat, start):
    nothing = tf.zeros(tf.shape(start)[:1])
    return {
        "adversarial": start,  # of the highest loss so far, or the broken one
        "broken": nothing > 0,
        "current": start,
        "previous": start,
        "gradient": tf.zeros_like(start),  # at the point of the highest loss
        "highest": nothing - math.inf,
        "highest_before": nothing - math.inf,  # at the last checkpoint
        "last": nothing + math.inf,  # loss of the iterate before: the start has risen from none
        "rises": tf.zeros_like(nothing, tf.int32),  # since the last checkpoint
        "halved": nothing == 0,  # at the last checkpoint; none counts as one where it was
        "size": nothing + 2 * threat.epsilon,
    }


def _step(threat, images, state, index, windows, evaluation):
    """Returns the State after the iterate was evaluated and, unless it is broken, moved."""
    current, broken, loss, gradient = state["current"], *evaluation
    better = loss > state["highest"]
    new = {
        "adversarial": select(better | broken, current, state["adversarial"]),
        "broken": broken,
        "gradient": select(better, gradient, state["gradient"]),
        "highest": tf.where(better, loss, state["highest"]),
        "last": loss,
        "rises": state["rises"] + tf.cast(loss > state["last"], tf.int32),
    }
    halve, schedule = _checkpoint({**state, **new}, tf.gather(windows, index))
    here = select(halve, new["adversarial"], current)
    uphill = threat.ascent_direction(select(halve, new["gradient"], gradient))
    ahead = threat.project(images, here + per_example(schedule["size"], images) * uphill)
    alpha = per_example(tf.where(index == 0, 1.0, ALPHA), images)
    moved = here + alpha * (ahead - here) + (1 - alpha) * (here - state["previous"])
    return {
        **new,
        **schedule,
        "previous": here,
        "current": tf.ensure_shape(threat.project(images, moved), images.shape),
    }


def _checkpoint(state, window):
    """Returns whether to halve the step and go back, bool [batch], and what of the State follows.

    `window`, int32 [batch], is that of the checkpoint, or 0 where this iterate is none.
    """
    is_checkpoint = window > 0
    oscillates = tf.cast(state["rises"], tf.float32) <= RHO * tf.cast(window, tf.float32)
    stalls = ~state["halved"] & (state["highest"] <= state["highest_before"])
    halve = is_checkpoint & (oscillates | stalls)
    return halve, {
        "size": tf.where(halve, state["size"] / 2, state["size"]),
        "halved": tf.where(is_checkpoint, halve, state["halved"]),
        "highest_before": tf.where(is_checkpoint, state["highest"], state["highest_before"]),
        "rises": tf.where(is_checkpoint, 0, state["rises"]),
    }
