"""Auto-PGD against a twin in NumPy, closed forms, and itself in other batches and forms."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from sat_tf.attacks import COMPILED_FORMS, judge
from sat_tf.attacks.apgd import LOSSES, apgd, apgd_search, checkpoints
from sat_tf.attacks.search import select

pytestmark = pytest.mark.smoke

EPSILONS = {"linf": 0.2, "l2": 1.0}
SHAPE = (4, 4, 3)
RNG = np.random.RandomState(0)
IMAGES = RNG.uniform(0.1, 0.9, (8,) + SHAPE).astype("float32")
ZEROS = np.zeros(8, "int32")


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


def length(change):
    return np.sqrt(np.square(change.astype("float64")).sum((1, 2, 3)))


# The twin: one example by itself, with lists and an if for each rule, in float64.

# Two layers and two classes; the second never wins, and its logit is highest off the image.
FIRST = (RNG.randn(48, 12) / np.sqrt(48)).astype("float32")
SECOND = np.exp(RNG.uniform(-0.5, 0.5, 12)).astype("float32")
PEAK = RNG.uniform(0.3, 0.7, 48).astype("float32")
NEAR_PEAK = (PEAK.reshape(SHAPE) + RNG.uniform(-0.14, 0.14, IMAGES.shape)).astype("float32")


def network(images):
    hidden = tf.abs((tf.reshape(images, [-1, 48]) - PEAK) @ FIRST)
    second = -1 - hidden @ SECOND[:, None]
    return tf.concat([tf.zeros_like(second), second], -1)


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


def test_checkpoints_of_the_paper():
    assert [moves for moves, _ in checkpoints(100)] == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [window for _, window in checkpoints(100)] == [22, 19, 16, 13, 10, 7, 6, 6]
    assert checkpoints(3) == [(1, 1), (2, 1), (3, 1)] and checkpoints(1) == [(1, 1)]


@pytest.mark.parametrize("loss, norm", [("ce", "linf"), ("dlr", "linf"), ("ce", "l2")])
def test_every_iterate_is_that_of_a_twin(loss, norm):
    search = apgd_search(loss, epsilon=EPSILONS[norm], norm=norm)
    found = states(search, network, NEAR_PEAK, ZEROS, seed=1)
    assert len(found) == 102 and not found[-1]["broken"].numpy().any()
    compared, verdicts_met = 0, set()
    for i, image in enumerate(NEAR_PEAK.astype("float64")):
        iterates, best, f_best, verdicts = twin(loss, norm, image, found[0]["current"][i].numpy())
        if np.abs((iterates.reshape(-1, 48) - PEAK) @ FIRST).min() < 1e-6:
            continue  # so close to a kink, rounding may decide on which side the gradient is
        halved = [moves for moves, rules in verdicts.items() if any(rules)]
        sizes = np.array([state["size"][i] for state in found])
        np.testing.assert_array_equal(np.flatnonzero(np.diff(sizes)), halved)
        np.testing.assert_allclose(sizes[-1], 2 * EPSILONS[norm] / 2 ** len(halved), rtol=1e-6)
        ours = [state["current"][i] for state in found[:-1]]
        np.testing.assert_allclose(ours, iterates, atol=1e-5)
        np.testing.assert_allclose(found[-1]["adversarial"][i], best, atol=1e-5)
        np.testing.assert_allclose(found[-1]["highest"][i], f_best, atol=1e-5)
        compared, verdicts_met = compared + 1, verdicts_met | set(verdicts.values())
    assert compared >= 5 and verdicts_met >= {(True, False), (False, False)}


@pytest.mark.parametrize(
    "rises, highest_before, halved_before, halves",
    [
        (14, -9.0, True, True),
        (15, -9.0, True, False),  # 0.75 * 19 is 14.25
        (14, -9.0, False, True),
        (15, -9.0, False, False),
        (15, 9.0, False, True),
        (15, 9.0, True, False),
    ],
)  # the best loss has not improved
def test_the_two_rules_of_a_checkpoint(rises, highest_before, halved_before, halves):
    search = apgd_search("dlr", epsilon=0.2)
    best = tf.constant(NEAR_PEAK)
    state = search.begin(network, best, ZEROS, tf.constant([0, 1]), ZEROS)
    like = lambda value, dtype: tf.fill([8], tf.constant(value, dtype))
    state.update(
        adversarial=best,
        rises=like(rises, tf.int32),
        halved=like(halved_before, tf.bool),
        highest=like(9.0, tf.float32),
        last=like(9.0, tf.float32),
        highest_before=like(highest_before, tf.float32),
    )
    at_checkpoint, elsewhere = (
        search.step(network, best, ZEROS, state, ZEROS + index) for index in (41, 42)
    )
    np.testing.assert_allclose(at_checkpoint["size"], 0.2 if halves else 0.4)
    np.testing.assert_array_equal(at_checkpoint["halved"], halves)
    np.testing.assert_array_equal(at_checkpoint["previous"], best if halves else state["current"])
    np.testing.assert_array_equal(at_checkpoint["rises"], 0)
    np.testing.assert_array_equal(at_checkpoint["highest_before"], 9)
    np.testing.assert_allclose(elsewhere["size"], 0.4)
    np.testing.assert_array_equal(elsewhere["rises"], rises)
    np.testing.assert_array_equal(elsewhere["halved"], halved_before)


# Each example by itself.

WEIGHTS = RNG.randn(48, 5).astype("float32")
SLOPES = np.exp(RNG.uniform(-0.5, 0.5, 48)).astype("float32")


def linear(images):
    return tf.reshape(images, [-1, 48]) @ WEIGHTS


@pytest.mark.parametrize("loss", list(LOSSES))
def test_examples_may_be_at_different_steps_and_in_different_runs(loss):
    """Each begins later than the one before, and gives what all give together."""
    search = apgd_search(loss, epsilon=0.05, num_steps=20, num_targets=2, restarts=2)
    seeds = tf.constant([[3, number] for number in range(8)])
    runs = tf.constant([0, 1, 2, 3, 3, 2, 1, 0]) % search.runs
    begin = lambda: search.begin(network, tf.constant(NEAR_PEAK), tf.constant(ZEROS), seeds, runs)
    step = tf.function(
        lambda state, index, count: search.advance(
            network, tf.constant(NEAR_PEAK), tf.constant(ZEROS), state, index, count
        )
    )
    together, index = step(begin(), tf.constant(ZEROS), tf.constant(99))
    np.testing.assert_array_equal(index, 21)
    state, index, fresh = begin(), tf.constant(ZEROS), begin()
    for number in range(8):  # those that have not begun are put back
        state, index = step(state, index, tf.constant(3))
        waits = np.arange(8) > number
        state = {name: select(waits, fresh[name], value) for name, value in state.items()}
        index = tf.where(waits, 0, index)
    assert len(set(index.numpy())) > 5
    state, index = step(state, index, tf.constant(99))
    assert len(np.unique(state["size"])) > 1
    for name, value in together.items():
        np.testing.assert_allclose(
            *(tf.cast(x, tf.float32) for x in (state[name], value)), atol=1e-6, err_msg=name
        )


def test_with_a_seed_for_each_example_its_result_depends_on_no_other():
    search = apgd_search("ce", epsilon=0.05, num_steps=5, restarts=2)
    seeds = tf.constant([[1, number] for number in range(8)], tf.int64)
    whole = search(network, NEAR_PEAK, ZEROS, seeds).numpy()
    order = [4, 0, 3]
    part = search(network, NEAR_PEAK[order], ZEROS[order], tf.gather(seeds, order))
    np.testing.assert_allclose(part, whole[order], atol=1e-6)


@pytest.mark.parametrize("seed", [[0, 5], [[0, each] for each in range(8)]], ids=["one", "each"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_runs_start_on_the_surface_of_the_ball_each_elsewhere(norm, seed):
    search = apgd_search("ce", epsilon=0.1, norm=norm, restarts=3)
    grey = tf.fill(IMAGES.shape, 0.5)
    begin = lambda run: search.begin(linear, grey, ZEROS, tf.constant(seed), ZEROS + run)
    starts = [begin(run)["adversarial"].numpy() for run in (0, 1, 2, 0)]
    for start in starts:
        np.testing.assert_allclose(search.threat.size(grey, start), 0.1, rtol=1e-5)
    np.testing.assert_array_equal(starts[0], starts[3])
    assert np.abs(starts[0] - starts[1]).max() > 0.01 < np.abs(starts[1] - starts[2]).max()
    assert np.abs(starts[0][0] - starts[0][1]).max() > 0.01


def test_linf_start_is_noise_over_its_largest_part():
    search = apgd_search("ce", epsilon=0.1)
    grey = tf.fill([500, 1, 1, 2], 0.5)
    start = search.begin(linear, grey, np.zeros(500, "int32"), tf.constant([0, 1]), [0] * 500)
    parts = np.sort(np.abs(start["current"].numpy() - 0.5).reshape(500, 2) / 0.1)
    np.testing.assert_allclose(parts[:, 1], 1, rtol=1e-5)
    # The smaller of two uniform numbers over the larger is uniform.
    counts, _ = np.histogram(parts[:, 0], 5, (0, 1))
    assert np.abs(counts - 100).max() < 40


# What counts as broken.


def test_every_iterate_counts_the_start_too():
    # Class 1 wins only between the greys 0.5 and 0.6; class 2, which never wins, is the pull.
    def stretch(images):
        grey = tf.reduce_mean(images, [1, 2, 3])
        return 100 * tf.stack([tf.zeros_like(grey), 0.05 - tf.abs(grey - 0.55), grey - 5], -1)

    def search_from(start):
        search = apgd_search("ce", epsilon=0.5, num_steps=30)
        grey = tf.fill([1, 2, 2, 1], 0.5)
        state = search.begin(stretch, grey, tf.constant([0]), tf.constant([0, 0]), tf.constant([0]))
        state.update(adversarial=start, current=start, previous=start)
        return search.advance(stretch, grey, tf.constant([0]), state, tf.constant([0]), 99)

    inside = tf.fill([1, 2, 2, 1], 0.52)
    state, index = search_from(inside)
    assert bool(state["broken"][0]) and int(index[0]) == 1
    np.testing.assert_array_equal(state["adversarial"], inside)
    state, index = search_from(tf.fill([1, 2, 2, 1], 0.3))
    assert bool(state["broken"][0]) and int(index[0]) < 31
    assert 0.5 < float(tf.reduce_mean(state["adversarial"])) < 0.6


def test_what_survives_is_returned_at_its_highest_loss():
    found = states(apgd_search("dlr", epsilon=0.2, num_steps=20), network, NEAR_PEAK, ZEROS)
    values = np.array([network(state["current"])[:, 1] for state in found[:-1]])
    np.testing.assert_allclose(network(found[-1]["adversarial"])[:, 1], values.max(0), atol=1e-5)
    assert (values.max(0) > values[-1] + 1e-3).any()


# Closed forms.


def highest_margins(images, labels, norm, epsilon, weights):
    """How far any other class can get past the true one within reach, [batch], by the dual norm."""
    flat = images.reshape(len(images), 48).astype("float64")
    logits = flat @ weights
    gap = weights.T.astype("float64")[None] - weights.T[labels][:, None]  # [batch, classes, pixels]
    if norm == "linf":  # pixel by pixel, and so with the bounds
        change = np.clip(np.sign(gap) * epsilon, -flat[:, None], 1 - flat[:, None])
        reach = (gap * change).sum(-1)
    else:
        reach = epsilon * np.linalg.norm(gap, axis=-1)
    margins = logits - logits[np.arange(len(labels)), labels][:, None] + reach
    margins[np.arange(len(labels)), labels] = -np.inf
    return margins.max(-1)


@pytest.mark.parametrize(
    "norm, low, high, epsilon",
    [("linf", 0.2, 0.8, 0.04), ("linf", 0.0, 1.0, 0.05), ("l2", 0.3, 0.7, 0.15)],
)
@pytest.mark.parametrize("loss, classes", [("ce", 2), ("dlr", 2), ("dlr-targeted", 5)])
def test_a_linear_network_is_as_robust_as_its_dual_norm_says(
    loss, classes, norm, low, high, epsilon
):
    """With more classes than two, the climb of an untargeted loss may end on the wrong one."""
    weights = WEIGHTS[:, :classes]
    logits_fn = lambda images: tf.reshape(images, [-1, 48]) @ weights
    images = np.random.RandomState(1).uniform(low, high, (64,) + SHAPE).astype("float32")
    labels = logits_fn(images).numpy().argmax(-1).astype("int32")
    highest = highest_margins(images, labels, norm, epsilon, weights)
    attacked = run(
        logits_fn,
        images,
        labels,
        loss=loss,
        norm=norm,
        epsilon=epsilon,
        num_targets=4,
        num_steps=50,
    )
    found = broken(logits_fn, attacked, labels)
    assert 0.2 < found.mean() < 0.9 and np.abs(highest).min() > 1e-3  # no matter of rounding
    np.testing.assert_array_equal(found, highest > 0)


@pytest.mark.parametrize("norm, epsilon", [("linf", 0.2), ("l2", 0.8)])
def test_a_peak_inside_the_ball_is_found_by_shrinking_steps(norm, epsilon):
    """The second logit falls from PEAK like a roof, and wins there by as much as `height`."""
    images = np.clip(
        PEAK.reshape(SHAPE) + np.random.RandomState(2).uniform(-0.1, 0.1, (32,) + SHAPE), 0, 1
    ).astype("float32")

    def roof(images, height):
        second = height - tf.abs(tf.reshape(images, [-1, 48]) - PEAK) @ SLOPES[:, None]
        return tf.concat([tf.zeros_like(second), second], -1)

    labels = np.zeros(32, "int32")
    attack = tf.function(
        lambda height: apgd(
            lambda images: roof(images, height), images, labels, 0, norm=norm, epsilon=epsilon
        )
    )
    fall = -roof(images, 0.0).numpy()[:, 1].mean()
    for share, is_broken in ((-0.06, False), (0.06, True)):
        height = tf.constant(share * fall, tf.float32)
        assert not broken(lambda images: roof(images, height), images, labels).any()
        found = broken(lambda images: roof(images, height), attack(height), labels)
        np.testing.assert_array_equal(found, is_broken)


# What holds for every loss, norm and form.


def half_network():
    layers = tf.keras.layers
    net = tf.keras.Sequential(
        [
            layers.Conv2D(8, 3, activation="swish", input_shape=SHAPE, dtype="float16"),
            layers.GlobalAveragePooling2D(dtype="float16"),
            layers.Dense(5, dtype="float16"),
        ]
    )
    return lambda images: net(images, training=False)


@pytest.mark.parametrize(
    "loss, norm, epsilon, half",
    [
        ("ce", "linf", 0.05, False),
        ("ce", "linf", 1.0, False),
        ("ce", "l2", 0.5, True),
        ("dlr", "linf", 0.05, True),
        ("dlr", "l2", 0.5, False),
        ("dlr", "l2", 0.0, False),
        ("dlr-targeted", "linf", 0.05, True),
        ("dlr-targeted", "linf", 0.0, False),
    ],
)
def test_all_returned_images_are_in_the_ball_and_in_range(loss, norm, epsilon, half):
    logits_fn = half_network() if half else linear
    images = np.random.RandomState(3).uniform(0, 1, (8,) + SHAPE).astype("float32")
    labels = logits_fn(images).numpy().argmax(-1).astype("int32")
    search = apgd_search(
        loss,
        epsilon=epsilon,
        norm=norm,
        num_steps=12,
        num_targets=2,
        loss_scale=128.0 if half else 1.0,
    )
    found = states(search, logits_fn, images, labels)
    for state in found:
        attacked = state["adversarial"].numpy()
        size = length(attacked - images) if norm == "l2" else np.abs(attacked - images).max()
        assert attacked.dtype == np.float32 and np.max(size) <= epsilon + 1e-6
        assert 0 <= attacked.min() and attacked.max() <= 1
    margins = [progress(loss, logits_fn, state, labels) for state in (found[0], found[-1])]
    if epsilon == 0:
        np.testing.assert_array_equal(found[-1]["adversarial"], images)
    else:
        assert (margins[1] >= margins[0]).all() and (margins[1] > margins[0]).any()


def progress(loss, logits_fn, state, labels):
    """What the search ascends, and infinity once it has arrived."""
    targets = [state["target"]] if "target" in state else []
    value = LOSSES[loss].value(logits_fn(state["adversarial"]), labels, *targets).numpy()
    return np.where(broken(logits_fn, state["adversarial"], labels), np.inf, value)


@pytest.mark.parametrize(
    "loss, norm, restarts", [("ce", "linf", 2), ("dlr", "l2", 1), ("dlr-targeted", "linf", 1)]
)
def test_every_form_agrees_with_the_eager_loop(loss, norm, restarts):
    settings = dict(
        loss=loss, norm=norm, epsilon=EPSILONS[norm], num_steps=6, restarts=restarts, num_targets=1
    )
    eager = apgd(network, NEAR_PEAK, ZEROS, 2, **settings)
    assert np.abs(eager.numpy() - NEAR_PEAK).max() > 0.05
    for compiled in COMPILED_FORMS:
        np.testing.assert_allclose(
            run(network, NEAR_PEAK, ZEROS, 2, compiled=compiled, **settings),
            eager,
            atol=1e-5,
            err_msg=compiled,
        )


def test_one_compiled_program_breaks_as_many_examples_of_a_network_with_more_classes():
    images = np.random.RandomState(1).uniform(0.2, 0.8, (64,) + SHAPE).astype("float32")
    deep = lambda images: tf.nn.swish(linear(images - 0.5) @ WEIGHTS[:5]) @ WEIGHTS[5:10]
    labels = deep(images).numpy().argmax(-1).astype("int32")
    shares = {}
    for compiled in ("none", "loop"):
        attacked = run(
            deep,
            images,
            labels,
            loss="dlr-targeted",
            num_targets=2,
            epsilon=0.02,
            num_steps=20,
            eot=2,
            compiled=compiled,
        )
        shares[compiled] = broken(deep, attacked, labels).mean()
    assert 0.1 < shares["none"] < 0.9 and abs(shares["none"] - shares["loop"]) < 0.04


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_graph_size_grows_with_nothing_and_the_batch_size_may_be_unknown(compiled):
    def attack(**settings):
        attack = tf.function(
            lambda images, labels: apgd(
                network,
                images,
                labels,
                0,
                loss="dlr-targeted",
                epsilon=0.2,
                num_targets=1,
                compiled=compiled,
                **settings,
            ),
            input_signature=[tf.TensorSpec((None,) + SHAPE), tf.TensorSpec([None], tf.int32)],
        )
        graph = attack.get_concrete_function().graph.as_graph_def()
        return attack, sum(len(function.node_def) for function in graph.library.function)

    few, size = attack(num_steps=3, eot=2)
    assert size == attack(num_steps=90, eot=20)[1]
    assert few(NEAR_PEAK, ZEROS).shape == NEAR_PEAK.shape


# Targets.


def test_runs_go_through_the_targets_and_each_target_through_its_restarts():
    logits = tf.constant([[5.0, 1.0, 4.0, 2.0, 3.0]] * 3)
    labels = tf.constant([0, 2, 1])  # the second and third example are misclassified at once

    def targets(search):
        return np.array(
            [
                search.begin(
                    lambda images: logits + 0 * tf.reduce_sum(images),
                    tf.constant(IMAGES[:3]),
                    labels,
                    tf.constant([0, 1]),
                    tf.fill([3], run),
                )["target"]
                for run in range(search.runs)
            ]
        ).T

    search = apgd_search("dlr-targeted", epsilon=0.1, restarts=2, num_targets=3)
    assert search.runs == 6
    np.testing.assert_array_equal(
        targets(search), [[2, 2, 4, 4, 3, 3], [0, 0, 4, 4, 3, 3], [0, 0, 2, 2, 4, 4]]
    )
    many = apgd_search("dlr-targeted", epsilon=0.1)  # nine, and there are four other classes
    np.testing.assert_array_equal(targets(many)[0], [2, 4, 3, 1, 1, 1, 1, 1, 1])
    assert apgd_search("dlr", epsilon=0.1, restarts=2).runs == 2


def test_a_targeted_run_drives_to_its_target():
    """Each of four classes has a row of the image, whose mean has to pass 0.64."""
    rows = lambda images: tf.pad(
        tf.reduce_mean(images, [2, 3]), [[0, 0], [1, 0]], constant_values=0.64
    )
    search = apgd_search("dlr-targeted", epsilon=0.2, num_targets=4, num_steps=20)
    images, number = np.repeat(0.45 + 0.1 * IMAGES[:1], search.runs, 0), np.arange(search.runs)
    state = states(search, rows, images, ZEROS[:4], run=number)[-1]
    assert sorted(state["target"].numpy()) == [1, 2, 3, 4]
    np.testing.assert_array_equal(rows(state["adversarial"]).numpy().argmax(-1), state["target"])


# Networks that are random.


def test_loss_and_gradient_are_means_over_passes_through_a_random_network():
    noises = []

    def random_network(images):
        noises.append(np.random.uniform(0.5, 1.5))
        second = noises[-1] * (tf.reshape(images, [-1, 48]) @ SLOPES[:, None] - 99)
        return tf.concat([tf.zeros_like(second), second], -1)

    search = apgd_search("dlr", epsilon=0.01, eot=5)
    images = tf.constant(IMAGES)
    state = search.begin(random_network, images, ZEROS, tf.constant([0, 1]), ZEROS)
    new = search.step(random_network, images, ZEROS, state, ZEROS)
    assert len(noises) == 5 == len(set(noises))
    mean = np.mean(noises)
    margin = state["current"].numpy().reshape(8, 48) @ SLOPES - 99
    np.testing.assert_allclose(new["last"], mean * margin, rtol=1e-5)
    np.testing.assert_allclose(new["gradient"][0], mean * SLOPES.reshape(SHAPE), rtol=1e-5)


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_a_graph_draws_anew_in_each_pass(compiled):
    def random_network(images):
        second = tf.random.normal([]) - 99 + 0 * tf.reshape(images, [-1, 48])[:, :1]
        return tf.concat([tf.zeros_like(second), second], -1)

    search = apgd_search("dlr", epsilon=0.01, eot=400, compiled=compiled, num_steps=1)
    last = states(search, random_network, IMAGES, ZEROS)[-1]["last"].numpy()
    assert np.abs(last + 99).max() < 0.25  # 5 standard deviations


# What it refuses.


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"loss": "cw"}, "unknown loss 'cw'; known: ce, dlr, dlr-targeted"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"restarts": 0}, "restarts=0"),
        ({"num_targets": 0}, "num_targets=0"),
        ({"eot": 1.5}, "eot=1.5"),
        ({"epsilon": -1}, "epsilon=-1"),
        ({"norm": "l1"}, "norm='l1'"),
        ({"bounds": (1, 0)}, r"bounds=\(1, 0\)"),
        ({"loss_scale": 0.0}, "loss_scale=0.0"),
        ({"compiled": "yes"}, "'yes': allowed are none, step, loop"),
        ({"logits_fn": lambda images: tf.zeros([8, 4])}, "not differentiable"),
        ({"loss": "dlr", "logits_fn": lambda images: images[:, 0, 0, :1]}, "at least 2 classes"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused_by_name(settings, message):
    arguments = {
        "logits_fn": linear,
        "images": IMAGES,
        "labels": ZEROS,
        "seed": 0,
        "epsilon": 0.1,
        "num_steps": 1,
        **settings,
    }
    with pytest.raises(ValueError, match=message):
        apgd(**arguments)


def test_images_out_of_range_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="images must be within"):
        apgd(linear, 255 * IMAGES, ZEROS, 0, epsilon=0.1, num_steps=1)
