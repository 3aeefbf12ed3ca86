"""The fast adaptive boundary attack: the closest misclassified image, by linear approximations.

    adversarial = fab(logits_fn, images, labels, seed=7, targeted=True, epsilon=8 / 255)

Images are float32 in [0, 1]; epsilon is in the same units, and only decides which of the images
found count.  What `logits_fn` must be is in `sat_tf.attacks.pgd`.
"""

import math
from collections.abc import Callable

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.attacks import draws
from sat_tf.attacks.arguments import logits_of
from sat_tf.attacks.gradients import value_and_gradient
from sat_tf.attacks.hyperplane import distance, shortest_move
from sat_tf.attacks.search import Search, check_count, check_settings, is_broken, select
from sat_tf.attacks.targets import nth_class
from sat_tf.attacks.threat import ThreatModel, per_example

_START_SHARE = 0.5  # of epsilon, how far off a random start is
_LEAST_LENGTH = 1e-8  # of a move, where shares are made of two of them


def fab(
    logits_fn: Callable,
    images: TensorLike,
    labels: TensorLike,
    seed: int | TensorLike,
    *,
    targeted: bool,
    epsilon: float,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    num_steps: int = 100,
    restarts: int = 1,
    num_targets: int = 9,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    loss_scale: float = 1.0,
    compiled: str = "none",
) -> tf.Tensor:
    """Returns misclassified images within epsilon of the given ones, where the search finds them.

    A step takes the boundary between the true class and another for the hyperplane that the
    gradient at the current point makes of it.  It moves the current point and the image itself
    towards that, by the shortest ways within `bounds` but `eta` times as far, and goes on from a
    mean of the two, in which the image weighs the less the closer the current point was.  From a
    misclassified point it goes back towards the image, to `beta` of the distance.  Epsilon has no
    part in that, other than in random starts.

    AutoAttack makes all steps and then asks whether the closest misclassified point is within
    epsilon.  Here an example is done as soon as one is, which breaks the same examples, but the
    image returned is not the closest.

    Args:
      logits_fn: float32 [batch, height, width, channels] -> floating [batch, num_classes].
      images: floating, converted to float32 [batch, height, width, channels], in `bounds`.
      labels: integer [batch], the true classes.
      seed: integer [2] tensor or pair, or one integer, or integer [batch, 2]; as for `pgd`.
      targeted: True for the boundary to one class, the same in all steps of a run: another of the
        likeliest classes of the image in each.  False for the boundary to whichever class is
        nearest in the linear approximation, at one backward pass for every class.
      epsilon: radius, >= 0, compared in float32 without any tolerance.
      norm: "linf" or "l2", of the ball.
      bounds: lowest and highest valid pixel.
      num_steps: steps of each run, >= 1.
      restarts: runs for each target, >= 1; the first starts from the image, the others at half of
        epsilon from it.
      num_targets: how many classes are targets, >= 1, by the logits of the image: the second
        largest first.  Ignored unless `targeted`.  Where there are fewer other classes, further
        runs have the last of them again.
      alpha_max: largest share, in [0, 1], of the image's own move.
      eta: how far to go for the hyperplane, >= 1, in lengths of the move onto it.
      beta: share of the distance that is kept in going back, in (0, 1).
      loss_scale: factor on the logits while they are differentiated, > 0, against underflow in
        float16 models; it is taken out again.
      compiled: as for `pgd`.
    Returns: float32, the shape of `images`: misclassified and within epsilon, or the image itself;
      NaN where a gradient is not finite, which says nothing about the example.
    Raises: as `pgd`.
    Reference: Croce and Hein, 2020, https://arxiv.org/abs/1907.02044; the defaults, the targets and
      what counts as in AutoAttack's code (https://arxiv.org/abs/2003.01690).
    """
    return fab_search(
        targeted=targeted,
        epsilon=epsilon,
        norm=norm,
        bounds=bounds,
        num_steps=num_steps,
        restarts=restarts,
        num_targets=num_targets,
        alpha_max=alpha_max,
        eta=eta,
        beta=beta,
        loss_scale=loss_scale,
        compiled=compiled,
    )(logits_fn, images, labels, seed)


def fab_search(
    *,
    targeted: bool,
    epsilon: float,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    num_steps: int = 100,
    restarts: int = 1,
    num_targets: int = 9,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    loss_scale: float = 1.0,
    compiled: str = "none",
) -> Search:
    """Returns `fab` as a Search, whose arguments are those of `fab`.

    Its runs are all restarts for the first target, then those for the next.  An example that is
    misclassified to begin with is broken at once.
    """
    threat = ThreatModel(norm, epsilon=epsilon, bounds=bounds)
    check_settings(num_steps, None, loss_scale, compiled)
    _check_counts_and_shares(restarts, num_targets, alpha_max, eta, beta)

    def begin(logits_fn, images, labels, seed, run):
        logits = tf.cast(logits_of(logits_fn, images), tf.float32)
        current = (
            images
            if restarts == 1
            else select(run % restarts == 0, images, _random_start(threat, images, seed, run))
        )
        state = {
            "current": current,
            "adversarial": images,
            "broken": tf.ensure_shape(is_broken(logits, labels), labels.shape),
        }
        return {**state, "target": nth_class(logits, 2 + run // restarts)} if targeted else state

    def step(logits_fn, images, labels, state, index):
        current = state["current"]
        gap, normal = (
            _boundary(logits_fn, current, labels, state["target"], loss_scale)
            if targeted
            else _nearest_boundary(logits_fn, current, labels, norm, loss_scale)
        )
        usable = tf.math.is_finite(gap) & tf.reduce_all(
            tf.math.is_finite(normal), list(range(1, images.shape.rank))
        )
        moved = select(
            usable,
            _moved(threat, images, current, gap, normal, alpha_max, eta),
            tf.zeros_like(images) + math.nan,
        )
        wrong = is_broken(tf.cast(logits_of(logits_fn, moved), tf.float32), labels)
        # NaN counts as found, so that the caller gets to see it: else it would pass for robustness.
        found = (wrong & (threat.size(images, moved) <= threat.epsilon)) | ~usable
        return {
            **state,
            "current": select(wrong, images + beta * (moved - images), moved),
            "adversarial": select(found, moved, state["adversarial"]),
            "broken": found,
        }

    return Search(
        begin,
        step,
        num_steps,
        threat,
        runs=restarts * (num_targets if targeted else 1),
        stops=True,
        compiled=compiled,
        # Untargeted, a backward for every class, of which there are taken to be one more than
        # targets; and a forward for what was found.
        passes=1.5 if targeted else (num_targets + 3) / 2,
    )


def _random_start(threat, images, seed, run):
    seed = draws.fold_in(seed, run if seed.shape.rank == 2 else run[0])
    noise = (
        draws.uniform(images, seed, -1.0, 1.0)
        if threat.norm == "linf"
        else draws.normal(images, seed)
    )
    share = _START_SHARE * threat.epsilon / per_example(_length(threat, noise), images)
    return tf.clip_by_value(images + share * noise, *threat.bounds)


def _boundary(logits_fn, current, labels, other, loss_scale):
    """Returns (gap, normal): what the logit of `other` exceeds the true one by, and its gradient.

    Both are float32, [batch] and the shape of `current`.
    """

    def gap(logits, labels):
        return _gap(tf.cast(logits, tf.float32), labels, other)

    return value_and_gradient(logits_fn, current, labels, gap, loss_scale)[1:]


def _nearest_boundary(logits_fn, current, labels, norm, loss_scale):
    """Returns (gap, normal) of the class whose hyperplane is nearest, the pixels unbounded.

    The classes take turns, so that the gradients of two of them are in memory at a time.
    """
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(current)
        logits = tf.cast(logits_of(logits_fn, current), tf.float32)
    num_classes = tf.shape(logits)[-1]

    def compare(number, nearest, best_gap, best_normal):
        other = number + tf.cast(number >= labels, tf.int32)  # all classes but the true one
        direction = tf.one_hot(other, num_classes) - tf.one_hot(labels, num_classes)
        normal = tape.gradient(logits, current, output_gradients=loss_scale * direction)
        if normal is None:
            raise ValueError("logits_fn is not differentiable with respect to its images")
        normal /= loss_scale
        gap = _gap(logits, labels, other)
        away = distance(normal, gap, norm=norm)
        nearer = away < nearest
        return (
            number + 1,
            tf.where(nearer, away, nearest),
            tf.where(nearer, gap, best_gap),
            select(nearer, normal, best_normal),
        )

    nothing = tf.zeros_like(labels, tf.float32)
    return tf.while_loop(
        lambda number, *_: number < num_classes - 1,
        compare,
        (tf.constant(0), nothing + math.inf, nothing, tf.zeros_like(current) + math.nan),
        parallel_iterations=1,
    )[2:]


def _gap(logits, labels, other):
    """Returns float32 [batch], the logit of class `other` less that of `labels`, both [batch]."""

    def of(classes):
        chosen = tf.one_hot(classes, tf.shape(logits)[-1], on_value=True, off_value=False)
        return tf.reduce_sum(tf.where(chosen, logits, 0.0), -1)

    return tf.ensure_shape(of(other) - of(labels), labels.shape)


def _moved(threat, images, current, gap, normal, alpha_max, eta):
    """Returns where the step leads for the hyperplane gap + sum(normal * (x - current)) = 0."""

    def move(points):
        rise = tf.reduce_sum(normal * (points - current), list(range(1, images.shape.rank)))
        return shortest_move(points, normal, -(gap + rise), norm=threat.norm, bounds=threat.bounds)

    move_on, move_out = move(current), move(images)
    on, out = (tf.maximum(_length(threat, way), _LEAST_LENGTH) for way in (move_on, move_out))
    alpha = per_example(tf.minimum(on / (on + out), alpha_max), images)
    moved = (1 - alpha) * (current + eta * move_on) + alpha * (images + eta * move_out)
    return tf.ensure_shape(tf.clip_by_value(moved, *threat.bounds), images.shape)


def _length(threat, move):
    return threat.size(tf.zeros_like(move), move)


def _check_counts_and_shares(restarts, num_targets, alpha_max, eta, beta):
    check_count("restarts", restarts)
    check_count("num_targets", num_targets)
    if not 0 <= alpha_max <= 1:
        raise ValueError(f"alpha_max={alpha_max}: give 0 to 1")
    if not (math.isfinite(eta) and eta >= 1):
        raise ValueError(f"eta={eta}: give a number of at least 1")
    if not 0 < beta < 1:
        raise ValueError(f"beta={beta}: give a number between 0 and 1")
