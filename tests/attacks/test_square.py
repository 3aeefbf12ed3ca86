"""The Square Attack: its queries against a NumPy twin, what it finds and what it never breaks."""

import numpy as np
import pytest
import tensorflow as tf

from sat_tf.attacks.square import _Queries, _queries, eta, square, square_search, window_sides

pytestmark = pytest.mark.smoke

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


# The queries.


@pytest.mark.parametrize(
    "norm, size, expected",
    [
        ("linf", (32, 32), [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]),
        ("linf", (8, 8), [7, 5, 4, 3, 2, 1, 1, 1, 1, 1]),
        ("linf", (4, 9), [4, 4, 3, 2, 1, 1, 1, 1, 1, 1]),
        ("l2", (32, 32), [29, 21, 15, 11, 7, 5, 5, 3, 3, 3]),
        ("l2", (8, 8), [7, 5, 5, 3, 3, 3, 3, 3, 3, 3]),
        ("l2", (4, 9), [4, 4, 3, 3, 3, 3, 3, 3, 3, 3]),
        ("l2", (2, 5), [2] * 10),
    ],
)
def test_sides_follow_the_schedule_which_no_number_of_queries_moves(norm, size, expected):
    firsts = [0, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001]
    lasts = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000, 9999]
    sides = window_sides(norm, 10000, *size)
    assert list(sides[firsts]) == list(sides[lasts]) == expected
    np.testing.assert_array_equal(window_sides(norm, 60, *size), sides[:60])
    assert window_sides("linf", 20, 32, 32, p_init=0.2)[10] == 14


def test_windows_lie_anywhere_with_the_same_chance():
    queries = _queries(np.full(9000, 3), 1, 5, 4, 3, 0)
    for corner in (queries.corner, queries.second_corner):
        places, counts = np.unique(corner, axis=0, return_counts=True)
        assert places.tolist() == [[top, left] for top in range(3) for left in range(2)]
        assert np.abs(counts / 9000 - 1 / 6).max() < 0.02  # 5 standard deviations
    rates = [queries.turned.mean(), *(queries.signs == 1).mean(0)]
    assert set(np.unique(queries.signs)) == {-1, 1} and np.abs(np.subtract(rates, 0.5)).max() < 0.03


def test_windows_are_those_of_the_seed_and_differ_between_runs():
    one = _queries(np.full(50, 2), 1, 9, 9, 3, 7)
    more = _queries(np.full(80, 2), 2, 9, 9, 3, 7)
    for few, many in zip(one, more):
        np.testing.assert_array_equal(few, many[:50])
    assert (more.corner[:80] != more.corner[80:]).any()
    assert (one.corner != _queries(np.full(50, 2), 1, 9, 9, 3, 8).corner).any()


def test_the_table_of_windows_is_the_same_in_every_numpy():
    queries = _queries(np.array([3, 2]), 1, 8, 8, 3, 0)
    assert queries.corner.tolist() == [[3, 4], [6, 2]]  # from 0.5488, 0.7152; 0.9637, 0.3834
    assert queries.second_corner.tolist() == [[3, 3], [5, 3]]
    assert queries.turned.tolist() == [True, False]
    assert queries.signs.tolist() == [[1, -1, 1], [1, -1, -1]]


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


@pytest.mark.parametrize("side", range(2, 10))
def test_the_pattern_is_the_authors(side):
    np.testing.assert_allclose(eta(side), reference_eta(side), atol=1e-12)


def test_the_pattern_of_one_pixel_is_one():
    assert eta(1).tolist() == [[-1]]


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
        new = candidate(image, best, _Queries(*query), own_signs, epsilon, bounds)
        made += 1
        if margin_of(new) < margin:
            best, margin = new.astype("float32"), margin_of(new)
    return best, margin, made


@pytest.mark.parametrize(
    "norm, bounds, run",
    [
        ("linf", (0.0, 1.0), 0),
        ("linf", (-0.25, 1.5), 1),
        ("l2", (0.0, 1.0), 0),
        ("l2", (-0.25, 1.5), 1),
    ],
)
def test_equals_the_twin_query_by_query(norm, bounds, run):
    epsilon, count = EPSILON[norm] / 2, 250
    search = square_search(
        epsilon=epsilon, norm=norm, bounds=bounds, num_queries=count, restarts=2, window_seed=5
    )
    first, index = begun(search, run=run)
    state, index = advanced(search, first, index, count)
    queries = _queries(window_sides(norm, count, 8, 8), 2, 8, 8, 3, 5)
    queries = [column[run * count : (run + 1) * count] for column in queries]
    own_signs = first.get("signs", tf.ones([6, 3])).numpy()
    improved = state["margin"].numpy() < first["margin"].numpy() - 0.05
    assert improved.sum() >= 3  # that there is something to compare
    for example, image in enumerate(IMAGES):
        start = first["adversarial"][example].numpy()
        best, margin, made = twin(
            norm, image, LABELS[example], start, own_signs[example], queries, epsilon, bounds
        )
        # What the box has cut off of an L2 change is a difference of squares, whose root counts.
        tolerance = {"linf": 1e-6, "l2": 1e-4}[norm]
        np.testing.assert_allclose(state["adversarial"][example], best, atol=tolerance)
        np.testing.assert_allclose(state["margin"][example], margin, atol=10 * tolerance)
        assert index[example] == made and bool(state["broken"][example]) == (margin < 0)


def test_starts_from_stripes_of_each_image():
    grey = np.full((40, 5, 7, 3), 0.5, "float32")
    state, _ = begun(
        square_search(epsilon=0.25),
        grey,
        np.zeros(40, "int32"),
        logits_fn=lambda images: images[:, 0, 0],
    )
    change = state["adversarial"].numpy() - grey
    np.testing.assert_allclose(np.abs(change), 0.25, atol=1e-6)
    np.testing.assert_array_equal(change, np.broadcast_to(change[:, :1], change.shape))
    signs = np.sign(change[:, 0]).reshape(40, -1)
    assert len(np.unique(signs, axis=0)) == 40 and abs(signs.mean()) < 0.15


def test_l2_starts_from_tiles_of_length_epsilon():
    grey = np.full((40, 33, 17, 2), 0.5, "float32")
    state, _ = begun(
        square_search(epsilon=0.25, norm="l2"),
        grey,
        np.zeros(40, "int32"),
        logits_fn=lambda images: images[:, 0, 0],
    )
    change = state["adversarial"].numpy() - grey
    np.testing.assert_allclose(np.linalg.norm(change.reshape(40, -1), axis=1), 0.25, rtol=1e-4)
    assert not change[:, :, 0].any() and not change[:, :, 16].any()  # 5 tiles of side 3 in 17
    tiles = change[:, :, 1:16].reshape(40, 11, 3, 5, 3, 2).transpose(0, 1, 3, 5, 2, 4) / np.abs(
        change
    ).max((1, 2, 3)).reshape(40, 1, 1, 1, 1, 1)
    wanted = eta(3) / np.abs(eta(3)).max()
    kinds = [sign * pattern for sign in (1, -1) for pattern in (wanted, wanted.T)]
    matches = np.stack([np.abs(tiles - kind).max((-2, -1)) < 1e-3 for kind in kinds])
    assert (matches.sum(0) == 1).all()
    np.testing.assert_allclose(matches.mean((1, 2, 3, 4)), 0.25, atol=0.03)
    turned = matches[[1, 3]].any(0)
    assert (turned[..., 0] == turned[..., 1]).all()  # a tile is turned in all its channels


# What it finds, and what it never breaks.


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_stays_in_the_ball_and_in_range_while_the_margin_falls(norm, dtype):
    half = lambda images: tf.cast(two_layers(images), dtype)
    search = square_search(epsilon=EPSILON[norm], norm=norm, bounds=(0.1, 0.8), num_queries=60)
    images = tf.cast(np.clip(IMAGES, 0.1, 0.8), dtype)
    images = tf.clip_by_value(tf.cast(images, tf.float32), 0.1, 0.8).numpy()
    state, index = begun(search, images, logits_fn=half)
    step = tf.function(
        lambda state, index: search.advance(
            half, tf.constant(images), tf.constant(LABELS), state, index, 3
        )
    )
    for _ in range(20):
        new, index = step(state, index)
        adversarial = new["adversarial"].numpy()
        sizes = np.linalg.norm(
            (adversarial - images).reshape(6, -1), np.inf if norm == "linf" else 2, axis=1
        )
        assert (sizes <= EPSILON[norm] + 1e-6).all()
        assert np.float32(0.1) <= adversarial.min() and adversarial.max() <= np.float32(0.8)
        assert (new["margin"].numpy() <= state["margin"].numpy()).all()
        state = new
    logits = half(adversarial).numpy().astype("float32")
    true = logits[np.arange(6), LABELS]
    logits[np.arange(6), LABELS] = -np.inf
    np.testing.assert_array_equal(state["margin"], true - logits.max(-1))
    np.testing.assert_array_equal(state["broken"], state["margin"].numpy() < 0)


def linear(weights):
    """Two classes, the first where an image lies on the side of `weights`, seen from mid-grey."""

    def logits_fn(images):
        score = tf.reduce_sum((images - 0.5) * weights.astype("float32"), [1, 2, 3])
        return tf.stack([score, tf.zeros_like(score)], -1)

    return logits_fn


def at_distances(weights, distances):
    """Images of which `weights` says that they are so far from the border, in multiples of it."""
    noise = np.random.RandomState(1).uniform(-0.1, 0.1, [len(distances), *weights.shape])
    noise -= np.einsum("bhwc,hwc->b", noise, weights)[:, None, None, None] * (
        weights / (weights**2).sum()
    )
    return (0.5 + noise + np.reshape(distances, [-1, 1, 1, 1]) * np.sign(weights)).astype("float32")


def broken_by(search, logits_fn, images):
    labels = np.zeros(len(images), "int32")
    found = tf.function(lambda: search(logits_fn, images, labels, 0))()
    return logits_fn(found).numpy().argmax(-1) == 1


def test_linf_breaks_exactly_what_can_be_broken_where_channels_have_one_sign():
    weights = np.random.RandomState(2).uniform(0.5, 1.5, [6, 6, 3]) * [1, -1, 1]
    distances = np.array([0.5, 0.9, 0.99, 0.999, 1.001, 1.01, 1.1, 2]) * 0.05
    search = square_search(epsilon=0.05, num_queries=400)
    broken = broken_by(search, linear(weights), at_distances(weights, distances))
    np.testing.assert_array_equal(broken, distances < 0.05)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_certainly_robust_is_never_broken_and_what_is_nearly_wrong_is(norm):
    weights = np.random.RandomState(3).randn(8, 8, 3)
    farthest = 0.03 * (np.abs(weights).sum() if norm == "linf" else np.linalg.norm(weights))
    distances = np.array([0.01, 0.1, 0.3, 1.0001, 1.01, 1.2])  # shares of what epsilon can reach
    images = at_distances(weights, distances * farthest / np.abs(weights).sum())
    search = square_search(epsilon=0.03, norm=norm, num_queries=400, restarts=2)
    np.testing.assert_array_equal(broken_by(search, linear(weights), images), distances < 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_network_of_steps_is_attacked_too(norm):
    def logits_fn(images):  # no gradient exists
        return tf.numpy_function(
            lambda x: np.round(4 * two_layers_in_numpy(x)).astype("float32"), [images], tf.float32
        )

    found = square(
        logits_fn, IMAGES, LABELS, 0, epsilon=2 * EPSILON[norm], norm=norm, num_queries=150
    )
    assert (two_layers_in_numpy(found.numpy()).argmax(-1) != LABELS).sum() >= 3


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_example_that_cannot_be_judged_counts_as_broken(norm):
    search = square_search(epsilon=0.1, norm=norm, num_queries=4)
    nan_in_one = lambda images: two_layers(images) + [[np.nan], [0], [0], [0], [0], [0]]
    state, _ = begun(search, logits_fn=nan_in_one)
    assert state["broken"][0]
    after, index = advanced(search, state, tf.zeros([6], tf.int32), 4, logits_fn=nan_in_one)
    np.testing.assert_array_equal(after["adversarial"][0], state["adversarial"][0])
    assert index[0] == 0 and np.isfinite(after["margin"][1:]).all()


def test_a_margin_of_zero_that_is_classified_correctly_is_not_broken():
    search = square_search(epsilon=0.1, num_queries=5)
    ties = lambda images: tf.zeros([len(IMAGES), 4])
    labels = np.array([0, 0, 0, 1, 2, 3], "int32")  # argmax takes the first
    state, _ = begun(search, labels=labels, logits_fn=ties)
    assert state["broken"].numpy().tolist() == [False] * 3 + [True] * 3
    after, index = advanced(
        search, state, tf.zeros([6], tf.int32), 5, labels=labels, logits_fn=ties
    )
    assert index.numpy().tolist() == [5] * 3 + [0] * 3
    assert (after["adversarial"][:3].numpy() != state["adversarial"][:3].numpy()).any()


# On what a result depends.


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 6, 2), (7, 1, 1), (2, 2, 3), (3, 11, 4), (13, 9, 1)]
)
def test_images_of_any_size(norm, shape):
    images = np.random.RandomState(4).uniform(0.3, 0.7, [3, *shape]).astype("float32")
    size = int(np.prod(shape))
    logits_fn = lambda images: (
        tf.reshape(images, [-1, size]) @ tf.linspace([0.5, 0.0], [1.0, 0.25], size)
    )
    labels = np.zeros(3, "int32")
    attack = lambda epsilon: tf.function(
        lambda: square(logits_fn, images, labels, 0, epsilon=epsilon, norm=norm, num_queries=20)
    )().numpy()
    found = attack(0.25)
    change = (found - images).reshape(3, -1)
    order = np.inf if norm == "linf" else 2
    np.testing.assert_allclose(np.linalg.norm(change, order, 1), 0.25, rtol=1e-3)
    assert (change.sum(1) < 0).all()  # the true logit has the larger weights
    np.testing.assert_array_equal(attack(0.0), images)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_example_depends_on_no_other_whatever_their_indices(norm):
    search = square_search(epsilon=EPSILON[norm] / 3, norm=norm, num_queries=40, restarts=2)
    seeds = tf.constant([[1, number] for number in range(6)], tf.int64)
    runs = tf.constant([0, 1, 0, 1, 0, 1])
    counts = [0, 7, 40, 15, 33, 40]  # where each one is when they meet; some are at the end
    advance = tf.function(lambda *arguments: search.advance(two_layers, *arguments))

    def alone(example, count):
        one = slice(example, example + 1)
        state = search.begin(two_layers, IMAGES[one], LABELS[one], seeds[one], runs[one])
        return advance(
            tf.constant(IMAGES[one]),
            tf.constant(LABELS[one]),
            state,
            tf.constant([0]),
            tf.constant(count),
        )

    met = [alone(example, count) for example, count in enumerate(counts)]
    together = {name: tf.concat([state[name] for state, _ in met], 0) for name in met[0][0]}
    state, index = advance(
        tf.constant(IMAGES),
        tf.constant(LABELS),
        together,
        tf.concat([index for _, index in met], 0),
        tf.constant(12),
    )
    for example, count in enumerate(counts):
        wanted, steps = alone(example, count + 12)
        assert index[example] == steps[0]
        np.testing.assert_allclose(
            state["adversarial"][example], wanted["adversarial"][0], atol=1e-6
        )
    order = [4, 0, 3]
    attack = tf.function(lambda *batch: search(two_layers, *batch))
    found = attack(IMAGES, LABELS, seeds).numpy()
    part = attack(IMAGES[order], LABELS[order], tf.gather(seeds, order))
    np.testing.assert_allclose(part, found[order], atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_eager_graph_and_compiled_forms_agree(norm):
    # Eighths are exact in float32, so that no margin depends on the order of a sum.
    images = np.round(IMAGES * 8) / 8
    weights = np.round(RNG.randn(192, 4) * 4).astype("float32")
    logits_fn = lambda images: tf.reshape(images, [-1, 192]) @ weights
    labels = logits_fn(images).numpy().argmax(-1)
    run = lambda compiled: square(
        logits_fn,
        images,
        labels,
        0,
        epsilon=0.125,
        norm=norm,
        num_queries=60,
        restarts=2,
        compiled=compiled,
    )
    eager = run("none").numpy()
    for compiled in ("none", "step", "loop"):
        graph = tf.function(lambda: run(compiled))()
        np.testing.assert_allclose(graph, eager, atol=0 if norm == "linf" else 1e-5)


def test_seed_and_windows_decide_the_result_and_nothing_else():
    run = lambda seed, **settings: square(
        two_layers, IMAGES, LABELS, seed, epsilon=0.01, num_queries=5, **settings
    ).numpy()
    np.testing.assert_array_equal(run(5), run((0, 5)))
    assert (run(5) != run(6)).any() and (run(5) != run(5, window_seed=1)).any()
    state = tf.random.get_global_generator().state.numpy()
    np.random.seed(0)
    run(7)
    assert np.random.random_sample() == np.random.RandomState(0).random_sample()
    np.testing.assert_array_equal(tf.random.get_global_generator().state.numpy(), state)


# What it costs.


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_asks_the_network_once_for_the_start_and_once_for_each_query(norm):
    calls = []

    def logits_fn(images):
        calls.append(images.shape)
        return tf.one_hot(LABELS, 4) + 0 * tf.reduce_sum(images)

    square(logits_fn, IMAGES, LABELS, 0, epsilon=0.1, norm=norm, num_queries=7)
    assert calls == [IMAGES.shape] * 8


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_takes_no_gradient(norm):
    kernel = RNG.randn(3, 3, 3, 4).astype("float32")
    logits_fn = lambda images: tf.reduce_mean(tf.nn.conv2d(images, kernel, 1, "SAME"), [1, 2])

    def ops(num_queries):
        attack = tf.function(
            lambda: square(
                logits_fn, IMAGES, LABELS, 0, epsilon=0.1, norm=norm, num_queries=num_queries
            )
        ).get_concrete_function()
        return sorted(
            node.op
            for function in (attack.function_def, *attack.graph.as_graph_def().library.function)
            for node in function.node_def
        )

    few = ops(3)
    assert few.count("Conv2D") == 2 and not [
        op for op in few if "Grad" in op.replace("StopGradient", "") or "Backprop" in op
    ]
    assert ops(300) == few


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_queries": 0}, "num_queries=0"),
        ({"num_queries": 2.0}, "num_queries=2.0"),
        ({"restarts": 0}, "restarts=0"),
        ({"p_init": 0.0}, "p_init=0.0"),
        ({"p_init": 1.5}, "p_init=1.5"),
        ({"window_seed": -1}, "window_seed=-1"),
        ({"window_seed": 0.5}, "window_seed=0.5"),
        ({"compiled": "yes"}, "'yes': allowed are none, step, loop"),
        ({"norm": "l1"}, "norm='l1'"),
        ({"epsilon": -0.1}, "epsilon=-0.1"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        square_search(**{"epsilon": 0.1, **settings})
