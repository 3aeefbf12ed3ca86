"""Replaced derivatives: values bit for bit, gradients those of the other activation."""

import threading

import activation_twins as twins
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import activations
from sat_tf.activations import derivatives

pytestmark = pytest.mark.smoke

SUBSTITUTES = [
    name
    for name, row in activations.ACTIVATIONS.items()
    if row.layer in (activations.ElementwiseActivation, activations.SmoothReLU)
]


def _run(layer, inputs, name, **kwargs):
    """Returns outputs and input gradient, in a graph, under the derivative of `name`."""
    layer.build(inputs.shape)

    @tf.function(**kwargs)
    def run(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            with activations.derivative_of(name):
                outputs = layer(inputs)
        return outputs, tape.gradient(outputs, inputs)

    return run(inputs)


@pytest.fixture(scope="module")
def features():
    return tf.random.stateless_normal([2, 5, 5, 3], [1, 2], stddev=3.0)


@pytest.fixture(scope="module")
def slopes(features):
    """{name: the derivative at `features` of the activation itself}."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(features)
        outputs = {name: activations.create(name)()(features) for name in SUBSTITUTES}
    return {name: tape.gradient(value, features) for name, value in outputs.items()}


@pytest.mark.parametrize("forward", activations.ACTIVATIONS)
def test_values_stay_bit_for_bit_and_gradients_do_not(forward, features, slopes):
    """In eager mode; every activation forward, every one backward."""
    inputs = features
    layer = activations.create(forward)()
    expected = layer(inputs)
    for name in SUBSTITUTES:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            with activations.derivative_of(name):
                outputs = layer(inputs)
        np.testing.assert_array_equal(outputs, expected)
        np.testing.assert_allclose(
            tape.gradient(outputs, inputs), slopes[name], rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("name", SUBSTITUTES)
@pytest.mark.parametrize("dtype", twins.TOLERANCES)
def test_the_gradient_is_the_numerical_derivative(name, dtype):
    inputs = tf.cast(tf.constant(twins.POINTS, tf.float64), dtype)
    outputs, slope = _run(activations.create("relu")(dtype=dtype), inputs, name)
    assert outputs.dtype == slope.dtype == inputs.dtype
    np.testing.assert_array_equal(outputs, tf.nn.relu(inputs))
    x = tf.cast(inputs, tf.float64).numpy()
    smooth = twins.away_from_kinks(name, x)
    relative, absolute = twins.TOLERANCES[dtype]
    np.testing.assert_allclose(
        tf.cast(slope, tf.float64).numpy()[smooth],
        twins.differences(twins.TWINS[name], x)[smooth],
        rtol=max(relative, 1e-5),
        atol=max(absolute, 1e-5),
    )


@pytest.mark.parametrize("name", ["parametric_softplus", "swish", "smoothrelu", "softplus"])
@pytest.mark.parametrize("dtype", twins.TOLERANCES)
def test_compiled_equals_graph(name, dtype):
    inputs = tf.cast(tf.constant(twins.POINTS, tf.float64), dtype)
    layer = activations.create("relu")(dtype=dtype)
    relative, absolute = twins.TOLERANCES[dtype]
    for found, expected in zip(
        _run(layer, inputs, name, jit_compile=True), _run(layer, inputs, name)
    ):
        np.testing.assert_allclose(
            tf.cast(found, tf.float64),
            tf.cast(expected, tf.float64),
            rtol=10 * relative,
            atol=absolute,
        )


def test_the_slope_is_taken_in_float32_and_rounded_once():
    """In float16 sigmoid(10 x) of a rounded 10 x would be a unit in the last place off here."""
    inputs = tf.cast(tf.linspace(-1.0, 1.0, 999), tf.float16)
    _, slope = _run(activations.create("relu")(dtype="float16"), inputs, "parametric_softplus")
    exact = tf.sigmoid(10.0 * tf.cast(inputs, tf.float32))
    np.testing.assert_array_equal(slope, tf.cast(exact, tf.float16))


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_learnable_activation_learns_by_its_exact_gradient(dtype):
    layer = activations.create("smoothrelu")(dtype=tf.keras.mixed_precision.Policy(dtype))
    inputs = tf.constant([-1.0, 0.0, 0.01, 0.5, 3.0], layer.compute_dtype)
    gradients = []
    for name in (None, "sigmoid"):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            with activations.derivative_of(name):
                total = tf.reduce_sum(tf.cast(layer(inputs), tf.float32))
        gradients.append(tape.gradient(total, [inputs, layer.raw_alpha]))
    (slope, alpha), (replaced_slope, replaced_alpha) = gradients
    np.testing.assert_array_equal(alpha, replaced_alpha)
    assert alpha.numpy() != 0 and replaced_alpha.dtype == tf.float32
    assert np.abs(slope - replaced_slope).max() > 0.1


class _Scaled(derivatives.ActivationLayer):
    """An activation with a weight that its derivative depends on."""

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=[], initializer="ones")

    def value(self, inputs):
        return self.scale * tf.tanh(inputs)


def test_other_layers_join_by_their_value(monkeypatch):
    monkeypatch.setitem(activations.ACTIVATIONS, "scaled", activations.Row(tf.tanh, layer=_Scaled))
    layer, inputs = activations.create("scaled")(), tf.constant([[0.5, -2.0]])
    layer.build(inputs.shape)
    with tf.GradientTape() as tape, activations.derivative_of("softsign"):
        tape.watch(inputs)
        outputs = layer(inputs)
    slope, scale = tape.gradient(outputs, [inputs, layer.scale])
    np.testing.assert_allclose(slope, 1 / (1 + np.abs(inputs)) ** 2, rtol=1e-6)
    np.testing.assert_allclose(scale, np.sum(np.tanh(inputs)), rtol=1e-6)
    with pytest.raises(ValueError, match="derivative of scaled depends on learnt weights"):
        activations.check_derivative("scaled")


def test_unknown_names_are_refused_on_entering():
    with pytest.raises(ValueError, match="unknown activation 'swoosh'.*smoothrelu"):
        activations.derivative_of("swoosh")


def _slope_at_zero(layer=activations.create("relu")()):
    zero = tf.zeros([1])
    with tf.GradientTape() as tape:
        tape.watch(zero)
        outputs = layer(zero)
    return tape.gradient(outputs, zero).numpy()[0]


def test_the_innermost_context_counts_and_errors_leave_none_behind():
    with activations.derivative_of("sigmoid"):
        assert _slope_at_zero() == 0.25
        with activations.derivative_of("tanh"), activations.derivative_of(None):
            assert _slope_at_zero() == 1.0
        with pytest.raises(RuntimeError), activations.derivative_of("tanh"):
            raise RuntimeError
        assert _slope_at_zero() == 0.25
    assert _slope_at_zero() == 0.0


def test_other_threads_keep_the_exact_derivative():
    found = []
    with activations.derivative_of("sigmoid"):
        thread = threading.Thread(target=lambda: found.append(_slope_at_zero()))
        thread.start()
        thread.join()
        assert _slope_at_zero() == 0.25
    assert found == [0.0]


def test_any_slope_can_stand_in():
    inputs = tf.constant([-1.0, 2.0])
    with tf.GradientTape() as tape, derivatives.replaced_by(lambda x: 3.0 * x):
        tape.watch(inputs)
        outputs = derivatives.apply(tf.nn.relu, inputs)
    np.testing.assert_array_equal(outputs, [0.0, 2.0])
    np.testing.assert_array_equal(tape.gradient(outputs, inputs), [-3.0, 6.0])


@pytest.mark.parametrize(
    "name, alpha", [*((name, None) for name in SUBSTITUTES), ("elu", 1.2), ("celu", 1.2)]
)
def test_the_table_tells_which_slopes_jump(name, alpha):
    """On a grid of 1e-4, from point to point of which the slope of smoothrelu rises by 0.04."""
    inputs = tf.constant(np.arange(-8.0, 8.0, 1e-4), tf.float32)
    _, slope = _run(activations.create(name, alpha)(), inputs, None)
    assert (np.abs(np.diff(slope)).max() < 0.05) == activations.is_smooth(name, alpha)
