"""The Square Attack in NumPy, one example and one query at a time, and what it is compared on."""

import numpy as np
import tensorflow as tf

from sat_tf.attacks.windows import Queries

RNG = np.random.RandomState(0)
IMAGES = RNG.rand(6, 8, 8, 3).astype("float32")
HIDDEN = RNG.randn(8 * 8 * 3, 16).astype("float32")
OUTPUT = RNG.randn(16, 4).astype("float32")
EPSILON = {"linf": 8 / 255, "l2": 0.5}


def two_layers(images):
    return tf.tanh(tf.reshape(images - 0.5, [-1, 192]) @ HIDDEN / 8) @ OUTPUT


def two_layers_in_numpy(images):
    return np.tanh((images - 0.5).reshape(-1, 192) @ HIDDEN / 8) @ OUTPUT


LABELS = two_layers_in_numpy(IMAGES).argmax(-1).astype("int32")


def begun(search, images=IMAGES, labels=LABELS, seed=3, run=0, logits_fn=two_layers):
    """Returns the first state and the index of each example, 0."""
    zeros = tf.zeros([len(labels)], tf.int32)
    return search.begin(
        logits_fn,
        tf.constant(images),
        tf.constant(labels),
        tf.constant([0, seed], tf.int64),
        zeros + run,
    ), zeros


def advanced(search, state, index, count, images=IMAGES, labels=LABELS, logits_fn=two_layers):
    return tf.function(
        lambda: search.advance(
            logits_fn, tf.constant(images), tf.constant(labels), state, index, count
        )
    )()


def reference_eta(side):
    """As the authors' code writes it down."""

    def rectangles(x, y):
        delta = np.zeros([x, y])
        counter2 = [x // 2, y // 2]
        for counter in range(max(x // 2 + 1, y // 2 + 1)):
            size = 2 * counter + 1
            delta[
                max(counter2[0], 0) : min(counter2[0] + size, x),
                max(0, counter2[1]) : min(counter2[1] + size, y),
            ] += 1 / (counter + 1) ** 2
            counter2[0] -= 1
            counter2[1] -= 1
        return delta / np.sqrt((delta**2).sum())

    delta = np.zeros([side, side])
    delta[: side // 2] = rectangles(side // 2, side)
    delta[side // 2 :] = -rectangles(side - side // 2, side)
    return delta / np.sqrt((delta**2).sum())


def linf_twin_query(image, best, query, own_signs, epsilon, bounds):
    (top, left), side = query.corner, query.side
    new = best.copy()
    for channel in range(3):
        new[top : top + side, left : left + side, channel] += 2 * epsilon * query.signs[channel]
    new = np.minimum(np.maximum(new, image - epsilon), image + epsilon)
    return np.clip(new, *bounds)


def l2_twin_query(image, best, query, own_signs, epsilon, bounds):
    side, delta = query.side, (best - image).astype("float64")
    windows = [
        (slice(top, top + side), slice(left, left + side))
        for top, left in (query.corner, query.second_corner)
    ]
    covered = np.zeros([8, 8], bool)
    for window in windows:
        covered[window] = True
    left_over = max(epsilon**2 - (delta**2).sum(), 0) / 3 + (delta[covered] ** 2).sum()
    pattern = reference_eta(side).T if query.turned else reference_eta(side)
    new = []
    for channel in range(3):
        old = delta[..., channel][windows[0]]
        part = pattern * query.signs[channel] * own_signs[channel] + old / (
            1e-12 + np.linalg.norm(old)
        )
        new.append(part / (1e-12 + np.linalg.norm(part)) * np.sqrt(left_over))
    delta[windows[1]] = 0
    delta[windows[0]] = np.stack(new, -1)
    return np.clip(image + delta * epsilon / np.linalg.norm(delta), *bounds)


def twin(norm, image, label, start, own_signs, queries, epsilon, bounds):
    """One example, one query after the other; returns images, margin and how many were made."""
    candidate = {"linf": linf_twin_query, "l2": l2_twin_query}[norm]

    def margin_of(image):
        logits = two_layers_in_numpy(image[None])[0]
        return logits[label] - np.delete(logits, label).max()

    best, margin, made = start, margin_of(start), 0
    for query in zip(*queries):
        if margin < 0:
            break
        new = candidate(image, best, Queries(*query), own_signs, epsilon, bounds)
        made += 1
        if margin_of(new) < margin:
            best, margin = new.astype("float32"), margin_of(new)
    return best, margin, made
