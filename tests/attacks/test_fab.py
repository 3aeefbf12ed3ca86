"""FAB against a NumPy twin, on linear models where the distance is known, and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf
from fab_samples import RNG, SEEDS, TEMPLATES, lengths, linear, predicted, traced_fab

from sat_tf.attacks.fab import fab, fab_search
from sat_tf.attacks.threat import NORMS

pytestmark = pytest.mark.smoke


def reachable(image, weights, epsilon, norm):
    """The largest sum(weights * change) within epsilon and [0, 1], bisecting for a multiplier."""
    below, above = -image, 1 - image
    if norm == "linf":
        change = np.where(weights > 0, np.minimum(epsilon, above), np.maximum(-epsilon, below))
        return (weights * change).sum()
    least, most = 0.0, 1e6
    for _ in range(100):
        middle = (least + most) / 2
        shorter = np.linalg.norm(np.clip(middle * weights, below, above)) < epsilon
        least, most = (middle, most) if shorter else (least, middle)
    return (weights * np.clip(least * weights, below, above)).sum()


def breakable(images, labels, epsilon, norm):
    """Which images of `linear` have a misclassified point within epsilon and [0, 1]."""
    return np.array(
        [
            any(
                (TEMPLATES[:, other] - TEMPLATES[:, label]) @ image
                + reachable(image, TEMPLATES[:, other] - TEMPLATES[:, label], epsilon, norm)
                > 0
                for other in range(4)
                if other != label
            )
            for image, label in zip(images.reshape(-1, 192).astype("float64"), labels)
        ]
    )


@pytest.mark.parametrize(
    "norm, epsilon, darkness",
    [("linf", 0.045, 0), ("l2", 0.5, 0), ("linf", 0.03, 0.7), ("l2", 0.25, 0.7)],
)
def test_on_a_linear_model_the_robust_accuracy_is_exact(norm, epsilon, darkness):
    """But for images whose distance is within 1 percent of epsilon; the bounds bind in the dark."""
    random = np.random.RandomState(5)
    images = random.uniform(*((0.0, 1.0) if darkness else (0.4, 0.6)), (60, 8, 8, 3))
    images = np.where(random.rand(*images.shape) < darkness, 0, images).astype("float32")
    labels = predicted(linear, images)
    certain, possible = (
        breakable(images, labels, epsilon * factor, norm) for factor in (0.99, 1.0)
    )
    found = traced_fab(
        linear,
        images,
        labels,
        0,
        targeted=True,
        epsilon=epsilon,
        norm=norm,
        num_targets=3,
        num_steps=30,
    )
    broken = predicted(linear, found) != labels
    np.testing.assert_array_equal(broken[certain == possible], possible[certain == possible])
    assert (certain == possible).sum() > 50
    assert 0.2 < broken.mean() < 0.8 and (lengths(found - images, norm) < epsilon + 1e-6).all()


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_the_first_point_found_on_a_linear_model_is_eta_times_the_distance_away(norm, targeted):
    images = RNG.uniform(0.45, 0.55, (20, 8, 8, 3)).astype("float32")
    labels = predicted(linear, images)
    logits = linear(images).numpy()
    gaps = TEMPLATES.T[None] - TEMPLATES.T[labels][:, None]
    dual = np.abs(gaps).sum(-1) if norm == "linf" else np.linalg.norm(gaps, axis=-1)
    distances = (logits[range(20), labels, None] - logits) / np.maximum(dual, 1e-6)
    distances[range(20), labels] = np.inf
    second = np.argsort(-logits)[:, 1]
    expected = distances[range(20), second] if targeted else distances.min(1)
    settings = dict(
        targeted=targeted,
        epsilon={"linf": 0.5, "l2": 5.0}[norm],
        norm=norm,
        num_targets=1,
        num_steps=1,
    )
    found = fab(linear, images, labels, 0, **settings)
    np.testing.assert_allclose(lengths(found - images, norm), 1.05 * expected, rtol=1e-3)
    assert (predicted(linear, found) != labels).all()
    further = fab(linear, images, labels, 0, eta=1.5, **settings)
    np.testing.assert_allclose(lengths(further - images, norm), 1.5 * expected, rtol=1e-3)


# Against a twin.


class Net:
    """logits = tanh(x @ first) @ second for images of [2, 2, 3], in TensorFlow and in NumPy."""

    first = 2 * np.random.RandomState(1).randn(12, 9)
    second = np.random.RandomState(2).randn(9, 4)

    def __call__(self, images):
        hidden = tf.tanh(tf.reshape(images, [-1, 12]) @ self.first.astype("float32"))
        return hidden @ self.second.astype("float32")

    def logits(self, image):
        return np.tanh(image @ self.first) @ self.second

    def gradient(self, image, weights):
        slope = 1 - np.tanh(image @ self.first) ** 2
        return self.first @ (slope * (self.second @ weights))


def twin_projection(point, normal, offset, norm):
    """By sorting the bounds of the pixels, as in the paper."""
    sign, offset = np.sign(offset) * np.sign(normal), abs(offset)
    room = np.where(sign > 0, 1 - point, point)
    size = np.abs(normal)
    pace = np.ones_like(size) if norm == "linf" else size
    ends = room / pace
    order = np.argsort(ends)
    for number, pixel in enumerate(order):
        if (size * np.minimum(ends[pixel] * pace, room)).sum() >= offset:
            stopped, others = order[:number], order[number:]
            length = (offset - (size * room)[stopped].sum()) / (size * pace)[others].sum()
            return sign * np.minimum(length * pace, room)
    return sign * room


def twin_step(net, image, current, label, target, norm):
    logits = net.logits(current)
    unit = np.eye(4)
    others = [target] if target is not None else [c for c in range(4) if c != label]
    normals = [net.gradient(current, unit[other] - unit[label]) for other in others]
    dual = lambda n: np.abs(n).sum() if norm == "linf" else np.linalg.norm(n)
    away = [abs(logits[other] - logits[label]) / dual(n) for other, n in zip(others, normals)]
    other, normal = others[np.argmin(away)], normals[np.argmin(away)]
    offset = logits[label] - logits[other]
    on = twin_projection(current, normal, offset, norm)
    out = twin_projection(image, normal, offset - normal @ (image - current), norm)
    length_on, length_out = (max(lengths([move], norm)[0], 1e-8) for move in (on, out))
    alpha = min(length_on / (length_on + length_out), 0.1)
    moved = (current + 1.05 * on) * (1 - alpha) + (image + 1.05 * out) * alpha
    moved = np.clip(moved, 0, 1)
    wrong = net.logits(moved).argmax() != label
    return (image + 0.9 * (moved - image) if wrong else moved), wrong


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_the_points_are_those_of_a_numpy_twin(norm, targeted):
    net = Net()
    images = np.random.RandomState(4).rand(24, 2, 2, 3).astype("float32")
    images[:8] = np.round(images[:8])  # in corners, where the bounds bind
    labels = predicted(net, images)
    search = fab_search(targeted=targeted, epsilon=0.0, norm=norm)
    start = tf.constant(images), tf.constant(labels)
    step = tf.function(lambda state: search.step(net, *start, state, 0 * labels))
    state = search.begin(net, *start, SEEDS[:24], 0 * labels)
    flat = images.reshape(24, 12).astype("float64")
    currents, missed = flat.copy(), 0
    targets = np.argsort(-net.logits(flat))[:, 1] if targeted else [None] * 24
    for _ in range(15):
        state = step(state)
        for number in range(24):
            currents[number], wrong = twin_step(
                net, flat[number], currents[number], labels[number], targets[number], norm
            )
            missed += not wrong
        np.testing.assert_allclose(tf.reshape(state["current"], [24, 12]), currents, atol=2e-4)
    assert 10 < missed < 100 and not state["broken"].numpy().any()


# What it refuses.


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_steps": 0}, "num_steps=0"),
        ({"restarts": 0}, "restarts=0"),
        ({"num_targets": 1.5}, "num_targets=1.5"),
        ({"epsilon": 4}, "epsilon=4"),
        ({"norm": "l1"}, "norm='l1'"),
        ({"alpha_max": 1.1}, "alpha_max=1.1"),
        ({"eta": 0.9}, "eta=0.9"),
        ({"eta": float("nan")}, "eta=nan"),
        ({"beta": 1.0}, "beta=1.0"),
        ({"loss_scale": 0.0}, "loss_scale=0.0"),
        ({"compiled": "yes"}, "'yes': allowed are none"),
        ({"logits_fn": lambda images: tf.zeros([6, 4])}, "not differentiable"),
    ],
)
@pytest.mark.parametrize("targeted", [False, True])
def test_values_out_of_range_are_refused_by_name(settings, message, targeted):
    arguments = {
        "logits_fn": linear,
        "images": np.zeros((6, 8, 8, 3), "float32"),
        "labels": np.zeros(6, "int32"),
        "seed": 0,
        "epsilon": 0.1,
        "targeted": targeted,
        **settings,
    }
    with pytest.raises(ValueError, match=message):
        fab(**arguments)
