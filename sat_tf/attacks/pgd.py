"""Projected gradient descent, with restarts and without; `fgsm` is one step of it.

    logits_fn = lambda images: model(images, training=False)
    adversarial = pgd(logits_fn, images, labels, seed=7, epsilon=4 / 255, num_steps=10)

`ascend` is that loop alone, from a start and on a loss of one's own.

Images are float32 in [0, 1]; epsilon and step_size are in the same units.  The attack sees
`logits_fn` alone: whether batch normalisation uses its moving averages (it should) and the
precision of the computation are decided there.  `logits_fn` must be ready to run (variables
made), because it is traced inside a loop.  Call the attack outside the tape of the weights.
"""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.attacks import draws
from sat_tf.attacks.arguments import Watched, checked_labels
from sat_tf.attacks.criteria import CRITERIA
from sat_tf.attacks.gradients import loss_gradient, value_and_gradient
from sat_tf.attacks.losses import cross_entropy, negative
from sat_tf.attacks.search import Search, check_count, check_settings, is_broken, repeat
from sat_tf.attacks.threat import ThreatModel

LogitsFn = Callable[[tf.Tensor], tf.Tensor]  # float32 [B, H, W, C] -> floating [B, num_classes]
Attack = Callable[[LogitsFn, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]  # ..., labels, seed


def default_step_size(
    epsilon: float, num_steps: int, bounds: tuple[float, float] = (0.0, 1.0)
) -> float:
    """Returns max(one of 255 grey levels, epsilon / num_steps), as the release's evaluation has it.

    Args:
      epsilon: radius, in the units of `bounds`.
      num_steps: gradient steps.
      bounds: lowest and highest valid pixel; a grey level of [0, 1] is 1/255.
    """
    low, high = bounds
    return max((high - low) / 255, epsilon / num_steps)


def pgd(
    logits_fn: LogitsFn,
    images: TensorLike,
    labels: TensorLike,
    seed: int | TensorLike,
    *,
    epsilon: float,
    num_steps: int,
    step_size: float | None = None,
    random_start: bool = True,
    clean_start_probability: float = 0.0,
    clip_start: bool = False,
    restarts: int = 1,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    loss: Callable = cross_entropy,
    loss_scale: float = 1.0,
    compiled: str = "none",
    targeted: bool = False,
) -> tf.Tensor:
    """Returns images near the given ones on which the loss is high.

    A pure function of its arguments.  As in the original release, the random start is scaled
    by one 0/1 draw for the whole batch, is not fitted to `bounds` before the first gradient
    (unless `clip_start`, as Fast AT does), and the last iterate is returned, not the best.

    The steps are one graph loop at any `num_steps`, and only the images are differentiated.
    Called eagerly it is traced once for each network and shape, and kept: see `tracing`.

    Args:
      logits_fn: float32 [batch, height, width, channels] -> floating [batch, num_classes].
      images: floating, converted to float32 [batch, height, width, channels], in `bounds`.
      labels: integer [batch], the true classes; the ones to reach where `targeted`.
      seed: integer [2] tensor or pair, or one integer; all randomness comes from it.  Or integer
        [batch, 2], one for each example, whose result then depends on no other's.
      epsilon: radius, >= 0.
      num_steps: gradient steps, >= 1.
      step_size: length of a step, >= 0, used as given; None means `default_step_size`.
      random_start: whether to start from uniform noise in the ball instead of the image.
      clean_start_probability: chance, in [0, 1], that a batch starts from its images after all.
      clip_start: whether the noisy start is fitted to `bounds` before the first gradient.
      restarts: runs from different noise, >= 1.  With several, each example's result is its
        first broken one (misclassified; classified as the target), else the one of the highest
        cross-entropy, of the lowest where `targeted`.
      norm: "linf" or "l2", of the ball.
      bounds: lowest and highest valid pixel.
      loss: (logits, labels) -> float32 [batch], the loss to ascend.
      loss_scale: factor on that loss, > 0, against underflow in float16 models (128 there, in
        the release); it does not otherwise change the direction of a step.
      compiled: "none" for a plain graph loop; "step" for a graph loop over one XLA-compiled
        step; "loop" for the whole loop in one XLA program.  Noise is drawn outside the
        compiled part, since XLA turns the same seed into other numbers.
      targeted: whether to descend the loss, towards the classes of `labels`, and not to ascend it.
    Returns: float32, the shape of `images`, in `bounds` and in the ball; gradients stop here.
    Raises: ValueError for values out of range, for images not floating, for labels as in
      `checked_labels` and logits as in `checked_logits`, and for a `logits_fn` that is not
      differentiable with respect to its images; tf.errors.InvalidArgumentError for images outside
      `bounds`, and in a graph for labels that are none of the classes.
    Reference: Madry et al., 2018, https://arxiv.org/abs/1706.06083; start and step rule as in
      the release of Xie et al., 2020, https://arxiv.org/abs/2006.14536.
    """
    return pgd_search(
        epsilon=epsilon,
        num_steps=num_steps,
        step_size=step_size,
        random_start=random_start,
        clean_start_probability=clean_start_probability,
        clip_start=clip_start,
        restarts=restarts,
        norm=norm,
        bounds=bounds,
        loss=loss,
        loss_scale=loss_scale,
        compiled=compiled,
        targeted=targeted,
    )(logits_fn, images, labels, seed)


def pgd_search(
    *,
    epsilon: float,
    num_steps: int,
    step_size: float | None = None,
    random_start: bool = True,
    clean_start_probability: float = 0.0,
    clip_start: bool = False,
    restarts: int = 1,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    loss: Callable = cross_entropy,
    loss_scale: float = 1.0,
    compiled: str = "none",
    targeted: bool = False,
    robust_if: str = "final",
) -> Search:
    """Returns `pgd` as a Search.

    Args:
      robust_if: which iterate an example has to survive.  "final": the last, as in the paper.
        "any_iterate": each of them, so that a search stops at the first that is broken.
        "best_loss": the one of the highest loss; one more gradient, for the loss of the last.
      The others are those of `pgd`.
    Raises: ValueError, as `pgd`.
    """
    threat = ThreatModel(norm, epsilon=epsilon, bounds=bounds)
    check_settings(num_steps, step_size, loss_scale, compiled)
    _check_starts(clean_start_probability, restarts)
    if robust_if not in CRITERIA:
        raise ValueError(f"robust_if={robust_if!r}: allowed are {', '.join(CRITERIA)}")
    criterion = CRITERIA[robust_if]
    size = _step_size(threat, step_size, num_steps)
    climbed = negative(loss) if targeted else loss

    def start(images, seed, run):
        if not random_start:
            return images
        noise = _start_noise(
            threat,
            images,
            draws.fold_in(seed, run if seed.shape.rank == 2 else run[0]),
            clean_start_probability,
        )
        return threat.project(images, images + noise) if clip_start else images + noise

    def begin(logits_fn, images, labels, seed, run):
        return criterion.begin(images, start(images, seed, run))

    def step(logits_fn, images, labels, state, index):
        def ascended(adversarial, gradient):
            return _moved(threat, images, adversarial, gradient, size)

        return criterion.step(
            state,
            index,
            ascended,
            lambda adversarial: value_and_gradient(
                logits_fn, adversarial, labels, climbed, loss_scale
            ),
            lambda logits: is_broken(logits, labels, targeted),
        )

    return Search(
        begin,
        step,
        num_steps + criterion.further_steps,
        threat,
        runs=restarts,
        stops=criterion.stops,
        targeted=targeted,
        compiled=compiled,
    )


def ascend(
    logits_fn: LogitsFn,
    start: TensorLike,
    images: TensorLike,
    labels: TensorLike,
    *,
    threat: ThreatModel,
    num_steps: int,
    step_size: float | None = None,
    loss: Callable = cross_entropy,
    loss_scale: float = 1.0,
    compiled: str = "none",
) -> tf.Tensor:
    """Returns where `num_steps` steps of `step_size` up the loss lead, projected after each.

    Args:
      start: float32 [batch, height, width, channels], where the steps begin; may lie outside.
      images: float32, the same shape: centres of the balls.
      threat: the ThreatModel that the steps are projected on.
      loss: (logits, labels) -> float32 [batch], the loss to ascend.  It may close over tensors.
      The others are those of `pgd`.
    Returns: float32, the shape of `images`; gradients stop here.
    Raises: as `pgd`.
    """
    check_settings(num_steps, step_size, loss_scale, compiled)
    size = _step_size(threat, step_size, num_steps)
    start, images = map(tf.convert_to_tensor, (start, images))
    labels = checked_labels(labels, images)
    watched = Watched(logits_fn, labels)

    def step(adversarial, images, labels):
        gradient = loss_gradient(watched, adversarial, labels, loss, loss_scale)
        return _moved(threat, images, adversarial, gradient, size)

    found = repeat(step, num_steps, compiled)(start, images, labels)
    watched.assert_labels()
    return tf.stop_gradient(found)


def _moved(threat, images, adversarial, gradient, size):
    moved = adversarial + size * threat.ascent_direction(gradient)
    return tf.ensure_shape(threat.project(images, moved), images.shape)


def _step_size(threat, step_size, num_steps):
    return (
        default_step_size(threat.epsilon, num_steps, threat.bounds)
        if step_size is None
        else float(step_size)
    )


def _start_noise(threat, images, seed, clean_start_probability):
    noise_seed, chance_seed = draws.split(seed)
    noise = threat.random_start(images, noise_seed)
    if clean_start_probability == 0:
        return noise
    if seed.shape.rank == 1:  # one draw: the batch starts alike
        uniform = tf.random.stateless_uniform([], chance_seed)
    else:
        uniform = draws.uniform(tf.zeros([tf.shape(images)[0], 1, 1, 1]), chance_seed, 0.0, 1.0)
    return noise * tf.cast(uniform >= clean_start_probability, noise.dtype)


def _check_starts(clean_start_probability, restarts):
    check_count("restarts", restarts)
    if not 0 <= clean_start_probability <= 1:
        raise ValueError(f"clean_start_probability={clean_start_probability}: give 0 to 1")
