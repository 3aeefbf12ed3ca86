"""Projected gradient descent: one loop that is FGSM, PGD and PGD with restarts.

    logits_fn = lambda images: model(images, training=False)
    adversarial = pgd(logits_fn, images, labels, seed=7, epsilon=4 / 255, num_steps=10)

`ascend` is that loop alone, from a start and on a loss of one's own.

Images are float32 in [0, 1]; epsilon and step_size are in the same units.  The attack sees
`logits_fn` alone: whether batch normalisation uses its moving averages (it should) and the
precision of the computation are decided there.  `logits_fn` must be ready to run (variables
made), because it is traced inside a loop.  Call the attack outside the tape of the weights.
"""

import math
import numbers
from typing import Callable

import tensorflow as tf

from sat_tf.attacks.losses import class_indices, cross_entropy
from sat_tf.attacks.threat import ThreatModel, images_within

LogitsFn = Callable[[tf.Tensor], tf.Tensor]  # float32 [B, H, W, C] -> floating [B, num_classes]
Attack = Callable[[LogitsFn, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]  # ..., labels, seed

COMPILED_FORMS = ("none", "step", "loop")


def default_step_size(epsilon, num_steps, bounds=(0.0, 1.0)):
    """Returns max(one of 255 grey levels, epsilon / num_steps), as the release's evaluation has it.

    Args:
      epsilon: radius, in the units of `bounds`.
      num_steps: gradient steps.
      bounds: lowest and highest valid pixel; a grey level of [0, 1] is 1/255.
    """
    low, high = bounds
    return max((high - low) / 255, epsilon / num_steps)


def compiled_form(xla, device_type):
    """Returns the form of the attack loop that suits a device.

    On a CPU, XLA runs convolutions far slower inside a loop than outside: against the plain
    graph loop, benchmarks/attack_speed.py measured 1.5 times the time for "step" and 17 times
    for "loop".  So there only the loop's body is compiled, and not unless asked for.  On GPU
    and TPU the choice of one program is XLA's usual practice, not measured here.

    Args:
      xla: "auto", "on" or "off".
      device_type: "CPU", "GPU" or "TPU", where the attack will run.
    Returns: one of COMPILED_FORMS, for the `compiled` argument of `pgd`.
    Raises: ValueError for any other value.
    """
    forms = {"off": {"CPU": "none", "GPU": "none", "TPU": "none"},
             "auto": {"CPU": "none", "GPU": "loop", "TPU": "loop"},
             "on": {"CPU": "step", "GPU": "loop", "TPU": "loop"}}
    if xla not in forms:
        raise ValueError(f"xla={xla!r}: allowed are {', '.join(forms)}")
    if device_type not in forms[xla]:
        raise ValueError(f"device_type={device_type!r}: allowed are {', '.join(forms[xla])}")
    return forms[xla][device_type]


def pgd(logits_fn, images, labels, seed, *, epsilon, num_steps, step_size=None,
        random_start=True, clean_start_probability=0.0, clip_start=False, restarts=1,
        bounds=(0.0, 1.0), loss=cross_entropy, loss_scale=1.0, compiled="none"):
    """Returns images near the given ones on which the loss is high, in the L-infinity ball.

    A pure function of its arguments.  As in the original release, the random start is scaled
    by one 0/1 draw for the whole batch, is not fitted to `bounds` before the first gradient
    (unless `clip_start`, as Fast AT does), and the last iterate is returned, not the best.

    The steps are one graph loop at any `num_steps`, and only the images are differentiated.
    In eager mode every call traces the compiled forms anew: wrap the call in a `tf.function`.

    Args:
      logits_fn: float32 [batch, height, width, channels] -> floating [batch, num_classes].
      images: floating, converted to float32 [batch, height, width, channels], in `bounds`.
      labels: integer [batch], the true classes.
      seed: integer [2] tensor or pair, or one integer; all randomness comes from it.
      epsilon: radius, >= 0.
      num_steps: gradient steps, >= 1.
      step_size: length of a step, >= 0, used as given; None means `default_step_size`.
      random_start: whether to start from uniform noise in the ball instead of the image.
      clean_start_probability: chance, in [0, 1], that a batch starts from its images after all.
      clip_start: whether the noisy start is fitted to `bounds` before the first gradient.
      restarts: runs from different noise, >= 1.  With several, each example's result is its
        first misclassified one, else the one of the highest loss.
      bounds: lowest and highest valid pixel.
      loss: (logits, labels) -> float32 [batch], the loss to ascend.
      loss_scale: factor on that loss, > 0, against underflow in float16 models (128 there, in
        the release); it does not otherwise change the direction of a step.
      compiled: "none" for a plain graph loop; "step" for a graph loop over one XLA-compiled
        step; "loop" for the whole loop in one XLA program.  Noise is drawn outside the
        compiled part, since XLA turns the same seed into other numbers.
    Returns: float32, the shape of `images`, in `bounds` and in the ball; gradients stop here.
    Raises: ValueError for values out of range, for images not floating, labels not
      integer, and a `logits_fn` that is not differentiable with respect to its images;
      tf.errors.InvalidArgumentError for images outside `bounds`.
    Reference: Madry et al., 2018, https://arxiv.org/abs/1706.06083; start and step rule as in
      the release of Xie et al., 2020, https://arxiv.org/abs/2006.14536.
    """
    threat = ThreatModel(epsilon=epsilon, bounds=bounds)
    _check_settings(num_steps, step_size, loss_scale, compiled)
    _check_starts(clean_start_probability, restarts)
    images, labels, seed = images_within(images, bounds), class_indices(labels), as_seed(seed)

    def attack(restart):
        start = images
        if random_start:
            start += _start_noise(threat, images, tf.random.experimental.stateless_fold_in(
                seed, tf.cast(restart, tf.int64)), clean_start_probability)
        return ascend(
            logits_fn, threat.project(images, start) if clip_start else start, images, labels,
            threat=threat, num_steps=num_steps, step_size=step_size, loss=loss,
            loss_scale=loss_scale, compiled=compiled)

    if restarts == 1:
        return attack(0)
    return tf.stop_gradient(_strongest(logits_fn, attack, images, labels, loss, restarts))


def ascend(logits_fn, start, images, labels, *, threat, num_steps, step_size=None,
           loss=cross_entropy, loss_scale=1.0, compiled="none"):
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
    _check_settings(num_steps, step_size, loss_scale, compiled)
    size = (default_step_size(threat.epsilon, num_steps, threat.bounds) if step_size is None
            else float(step_size))

    def step(adversarial, images, labels):
        gradient = loss_gradient(logits_fn, adversarial, labels, loss, loss_scale)
        moved = adversarial + size * threat.ascent_direction(gradient)
        return tf.ensure_shape(threat.project(images, moved), images.shape)

    return tf.stop_gradient(_climb(step, num_steps, compiled)(start, images, labels))


def fgsm(logits_fn, images, labels, seed=0, *, epsilon, bounds=(0.0, 1.0), loss=cross_entropy,
         loss_scale=1.0, compiled="none"):
    """Returns `images` moved by one step of length epsilon; `seed` changes nothing.

    The arguments are those of `pgd`, of which this is one step without a random start.
    Reference: Goodfellow et al., 2015, https://arxiv.org/abs/1412.6572.
    """
    return pgd(logits_fn, images, labels, seed, epsilon=epsilon, num_steps=1, step_size=epsilon,
               random_start=False, bounds=bounds, loss=loss, loss_scale=loss_scale,
               compiled=compiled)


def loss_gradient(logits_fn, adversarial, labels, loss, loss_scale):
    """Returns the gradient of the summed loss, so that every example has its own.

    It is `loss_scale` times as large; the arguments are those of `pgd`, checked.
    Raises: ValueError where `logits_fn` is not differentiable with respect to its images.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:  # no weight gradients
        tape.watch(adversarial)
        total = loss_scale * tf.reduce_sum(loss(logits_fn(adversarial), labels))
    gradient = tape.gradient(total, adversarial)
    if gradient is None:
        raise ValueError("logits_fn is not differentiable with respect to its images")
    return gradient


def _climb(step, num_steps, compiled):
    """Returns (start, images, labels) -> last iterate, in the form asked for."""
    # No AutoGraph of our own: logits_fn is traced in the same way in every form.
    if compiled == "step":
        step = tf.function(step, jit_compile=True, autograph=False)

    def climb(start, images, labels):
        return tf.while_loop(
            lambda index, _: index < num_steps,
            lambda index, adversarial: (index + 1, step(adversarial, images, labels)),
            (tf.constant(0), start), parallel_iterations=1, maximum_iterations=num_steps)[1]

    return tf.function(climb, jit_compile=True, autograph=False) if compiled == "loop" else climb


def _start_noise(threat, images, seed, clean_start_probability):
    noise_seed, batch_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    noise = threat.random_start(images, noise_seed)
    if clean_start_probability == 0:
        return noise
    uniform = tf.random.stateless_uniform([], batch_seed)  # one draw: the batch starts alike
    return noise * tf.cast(uniform >= clean_start_probability, noise.dtype)


def _strongest(logits_fn, attack, images, labels, loss, restarts):
    """Each example's first misclassified result, else the one of the highest loss."""
    def body(restart, best, best_loss, best_broken):
        adversarial = attack(restart)
        logits = tf.cast(logits_fn(adversarial), tf.float32)
        value = tf.ensure_shape(loss(logits, labels), labels.shape)
        # Logits that are not finite count as broken, so that the caller gets to see them.
        broken = tf.argmax(logits, -1, tf.int32) != labels
        broken |= ~tf.reduce_all(tf.math.is_finite(logits), -1)
        better = ~best_broken & (broken | (value > best_loss))
        keep = tf.reshape(better, tf.concat([tf.shape(labels), [1] * (images.shape.rank - 1)], 0))
        return (restart + 1, tf.where(keep, adversarial, best),
                tf.where(better, value, best_loss), best_broken | broken)

    nothing = tf.zeros_like(labels, tf.float32)
    return tf.while_loop(
        lambda restart, *_: restart < restarts, body,
        (tf.constant(0), images, nothing - math.inf, nothing > 0),
        parallel_iterations=1, maximum_iterations=restarts)[1]


def as_seed(seed):
    """Returns a seed of an attack, one integer or two, as an integer tensor [2].

    Raises: ValueError for anything else.
    """
    refusal = ValueError(f"seed={seed}: give an integer or two of them")
    try:
        seed = tf.convert_to_tensor(seed, None if tf.is_tensor(seed) else tf.int64)
    except (TypeError, OverflowError) as error:
        raise refusal from error
    if not seed.dtype.is_integer or seed.shape.as_list() not in ([], [2]):
        raise refusal
    return tf.stack([tf.zeros_like(seed), seed]) if seed.shape.rank == 0 else seed


def _check_count(name, value):
    if not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name}={value!r}: give an integer of at least 1")


def _check_starts(clean_start_probability, restarts):
    _check_count("restarts", restarts)
    if not 0 <= clean_start_probability <= 1:
        raise ValueError(f"clean_start_probability={clean_start_probability}: give 0 to 1")


def _check_settings(num_steps, step_size, loss_scale, compiled):
    _check_count("num_steps", num_steps)
    if step_size is not None and not (math.isfinite(step_size) and step_size >= 0):
        raise ValueError(f"step_size={step_size}: give a number of at least 0, such as 1/255")
    if not (math.isfinite(loss_scale) and loss_scale > 0):
        raise ValueError(f"loss_scale={loss_scale}: give a number above 0")
    if compiled not in COMPILED_FORMS:
        raise ValueError(f"compiled={compiled!r}: allowed are {', '.join(COMPILED_FORMS)}")
