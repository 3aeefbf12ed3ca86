"""Every activation against a NumPy twin in float64, and its slope against the twin's
differences."""

import math

import numpy as np
import pytest
import tensorflow as tf
from activation_twins import POINTS, TAKES_ALPHA, TOLERANCES, TWINS, away_from_kinks, differences

from sat_tf import activations

pytestmark = pytest.mark.smoke


every_activation = pytest.mark.parametrize("name", activations.ACTIVATIONS)


def _as_input(name, points):
    """The points as what the layer takes: sparta needs feature maps, and one channel will do."""
    return tf.reshape(points, [1, 1, -1, 1]) if name == "sparta" else points


def _apply(name, points, dtype="float32", alpha=None, **kwargs):
    """Returns value and slope at `points` (rounded to dtype), all three as float64."""
    layer = activations.create(name, alpha)(dtype=dtype)
    inputs = _as_input(name, tf.cast(tf.constant(points, tf.float64), dtype))
    layer.build(inputs.shape)

    @tf.function(**kwargs)
    def run(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        return outputs, tape.gradient(outputs, inputs)

    outputs, slope = run(inputs)
    assert outputs.dtype == slope.dtype == inputs.dtype
    return (tf.cast(t, tf.float64).numpy().ravel() for t in (inputs, outputs, slope))


def test_every_activation_has_a_twin():
    assert set(TWINS) == set(activations.ACTIVATIONS)


@every_activation
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_value_and_slope_equal_the_twin(name, dtype):
    x, value, slope = _apply(name, POINTS, dtype)
    relative, absolute = TOLERANCES[dtype]
    np.testing.assert_allclose(value, TWINS[name](x), rtol=relative, atol=absolute)
    smooth = away_from_kinks(name, x)
    np.testing.assert_allclose(
        slope[smooth],
        differences(TWINS[name], x)[smooth],
        rtol=max(relative, 1e-5),
        atol=max(absolute, 1e-5),
    )


@every_activation
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_finite_out_to_the_largest_number(name, dtype):
    largest = float(tf.as_dtype(dtype).max)
    largest *= 0.9 if name == "selu" else 1.0  # which has slope 1.05
    _, value, slope = _apply(name, [-largest, -1e4, 0.0, 1e4, largest], dtype)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(slope))


@pytest.mark.parametrize("name", TAKES_ALPHA)
@pytest.mark.parametrize("alpha", [0.5, 1.7, 30.0])
def test_other_alphas(name, alpha):
    x, value, slope = _apply(name, POINTS, alpha=alpha)

    def twin(points):
        return TWINS[name](points, alpha)

    np.testing.assert_allclose(value, twin(x), rtol=2e-6, atol=1e-5)
    smooth = (x != 0) | (name != "elu")  # elu is only smooth with alpha 1
    np.testing.assert_allclose(slope[smooth], differences(twin, x)[smooth], rtol=1e-5, atol=1e-5)


@every_activation
def test_compiled_equals_graph(name):
    for value, expected in zip(_apply(name, POINTS, jit_compile=True), _apply(name, POINTS)):
        np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-6)


@every_activation
def test_second_derivative_is_finite(name):
    layer, x = activations.create(name)(), _as_input(name, tf.constant(POINTS, tf.float32))
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            outputs = layer(x)
        slope = inner.gradient(outputs, x)
    curvature = outer.gradient(slope, x)
    assert curvature is None or np.all(np.isfinite(curvature))


@pytest.mark.parametrize(
    "name, alpha, x, expected",
    [
        ("smoothrelu", None, 0.01, 0.00598),
        ("smoothrelu", None, 0.1, 0.09072),
        ("smoothrelu", None, 1.0, 0.98502),
        ("smoothrelu", None, 3.0, 2.98227),
        ("smoothrelu", 1.0, 1.0, 0.30685),
        ("smoothrelu", None, -1.0, 0.0),
        ("parametric_softplus", None, 0.0, 0.069315),
        ("parametric_softplus", 10.0, 0.1, 0.131326),
        ("parametric_softplus", 10.0, -0.1, 0.031326),
    ],
)
def test_literal_values(name, alpha, x, expected):
    value = activations.create(name, alpha)()(tf.constant([x]))
    np.testing.assert_allclose(value, [expected], atol=6e-6)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("parametric_softplus", 0.5),
        ("softplus", 0.5),
        ("swish", 0.5),
        ("gelu", 0.5),
        ("gelu_exact", 0.5),
        ("elu", 1.0),
        ("celu", 1.0),
        ("mish", 0.6),
        ("smoothrelu", 0.0),
    ],
)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_slope_at_exactly_zero(name, expected, dtype):
    _, _, (slope,) = _apply(name, [0.0], dtype)
    assert slope == pytest.approx(expected, rel=4e-3)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_smoothrelu_learns_its_alpha_in_float32(dtype):
    """The slope with respect to raw_alpha is 2 raw times log1p(a x) / a^2 - x / (a (1 + a x))."""
    layer = activations.create("smoothrelu")(
        dtype=tf.keras.mixed_precision.Policy("float32" if dtype == "float32" else f"mixed_{dtype}")
    )
    x = tf.constant([-60000.0, -1.0, 0.0, 0.01, 0.5, 3.0, 200.0, 60000.0], dtype)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.cast(layer(x), tf.float32))
    (raw,) = layer.trainable_weights
    assert raw.name.endswith("raw_alpha:0") and raw.shape == [1] and raw.dtype == tf.float32
    assert raw.numpy() == [20.0]
    gradient = tape.gradient(total, raw)
    assert gradient.dtype == tf.float32 and gradient.shape == [1]
    x, a = np.maximum(tf.cast(x, tf.float64), 0.0), 400.0
    expected = 40.0 * np.sum(np.log1p(a * x) / a**2 - x / (a * (1 + a * x)))
    np.testing.assert_allclose(gradient, [expected], rtol=1e-4)


def test_every_site_has_its_own_layer_and_weight():
    make = activations.create("smoothrelu", alpha=9.0)
    first, second = make(name="first"), make(name="second")
    first.build([1]), second.build([1])
    assert first.name == "first" and first.activation_name == "smoothrelu"
    first.raw_alpha.assign([5.0])
    np.testing.assert_allclose(second.raw_alpha, [3.0])


@every_activation
def test_layers_go_through_their_configuration(name):
    layer = activations.create(name, alpha=2.5 if name in TAKES_ALPHA else None)(name="site")
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    assert type(copy) is type(layer) and copy.get_config() == layer.get_config()
    x = _as_input(name, tf.constant(POINTS, tf.float32))
    np.testing.assert_array_equal(copy(x), layer(x))


def test_unknown_names_and_alphas_are_refused():
    with pytest.raises(ValueError, match="swoosh.*gelu_exact.*smoothrelu"):
        activations.create("swoosh")
    with pytest.raises(ValueError, match="swish has no alpha.*celu"):
        activations.create("swish", alpha=1.0)
    with pytest.raises(ValueError, match="sparta has no alpha"):
        activations.create("sparta", alpha=1.0)
    with pytest.raises(ValueError, match="swish has no gain, only sparta does"):
        activations.create("swish", gain=1.0)
    with pytest.raises(ValueError, match="sparta has no slope$"):
        activations.create("sparta", slope=1.0)
    for alpha in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="above 0"):
            activations.create("celu", alpha=alpha)


@pytest.mark.parametrize("name, operation", [("mish", "Softplus"), ("tanh", "Tanh")])
def test_no_pattern_that_tensorflow_would_fuse_without_a_kernel(name, operation):
    """After a batch norm, where oneDNN is on, which one process cannot turn on for one test."""
    layer = activations.create(name)()
    graph = (
        tf.function(lambda x: layer(x))
        .get_concrete_function(tf.TensorSpec([2, 3], tf.float32))
        .graph
    )
    assert operation not in {node.type for node in graph.get_operations()}
