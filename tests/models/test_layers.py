"""The shared layers: what they compute, alone, compiled and on two replicas."""

import numpy as np
import pytest
import tensorflow as tf

from sat_tf.models import layers, random_layers


def _random(shape, seed=0):
    return tf.constant(np.random.default_rng(seed).standard_normal(shape), tf.float32)


def test_input_normalization_maps_to_minus_one_to_one():
    layer = layers.InputNormalization()
    np.testing.assert_allclose(layer(tf.constant([0.0, 0.25, 1.0])), [-1.0, -0.5, 1.0])


def test_input_normalization_keeps_small_perturbations_in_bfloat16():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    outputs = layers.InputNormalization()(tf.constant([0.5, 0.5 + 1 / 1020]))
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), [0.0, 2 / 1020], rtol=4e-3)


def _conv(channels, filters, size, **kwargs):
    inputs = tf.keras.Input((size, size, channels))
    return tf.keras.Model(inputs, layers.explicit_conv(inputs, filters, seed=0, **kwargs))


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("kernel_size, stride", [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
def test_explicit_conv_pads_both_sides_alike(size, kernel_size, stride):
    model, images = (
        _conv(2, 3, size, kernel_size=kernel_size, stride=stride, name="conv"),
        _random((2, size, size, 2)),
    )
    half = kernel_size // 2
    padded = np.pad(images, [(0, 0), (half, half), (half, half), (0, 0)])
    (kernel,) = model.get_weights()
    expected = np.zeros((2, (size - 1) // stride + 1, (size - 1) // stride + 1, 3))
    for row, column in np.ndindex(expected.shape[1:3]):
        patch = padded[:, row * stride :, column * stride :][:, :kernel_size, :kernel_size]
        expected[:, row, column] = np.einsum("bhwi,hwio->bo", patch, kernel)
    np.testing.assert_allclose(model(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    "groups, width, filters", [(4, 3, 20), (32, 4, 128), (2, 80, 6), (3, 30, 9)]
)
@pytest.mark.parametrize("stride", [1, 2])
def test_grouped_conv_and_its_gradients_equal_one_conv_a_group(groups, width, filters, stride):
    model = _conv(groups * width, filters, 5, kernel_size=3, stride=stride, groups=groups, name="c")
    images, (kernel,) = _random((2, 5, 5, groups * width)), model.weights
    assert kernel.shape == (3, 3, width, filters)
    pads = [[0, 0], [1, 1], [1, 1], [0, 0]]

    def one_by_one(x):
        parts = zip(tf.split(x, groups, 3), tf.split(kernel, groups, 3))
        return tf.concat([tf.nn.conv2d(a, b, stride, pads) for a, b in parts], 3)

    def run(function):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = function(images)
            total = tf.reduce_sum(tf.square(outputs))
        return outputs, *tape.gradient(total, [images, kernel])

    expected = run(one_by_one)
    for function in (
        lambda: run(model),
        tf.function(lambda: run(model)),
        tf.function(lambda: run(model), jit_compile=True),
    ):
        for value, other in zip(function(), expected):
            np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-4)


def test_grouped_conv_leaves_other_devices_to_the_native_operation(monkeypatch):
    model, images = _conv(8, 16, 5, kernel_size=3, groups=4, name="conv"), _random((1, 5, 5, 8))
    on_cpu = model(images)
    monkeypatch.setattr(layers, "_runs_on_cpu", lambda: False)
    operations = tf.function(model).get_concrete_function(images).graph.get_operations()
    assert [op.inputs[1].shape for op in operations if op.type == "Conv2D"] == [(3, 3, 2, 16)]
    np.testing.assert_allclose(tf.function(lambda x: model(x))(images), on_cpu, atol=1e-5)


@pytest.mark.parametrize("gpus, on_cpu", [([], True), (["/device:GPU:0"], False)])
def test_without_a_strategy_the_device_is_the_default_placement(monkeypatch, gpus, on_cpu):
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: gpus if kind == "GPU" else []
    )
    assert layers._runs_on_cpu() is on_cpu


def test_a_strategy_names_its_devices(monkeypatch, mirrored):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["/device:GPU:0"])
    with mirrored.scope():
        assert layers._runs_on_cpu()


def _batch_norm(**kwargs):
    layer = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, **kwargs)
    layer.build((None, 3, 3, 4))
    layer.set_weights([_random(4, 1), _random(4, 2), _random(4, 3), np.abs(_random(4, 4))])
    return layer


def _keras_twin(layer):
    twin = tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    twin.build((None, 3, 3, 4))
    twin.set_weights(layer.get_weights())
    return twin


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_equals_the_fused_operation(training):
    layer, images = _batch_norm(), _random((5, 3, 3, 4))
    twin, results = _keras_twin(layer), []
    for each in (layer, twin):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = each(images, training=training)
            total = tf.reduce_sum(tf.sin(outputs))
        gradients = tape.gradient(total, [images, each.gamma, each.beta])
        results.append([outputs, *gradients, *each.get_weights()])
    for value, expected in zip(*results):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_in_inference_mode_has_a_second_derivative():
    layer, images = _batch_norm(), _random((5, 3, 3, 4))

    @tf.function
    def penalty_gradient(images):
        with tf.GradientTape() as outer:
            outer.watch(images)
            with tf.GradientTape() as inner:
                inner.watch(images)
                total = tf.reduce_sum(layer(images, training=False) ** 3)
            penalty = tf.reduce_sum(inner.gradient(total, images) ** 2)
        return outer.gradient(penalty, images)

    scale = layer.gamma / tf.sqrt(layer.moving_variance + 1e-5)
    outputs = scale * (images - layer.moving_mean) + layer.beta
    np.testing.assert_allclose(
        penalty_gradient(images), 36 * scale**3 * outputs**3, rtol=1e-3, atol=1e-4
    )


def test_frozen_batch_norm_stays_in_inference_mode():
    layer, images = _batch_norm(), _random((5, 3, 3, 4))
    layer.trainable = False
    np.testing.assert_array_equal(layer(images, training=True), layer(images, training=False))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("synchronized", [False, True])
def test_batch_norm_in_low_precision(dtype, training, synchronized):
    layer, images = _batch_norm(dtype=dtype, synchronized=synchronized), _random((5, 3, 3, 4))
    expected = _keras_twin(layer)(images, training=training)
    outputs = layer(images, training=training)
    assert outputs.dtype == layer.compute_dtype and layer.gamma.dtype == tf.float32
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, rtol=0.02, atol=0.05)


def test_two_replicas_normalise_as_one(mirrored):
    """Outputs, gradients and moving statistics of half batches equal those of the whole one."""
    images, weights = _random((6, 3, 3, 4)), _random((6, 3, 3, 4), 9)
    with mirrored.scope():
        layer = layers.batch_norm(0.9, 1e-5, "bn")
        layer.build((None, 3, 3, 4))
    assert layer.synchronized
    single = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    single.build((None, 3, 3, 4))

    def gradients(each, images, weights):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(weights * each(images, training=True))
        return tape.gradient(total, [images, each.gamma, each.beta])

    def share(values):
        return mirrored.experimental_distribute_values_from_function(
            lambda context: tf.split(values, 2)[context.replica_id_in_sync_group]
        )

    shared = tf.function(lambda x, w: mirrored.run(gradients, (layer, x, w)))(
        share(images), share(weights)
    )
    expected = gradients(single, images, weights)
    by_image = tf.concat(mirrored.experimental_local_results(shared[0]), 0)
    np.testing.assert_allclose(by_image, expected[0], rtol=1e-4, atol=1e-5)
    for value, other in zip(shared[1:], expected[1:]):
        summed = mirrored.reduce("SUM", value, axis=None)
        np.testing.assert_allclose(summed, other, rtol=1e-4, atol=1e-5)
    for value, other in zip(layer.weights, single.weights):
        np.testing.assert_allclose(value.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


RANDOM_LAYERS = {
    "dropout": (lambda **kw: random_layers.Dropout(0.25, **kw), 0.75),
    "stochastic_depth": (lambda **kw: random_layers.StochasticDepth(0.75, **kw), 0.75),
}


@pytest.fixture(params=RANDOM_LAYERS)
def random_layer(request):
    """A factory of random layers, and the share of draws they keep."""
    make, kept = RANDOM_LAYERS[request.param]
    return (lambda name="random", **kwargs: make(name=name, **kwargs)), kept


def test_random_layers_scale_what_they_keep(random_layer):
    make, kept = random_layer
    outputs = make()(tf.ones([4000, 1, 1, 1]), training=True).numpy()
    np.testing.assert_allclose(np.unique(outputs), [0.0, 1 / kept], rtol=1e-6)
    assert abs(np.mean(outputs > 0) - kept) < 0.03


def test_random_layers_are_the_identity_in_inference_mode(random_layer):
    layer, ones = random_layer[0](), tf.ones([50, 1, 1, 1])
    for training in (None, False):
        np.testing.assert_array_equal(layer(ones, training=training), ones)
    assert int(layer.calls.numpy()) == 0


def test_stochastic_depth_drops_whole_examples():
    outputs = random_layers.StochasticDepth(0.5)(tf.ones([64, 3, 3, 2]), training=True).numpy()
    assert all(len(np.unique(example)) == 1 for example in outputs)
    assert set(np.unique(outputs)) == {0.0, 2.0}


def test_random_layers_resume_where_their_counter_stood(random_layer):
    make, ones = random_layer[0], tf.ones([200, 1, 1, 1])
    first, second = make(), make()
    draws = [first(ones, training=True).numpy() for _ in range(4)]
    assert not np.array_equal(draws[0], draws[1])
    second(ones, training=True)
    second(ones)
    second.set_weights([np.int64(2)])
    np.testing.assert_array_equal(second(ones, training=True), draws[2])
    np.testing.assert_array_equal(tf.function(second)(ones, training=True), draws[3])


def test_random_layers_differ_by_name_and_seed(random_layer):
    make, ones = random_layer[0], tf.ones([200, 1, 1, 1])
    draws = [
        make(**kwargs)(ones, training=True).numpy().tobytes()
        for kwargs in ({}, {"name": "other"}, {"seed": 1})
    ]
    assert len(set(draws)) == 3


def test_random_layers_compile(random_layer):
    layer, ones = random_layer[0](), tf.ones([200, 1, 1, 1])
    layer.build(ones.shape)
    compiled = tf.function(lambda: layer(ones, training=True), jit_compile=True)
    first, second = compiled().numpy(), compiled().numpy()
    assert not np.array_equal(first, second) and int(layer.calls.numpy()) == 2


def test_random_layers_differ_by_replica_and_count_once(random_layer, mirrored):
    ones = tf.ones([200, 1, 1, 1])
    with mirrored.scope():
        layer = random_layer[0]()
        layer.build(ones.shape)
    draw = tf.function(lambda: mirrored.run(lambda: layer(ones, training=True)))
    first, second = mirrored.experimental_local_results(draw())
    assert not np.array_equal(first, second)
    alone = random_layer[0]()
    np.testing.assert_array_equal(alone(ones, training=True), first)
    draw()
    assert int(layer.calls.numpy()) == 2


def test_stochastic_depth_follows_the_releases_rule():
    features = tf.keras.Input((2, 2, 1))

    def survival(block, probability):
        outputs = random_layers.stochastic_depth(
            features,
            survival_probability=probability,
            block=block,
            num_blocks=16,
            name=f"depth{block}",
            seed=0,
        )
        return (
            None if outputs is features else tf.keras.Model(features, outputs).layers[-1].survival
        )

    assert survival(0, 0.8) is None and survival(9, 1.0) is None
    assert survival(8, 0.8) == pytest.approx(0.9) and survival(15, 0.8) == pytest.approx(0.8125)
