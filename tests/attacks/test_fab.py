"""FAB: against a NumPy twin, on linear models where the distance is known, and as a Search."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf.attacks import COMPILED_FORMS
from sat_tf.attacks.fab import fab, fab_search
from sat_tf.attacks.threat import NORMS, ThreatModel

pytestmark = pytest.mark.smoke

RNG = np.random.RandomState(0)
TEMPLATES = RNG.randn(192, 4).astype("float32")
SEEDS = tf.constant([[1, number] for number in range(32)], tf.int64)
EPSILONS = {"linf": 0.03, "l2": 0.5}  # at which about half of the tiny network's examples break


def linear(images):
    return tf.reshape(images, [-1, 192]) @ TEMPLATES


def predicted(logits_fn, images):
    return tf.argmax(logits_fn(images), -1, tf.int32).numpy()


def traced_fab(*arguments, **settings):
    """`fab` as a graph, which many steps are faster in."""
    return tf.function(lambda: fab(*arguments, **settings))()


def lengths(changes, norm):
    flat = np.asarray(changes, "float64").reshape(len(changes), -1)
    return np.abs(flat).max(1) if norm == "linf" else np.sqrt((flat**2).sum(1))


@pytest.fixture(scope="module")
def classifier():
    """(logits_fn, images, labels), of which the network is right about all but the last two."""
    tf.keras.utils.set_random_seed(3)
    network = tiny.network()
    logits_fn = lambda images: network(images, training=False)
    images, _ = tiny.examples(32)
    labels = predicted(logits_fn, images)
    labels[-2:] = (labels[-2:] + 1) % tiny.CLASSES
    return logits_fn, images, labels


# On linear models.


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


# What counts.


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"norm": "l2", "epsilon": 0.5},
        {"restarts": 2},
        {"bounds": (0.25, 0.75)},
        {"epsilon": 0.0},
        {"epsilon": 1.0},
        {"targeted": False, "restarts": 3},
    ],
    ids=str,
)
def test_what_is_returned_is_misclassified_and_within_epsilon_or_the_image(classifier, settings):
    logits_fn, images, _ = classifier
    settings = {"targeted": True, "epsilon": 0.03, "num_steps": 5, "num_targets": 2, **settings}
    low, high = settings.get("bounds", (0.0, 1.0))
    images = np.clip(images, low, high)
    labels = predicted(logits_fn, images)
    found = fab(logits_fn, images, labels, 3, **settings).numpy()
    assert found.dtype == np.float32 and low <= found.min() and found.max() <= high
    threat = ThreatModel(settings.get("norm", "linf"), epsilon=settings["epsilon"])
    assert (threat.size(tf.constant(images), found).numpy() <= np.float32(threat.epsilon)).all()
    broken = predicted(logits_fn, found) != labels
    assert ((found != images).any((1, 2, 3)) == broken).all()
    assert broken.any() == (settings["epsilon"] > 0)


@pytest.mark.parametrize("norm", NORMS)
def test_more_steps_and_a_larger_epsilon_break_what_less_did(classifier, norm):
    broken = []
    logits_fn, images, labels = classifier
    for num_steps, factor in ((1, 1.0), (20, 1.0), (20, 2.0)):
        found = traced_fab(
            logits_fn,
            images,
            labels,
            0,
            targeted=True,
            epsilon=factor * EPSILONS[norm],
            norm=norm,
            num_steps=num_steps,
            num_targets=3,
        )
        broken.append(predicted(logits_fn, found) != labels)
    assert (broken[0] <= broken[1]).all() and (broken[1] <= broken[2]).all()
    assert broken[0].mean() < broken[1].mean() < broken[2].mean()


def test_misclassified_images_are_broken_at_once_and_left_alone(classifier):
    logits_fn, images, labels = classifier
    search = fab_search(targeted=True, epsilon=0.03, num_steps=2, restarts=2, num_targets=1)
    state = search.begin(logits_fn, tf.constant(images), labels, SEEDS, 0 * labels + 1)
    np.testing.assert_array_equal(state["broken"], predicted(logits_fn, images) != labels)
    found = search(logits_fn, images, labels, SEEDS).numpy()
    np.testing.assert_array_equal(found[-2:], images[-2:])


def test_a_gradient_that_is_not_finite_is_seen():
    def logits_fn(images):  # finite, but the derivative of the root is infinite at 0
        return tf.stack([tf.reduce_mean(images, [1, 2, 3]), tf.sqrt(images[:, 0, 0, 0])], -1)

    images = np.full((2, 2, 2, 3), 0.5, "float32")
    images[0, 0, 0, 0] = 0
    for targeted in (False, True):
        found = fab(
            logits_fn, images, np.zeros(2, "int32"), 0, targeted=targeted, epsilon=0.01, num_steps=2
        ).numpy()
        assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_a_flat_network_does_no_harm(compiled):
    """No gradient, and classes that are as near as the true one."""
    flat = lambda images: tf.stack([tf.reduce_sum(0 * images, [1, 2, 3])] * 3, -1)
    images = np.full((2, 4, 4, 3), 0.5, "float32")
    for targeted in (False, True):
        attack = tf.function(
            lambda: fab(
                flat,
                images,
                np.zeros(2, "int32"),
                0,
                targeted=targeted,
                epsilon=0.1,
                num_steps=2,
                compiled=compiled,
            )
        )
        np.testing.assert_array_equal(attack(), images)


def test_float16_model_is_attacked_in_float32_images():
    images, _ = tiny.examples(32)
    tf.keras.utils.set_random_seed(3)
    whole = tiny.network()
    tf.keras.mixed_precision.set_global_policy("float16")
    half = tiny.network()
    half.set_weights(whole.get_weights())
    assert half(images).dtype == tf.float16
    labels = predicted(half, images)
    for targeted in (False, True):
        found = traced_fab(
            lambda x: half(x, training=False),
            images,
            labels,
            0,
            targeted=targeted,
            epsilon=0.03,
            num_steps=10,
            num_targets=2,
            loss_scale=128.0,
        ).numpy()
        assert found.dtype == np.float32
        assert lengths(found - images, "linf").max() <= 0.03
        assert (predicted(half, found) != labels).mean() > 0.1


def test_loss_scale_changes_nothing_in_float32(classifier):
    for targeted in (False, True):
        plain, scaled = (
            fab(
                *classifier,
                0,
                targeted=targeted,
                epsilon=0.03,
                num_steps=4,
                num_targets=1,
                loss_scale=scale,
            ).numpy()
            for scale in (1.0, 128.0)
        )
        np.testing.assert_array_equal(plain, scaled)  # a power of two is exact


# Runs, starts and examples.


def test_runs_are_all_restarts_of_a_target_then_those_of_the_next(classifier):
    logits_fn, images, labels = classifier
    search = fab_search(targeted=True, epsilon=0.03, restarts=2, num_targets=3)
    assert search.runs == 6 and fab_search(targeted=False, epsilon=0.1, restarts=2).runs == 2
    ranking = np.argsort(-logits_fn(images).numpy())
    for run, rank in enumerate([2, 2, 3, 3, 4, 4, 4]):  # there are 4 classes
        state = search.begin(logits_fn, tf.constant(images), labels, SEEDS, 0 * labels + run)
        np.testing.assert_array_equal(state["target"], ranking[:, rank - 1])
        np.testing.assert_array_equal(state["adversarial"], images)
        assert (state["current"].numpy() == images).all() == (run % 2 == 0)


@pytest.mark.parametrize("norm, epsilon", [("linf", 0.2), ("l2", 2.0)])
def test_restarts_begin_at_half_of_epsilon_and_in_range(norm, epsilon):
    search = fab_search(targeted=False, epsilon=epsilon, norm=norm, restarts=3)
    grey, labels = tf.fill([6, 8, 8, 3], 0.5), tf.zeros([6], tf.int32)
    starts = [
        search.begin(linear, grey, labels, seed, labels + run)["current"].numpy() - 0.5
        for seed in (SEEDS[:6], SEEDS[9])
        for run in (1, 2)
    ]
    for start in starts:
        np.testing.assert_allclose(lengths(start, norm), epsilon / 2, rtol=1e-5)
    together = np.concatenate(starts).reshape(24, -1)
    assert np.abs(np.corrcoef(together) - np.eye(24)).max() < 0.4  # all from different noise
    dark = search.begin(linear, 0 * grey, labels, SEEDS[:6], labels + 1)["current"].numpy()
    assert dark.min() == 0 < dark.max()


@pytest.mark.parametrize("norm, targeted", [("linf", True), ("l2", False)])
def test_an_example_depends_on_no_other_whatever_their_runs_and_steps(classifier, norm, targeted):
    logits_fn, images, labels = classifier
    search = fab_search(targeted=targeted, epsilon=EPSILONS[norm] / 2, norm=norm, restarts=2)
    step = tf.function(
        lambda images, labels, state: search.step(
            logits_fn, images, labels, state, tf.zeros_like(labels)
        )
    )
    runs = np.arange(32, dtype="int32") % 4

    def states(chosen, count):
        inputs = tf.constant(images[chosen]), tf.constant(labels[chosen])
        seeds, run = tf.gather(SEEDS, chosen), tf.constant(runs[chosen])
        state = search.begin(logits_fn, *inputs, seeds, run)
        for _ in range(count):
            state = step(*inputs, state)
        return state

    expected = states(np.arange(32), 4)
    older, newer = np.array([5, 0, 9, 20]), np.array([7, 3, 30, 12])
    mixed = {
        name: tf.concat([states(older, 3)[name], values], 0)
        for name, values in states(newer, 1).items()
    }
    both = np.concatenate([older, newer])
    mixed = step(tf.constant(images[both]), tf.constant(labels[both]), mixed)
    after_two = states(np.arange(32), 2)
    for name, values in mixed.items():
        np.testing.assert_allclose(values[:4], tf.gather(expected[name], older), atol=1e-5)
        np.testing.assert_allclose(values[4:], tf.gather(after_two[name], newer), atol=1e-5)


# The forms, and what they cost.


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_every_form_agrees_with_the_eager_loop(classifier, targeted, compiled):
    norm = "l2" if targeted else "linf"
    settings = dict(
        targeted=targeted, epsilon=EPSILONS[norm], norm=norm, num_steps=3, restarts=2, num_targets=1
    )
    logits_fn, images, labels = classifier
    eager = fab(logits_fn, images, labels, 2, **settings)
    graph = tf.function(lambda x, y, s: fab(logits_fn, x, y, s, compiled=compiled, **settings))
    np.testing.assert_allclose(graph(images, labels, tf.constant(2, tf.int64)), eager, atol=1e-5)
    assert 0.1 < (predicted(logits_fn, eager) != labels).mean() < 0.9


@pytest.mark.parametrize("targeted", [False, True])
def test_part_of_a_larger_program_around_a_traced_network_of_any_batch_size(classifier, targeted):
    logits_fn, images, labels = classifier
    settings = dict(targeted=targeted, epsilon=0.03, num_steps=3, num_targets=2)
    traced = tf.function(logits_fn)
    specification = [tf.TensorSpec([None, 8, 8, 3]), tf.TensorSpec([None], tf.int32)]
    expected = fab(logits_fn, images, labels, 0, **settings)
    for compiled in (False, True):
        attack = tf.function(
            lambda x, y: fab(traced, x, y, 0, **settings),
            input_signature=specification,
            jit_compile=compiled,
        )
        np.testing.assert_allclose(attack(images, labels), expected, atol=1e-5)


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_the_network_is_traced_three_times_whatever_the_steps_and_classes(targeted, compiled):
    """For the clean logits; in a step for the gradients of all classes, and for what is found."""
    calls = []

    def logits_fn(images):
        calls.append(images.shape)
        return linear(images)

    for num_steps in (1, 30):
        calls.clear()
        tf.function(
            lambda: fab(
                logits_fn,
                tf.zeros([2, 8, 8, 3]),
                [0, 1],
                0,
                targeted=targeted,
                epsilon=0.1,
                num_steps=num_steps,
                num_targets=1,
                compiled=compiled,
            )
        ).get_concrete_function()
        assert len(calls) == 3


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
    ids=str,
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
