"""The Square Attack: queries against a NumPy twin, starts, what it depends on and costs."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
from attacked import op_by_op
from square_twin import EPSILON, IMAGES, LABELS, RNG, advanced, begun, twin, two_layers

from sat_tf.attacks import COMPILED_FORMS
from sat_tf.attacks.square import square, square_search
from sat_tf.attacks.windows import draw_queries, eta, window_sides

pytestmark = pytest.mark.smoke


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
    queries = draw_queries(window_sides(norm, count, 8, 8), 2, 8, 8, 3, 5)
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


@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
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


@functools.cache
def attacked_in_eighths(norm, graph=False, compiled="none"):
    """The result for a linear network, weights and images in eighths.

    Those are exact in float32, so that no margin depends on the order of a sum.
    """
    images = np.round(IMAGES * 8) / 8
    weights = np.round(np.random.RandomState(6).randn(192, 4) * 4).astype("float32")
    logits_fn = lambda images: tf.reshape(images, [-1, 192]) @ weights
    labels = logits_fn(images).numpy().argmax(-1)
    run = lambda: square(
        logits_fn,
        images,
        labels,
        0,
        epsilon=0.125,
        norm=norm,
        num_queries=20,
        restarts=2,
        compiled=compiled,
    )
    return (tf.function(run) if graph else run)().numpy()


# Each form and each norm once a day; the other pairs of them are slow.
DAILY = {("linf", "none"), ("linf", "loop"), ("l2", "step")}


@pytest.mark.parametrize(
    "norm, compiled",
    [
        pytest.param(*pair, marks=[] if pair in DAILY else pytest.mark.slow)
        for pair in itertools.product(("linf", "l2"), COMPILED_FORMS)
    ],
)
def test_eager_graph_and_compiled_forms_agree(norm, compiled):
    with op_by_op():
        eager = attacked_in_eighths(norm)
    graph = attacked_in_eighths(norm, True, compiled)
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

    with op_by_op():
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
