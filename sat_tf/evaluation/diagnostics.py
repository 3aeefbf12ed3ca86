"""How smooth is the loss around the images?  What smooth adversarial training says it changes.

    logits_fn = lambda images: model(images, training=False)
    losses = attack_losses(logits_fn, images, labels, seed=0, epsilon=8 / 255)
    print(losses[-1] - losses[0])        # what 20 steps find and 1 step does not, in nats

The paper (Xie et al., 2020, https://arxiv.org/abs/2006.14536) holds ReLU's jumping derivative
responsible for two ills: the one-step attack of training finds weak examples, and the weights get
poor gradients.  That these three numbers show it is our reading; the paper has none of them.

All are pure functions of one batch, for any differentiable `logits_fn`; call them in a
`tf.function`, or call `measure`, which does.  Gradients are those of each example's cross-entropy
with respect to its image, in nats per pixel unit (1 is the whole pixel range).
"""

import functools

import tensorflow as tf

from sat_tf import attacks

STEPS = (1, 2, 5, 20)


def attack_losses(logits_fn, images, labels, seed, *, epsilon, steps=STEPS, loss_scale=1.0):
    """Returns the mean cross-entropy that PGD of so many steps reaches at the same epsilon.

    Every PGD has the same random start and the evaluation's step, max(1/255, epsilon / steps).
    Mechanism: where the input gradient jumps, one long step follows a gradient that no longer holds
    at its end, so a one-step attacker falls short of a 20-step one; on a loss that is linear
    over the ball they are equal.

    Args:
      logits_fn: float32 [batch, height, width, channels] -> floating [batch, num_classes].
      images: float32 [batch, height, width, channels] in [0, 1].
      labels: integer [batch], the true classes.
      seed: integer, or int64 [2].
      epsilon: L-infinity radius in pixel units.
      steps: numbers of steps, each >= 1.
      loss_scale: factor on the loss whose gradient is taken, > 0, against underflow in float16
        models; what is returned is without it.
    Returns: float32 [len(steps)], in nats.
    """
    losses = []
    for num_steps in steps:
        adversarial = attacks.pgd(
            logits_fn,
            images,
            labels,
            seed,
            epsilon=epsilon,
            num_steps=num_steps,
            loss_scale=loss_scale,
        )
        losses.append(
            tf.reduce_mean(
                attacks.cross_entropy(logits_fn(adversarial), attacks.class_indices(labels))
            )
        )
    return tf.stack(losses)


def sign_flip_rate(logits_fn, images, labels, seed, *, epsilon, num_steps=20, loss_scale=1.0):
    """Returns how often a component of the input gradient changes sign from one PGD iterate to the
    next.

    The attack moves by the sign alone.  Mechanism: with a derivative that jumps, signs flip
    however short the step is, and the attack's steps undo each other; a gradient that changes
    slowly keeps its signs, as that of a linear model does at all times.

    Gradients are taken at the random start and at each iterate but the last, as PGD does.  A
    component that is 0 on either side (a dead ReLU path) has no sign to keep: it is left out, and
    counted.

    Args:
      logits_fn, images, labels, seed, epsilon, loss_scale: as for `attack_losses`.
      num_steps: of PGD, >= 2; its step is max(1/255, epsilon / num_steps).
    Returns: dict of float32: "per_step" [num_steps - 1], the share that flips at each step, NaN
      where all is left out; "mean" [], the share over all steps; "zero_share" [], the share of
      the components left out.
    Raises: ValueError for num_steps < 2.
    """
    if num_steps < 2:
        raise ValueError(f"num_steps={num_steps}: give at least 2, to compare two gradients")
    threat = attacks.ThreatModel(epsilon=epsilon)
    step_size = attacks.default_step_size(epsilon, num_steps)
    images = attacks.images_within(images, threat.bounds)
    gradient = functools.partial(
        _gradient, logits_fn, labels=attacks.class_indices(labels), loss_scale=loss_scale
    )
    start = images + threat.random_start(images, attacks.as_seed(seed))

    def step(index, adversarial, sign, counts):
        adversarial = threat.project(images, adversarial + step_size * sign)
        new = tf.sign(gradient(adversarial))
        return (
            index + 1,
            tf.ensure_shape(adversarial, images.shape),
            tf.ensure_shape(new, images.shape),
            counts + tf.one_hot(index, num_steps - 1) * _flips(sign, new),
        )

    *_, counts = tf.while_loop(
        lambda index, *_: index < num_steps - 1,
        step,
        (tf.constant(0), start, tf.sign(gradient(start)), tf.zeros([2, num_steps - 1])),
        parallel_iterations=1,
    )
    flipped, compared = tf.unstack(counts)
    components = tf.cast(tf.size(images), tf.float32) * (num_steps - 1)
    return {
        "per_step": flipped / compared,
        "mean": tf.reduce_sum(flipped) / tf.reduce_sum(compared),
        "zero_share": 1 - tf.reduce_sum(compared) / components,
    }


def gradient_lipschitz(
    logits_fn, images, labels, seed, *, radius=1 / 255, directions=8, loss_scale=1.0
):
    """Returns an estimate of how fast the input gradient g changes: its local Lipschitz constant.

    For each example the largest ||g(x + u) - g(x)|| / ||u|| over random u, uniform in the
    L-infinity ball of `radius`, all norms L2; a lower bound of the true constant.  x + u is not
    fitted to the pixel range.  Mechanism: smooth activations bound this number, while ReLU's jumps
    make it grow like 1 / radius, so compare at equal radius only.  A network with larger
    gradients has larger ones of these too; the relative form, divided by ||g(x)||, takes that out.

    Args:
      logits_fn, images, labels, seed, loss_scale: as for `attack_losses`.
      radius: in pixel units, above 0.
      directions: number of random u for each example, >= 1.
    Returns: dict of float32 []: "mean" and "quantile_90" over the examples, in nats per squared
      pixel unit; "relative_mean" and "relative_quantile_90", per pixel unit, over the examples
      whose gradient is not 0 (NaN where there are none); "zero_share", the share of the others.
    Raises: ValueError for a radius or number of directions out of range.
    """
    if not radius > 0 or directions < 1:
        raise ValueError(
            f"radius={radius}, directions={directions}: give a radius above 0 and at "
            "least one direction"
        )
    images = tf.convert_to_tensor(images, tf.float32)
    gradient = functools.partial(
        _gradient, logits_fn, labels=attacks.class_indices(labels), loss_scale=loss_scale
    )
    at_images = gradient(images)

    def try_direction(index, largest):
        u = tf.random.stateless_uniform(
            tf.shape(images),
            tf.random.experimental.stateless_fold_in(
                attacks.as_seed(seed), tf.cast(index, tf.int64)
            ),
            -radius,
            radius,
        )
        u = tf.ensure_shape(u, images.shape)
        rate = _norms(gradient(images + u) - at_images) / _norms(u)
        return index + 1, tf.maximum(largest, rate)

    size = _norms(at_images)
    _, rate = tf.while_loop(
        lambda index, _: index < directions,
        try_direction,
        (tf.constant(0), tf.zeros_like(size)),
        parallel_iterations=1,
    )
    relative = tf.boolean_mask(rate / size, size > 0)
    return {
        "mean": tf.reduce_mean(rate),
        "quantile_90": _quantile(rate, 0.9),
        "relative_mean": tf.reduce_mean(relative),
        "relative_quantile_90": _quantile(relative, 0.9),
        "zero_share": tf.reduce_mean(tf.cast(size == 0, tf.float32)),
    }


def measure(logits_fn, images, labels, *, seed, epsilon, radius=1 / 255, loss_scale=1.0) -> dict:
    """Returns all three as a flat dict of Python floats, for tables.

    Args:
      logits_fn, images, labels, epsilon, loss_scale: as for `attack_losses`.
      seed: integer.
      radius: as for `gradient_lipschitz`.
    """

    @tf.function(autograph=False)
    def compute(images, labels):
        arguments = logits_fn, images, labels, seed
        losses = attack_losses(*arguments, epsilon=epsilon, loss_scale=loss_scale)
        flips = sign_flip_rate(*arguments, epsilon=epsilon, loss_scale=loss_scale)
        rates = gradient_lipschitz(*arguments, radius=radius, loss_scale=loss_scale)
        return {
            **{f"attack_loss_{steps}": losses[i] for i, steps in enumerate(STEPS)},
            "attack_loss_gap": losses[-1] - losses[0],
            "sign_flip_rate": flips["mean"],
            "sign_zero_share": flips["zero_share"],
            **{f"gradient_lipschitz_{name}": value for name, value in rates.items()},
        }

    return {name: float(value) for name, value in compute(images, labels).items()}


def _gradient(logits_fn, images, *, labels, loss_scale):
    """Returns the input gradient of each example's cross-entropy, the shape of `images`."""
    return (
        attacks.loss_gradient(logits_fn, images, labels, attacks.cross_entropy, loss_scale)
        / loss_scale
    )


def _flips(sign, new):
    """Returns float32 [2, 1]: how many signs differ, and how many there are on both sides."""
    return tf.stack(
        [
            [tf.math.count_nonzero(which, dtype=tf.float32)]
            for which in (sign * new < 0, sign * new != 0)
        ]
    )


def _norms(values):
    """Returns float32 [batch], the L2 norm of each example."""
    return tf.sqrt(tf.reduce_sum(tf.square(values), axis=list(range(1, values.shape.rank))))


def _quantile(values, share):
    """Returns the quantile of float32 [n], interpolated as NumPy does; NaN for n = 0."""
    ordered = tf.sort(values)
    place = share * tf.cast(tf.maximum(tf.size(values) - 1, 0), tf.float32)
    low = tf.cast(tf.floor(place), tf.int32)
    high = tf.minimum(low + 1, tf.size(values) - 1)
    weight = place - tf.cast(low, tf.float32)
    padded = tf.concat([ordered, [float("nan")]], 0)  # what an empty `values` gives
    return (1 - weight) * tf.gather(padded, low) + weight * tf.gather(padded, tf.maximum(high, 0))
