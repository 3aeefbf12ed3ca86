"""Auto-PGD in NumPy, what it is compared on, and how to look at the states of a run."""

import functools

import numpy as np
import tensorflow as tf

from sat_tf.attacks import judge
from sat_tf.attacks.apgd import apgd

EPSILONS = {"linf": 0.2, "l2": 1.0}
SHAPE = (4, 4, 3)
RNG = np.random.RandomState(0)
IMAGES = RNG.uniform(0.1, 0.9, (8,) + SHAPE).astype("float32")
ZEROS = np.zeros(8, "int32")

# Two layers and two classes; the second never wins, and its logit is highest off the image.
FIRST = (RNG.randn(48, 12) / np.sqrt(48)).astype("float32")
SECOND = np.exp(RNG.uniform(-0.5, 0.5, 12)).astype("float32")
PEAK = RNG.uniform(0.3, 0.7, 48).astype("float32")
NEAR_PEAK = (PEAK.reshape(SHAPE) + RNG.uniform(-0.14, 0.14, IMAGES.shape)).astype("float32")

# A linear network.
WEIGHTS = RNG.randn(48, 5).astype("float32")
SLOPES = np.exp(RNG.uniform(-0.5, 0.5, 48)).astype("float32")


def linear(images):
    return tf.reshape(images, [-1, 48]) @ WEIGHTS


def network(images):
    hidden = tf.abs((tf.reshape(images, [-1, 48]) - PEAK) @ FIRST)
    second = -1 - hidden @ SECOND[:, None]
    return tf.concat([tf.zeros_like(second), second], -1)


def states(search, logits_fn, images, labels, seed=0, run=0):
    """The State of a run before each step and after the last."""
    step = tf.function(functools.partial(search.advance, logits_fn, count=1))
    images, labels = tf.constant(images), tf.constant(labels)
    index = tf.zeros_like(labels)
    seeds = tf.constant([[seed, number] for number in range(len(images))])
    found = [search.begin(logits_fn, images, labels, seeds, index + run)]
    for _ in range(search.num_steps):
        state, index = step(images=images, labels=labels, state=found[-1], index=index)
        found.append(state)
    return found


def run(logits_fn, images, labels, seed=0, **settings):
    return tf.function(lambda: apgd(logits_fn, images, labels, seed, **settings))().numpy()


def broken(logits_fn, images, labels):
    return judge(logits_fn, tf.constant(images), labels).broken.numpy()


# The twin: one example by itself, with lists and an if for each rule, in float64.


def twin_evaluate(loss, x):
    hidden = (x.reshape(48) - PEAK.astype("float64")) @ FIRST.astype("float64")
    margin = -1 - np.abs(hidden) @ SECOND
    slope = -(FIRST.astype("float64") @ (SECOND * np.sign(hidden))).reshape(SHAPE)
    if loss == "ce":
        return np.log1p(np.exp(margin)), slope / (1 + np.exp(-margin))
    return margin, slope


def twin_project(norm, image, x):
    epsilon = EPSILONS[norm]
    if norm == "linf":
        x = np.clip(x, image - epsilon, image + epsilon)
    else:
        x = image + (x - image) * min(1, epsilon / max(np.linalg.norm(x - image), 1e-30))
    return np.clip(x, 0, 1)


def twin(loss, norm, image, start, num_steps=100):
    """Returns the iterates, the best, its loss, and (oscillates, stalls) after so many moves."""
    project = functools.partial(twin_project, norm, image)
    x = x_old = best = start.astype("float64")
    f, g = twin_evaluate(loss, x)
    f_best, g_best, step = f, g, 2 * EPSILONS[norm]
    losses, iterates, verdicts = [f], [x], {}
    window, since, f_best_before, halved_before = max(int(0.22 * num_steps), 1), 0, f, True
    for k in range(num_steps):
        z = project(x + step * (np.sign(g) if norm == "linf" else g / np.linalg.norm(g)))
        a = 1.0 if k == 0 else 0.75
        x, x_old = project(x + a * (z - x) + (1 - a) * (x - x_old)), x
        f, g = twin_evaluate(loss, x)
        losses.append(f)
        iterates.append(x)
        if f > f_best:
            best, f_best, g_best = x, f, g
        since += 1
        if since == window:
            rises = sum(losses[-i] > losses[-i - 1] for i in range(1, window + 1))
            oscillates = rises <= 0.75 * window
            stalls = not halved_before and f_best <= f_best_before
            verdicts[k + 1] = oscillates, stalls
            if oscillates or stalls:
                step, x, g = step / 2, best, g_best
            halved_before, f_best_before, since = oscillates or stalls, f_best, 0
            window = max(window - max(int(0.03 * num_steps), 1), max(int(0.06 * num_steps), 1))
    return np.array(iterates), best, f_best, verdicts
