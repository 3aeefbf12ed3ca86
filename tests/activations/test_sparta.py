"""Sparta against a NumPy twin with any weights, its start, its options, precisions and saving."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf import activations, saved_models
from sat_tf.activations import sparta
from sat_tf.training import AdversarialModel, create, optimization

pytestmark = pytest.mark.smoke


def _twin(x, taps, bias, gain=1.0):
    """In float64; taps [k, k, channels, 1], or one channel of them for all."""
    x, taps = np.asarray(x, np.float64), np.asarray(taps, np.float64)
    size = taps.shape[0]
    half, (height, width) = size // 2, x.shape[1:3]
    padded = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
    evidence = (
        sum(
            padded[:, i : i + height, j : j + width] * taps[i, j, :, 0]
            for i in range(size)
            for j in range(size)
        )
        + bias
    )
    return gain * x / (1 + np.exp(-evidence))


def _features(shape=(2, 6, 5, 3), seed=0, scale=2.0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * scale


def _layer(x, seed=1, **options):
    """A layer with random weights."""
    layer = activations.create("sparta", **options)(name="site")
    layer.build(x.shape)
    for weight in layer.weights:
        weight.assign_add(_features(weight.shape, seed, 0.3))
    return layer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shared": True},
        {"kernel_size": 1},
        {"kernel_size": 5, "gain": 2.0},
        {"kernel_size": 7, "shared": True, "gain": 0.5},
    ],
    ids=str,
)
def test_value_equals_the_twin(options):
    x = _features()
    layer = _layer(x, **options)
    size, channels = options.get("kernel_size", 3), 1 if options.get("shared") else 3
    taps, bias = layer.get_weights()
    assert taps.shape == (size, size, channels, 1) and bias.shape == (channels,)
    expected = _twin(x, taps, bias, options.get("gain", 1.0))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_equal_the_twins_differences(shared):
    x = _features((1, 4, 3, 2))
    layer = _layer(x, shared=shared)
    values = [np.asarray(value, np.float64) for value in (x, *layer.get_weights())]
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        total = tf.reduce_sum(layer(inputs) ** 2)
    gradients = [g.numpy() for g in tape.gradient(total, [inputs, *layer.trainable_weights])]
    for i, gradient in enumerate(gradients):
        for index in list(np.ndindex(values[i].shape))[::3]:
            sides = []
            for step in (1e-6, -1e-6):
                moved = [value.copy() for value in values]
                moved[i][index] += step
                sides.append(np.sum(_twin(*moved) ** 2))
            assert gradient[index] == pytest.approx(
                (sides[0] - sides[1]) / 2e-6, rel=1e-4, abs=1e-4
            )


@pytest.mark.parametrize(
    "options", [{}, {"kernel_size": 5}, {"shared": True}, {"gain": 2.0, "shared": True}], ids=str
)
def test_it_starts_as_swish(options):
    x = tf.constant(_features())
    value = activations.create("sparta", **options)()(x)
    np.testing.assert_allclose(
        value, options.get("gain", 1.0) * tf.nn.silu(x), rtol=1e-6, atol=1e-7
    )


def test_neighbours_decide_but_other_channels_and_images_do_not():
    x = tf.constant(_features((2, 5, 5, 2)))
    layer = _layer(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        one = layer(x)[0, 2, 2, 1]
    reached = np.argwhere(tape.gradient(one, x).numpy())
    assert sorted(map(tuple, reached)) == [(0, i, j, 1) for i in (1, 2, 3) for j in (1, 2, 3)]


@pytest.mark.parametrize("dtype, rtol", [("float16", 3e-3), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("compiled", [False, True])
def test_reduced_precision_rounds_once(dtype, rtol, compiled):
    x = tf.cast(_features(scale=20.0), dtype)
    layer = activations.create("sparta")(dtype=tf.keras.mixed_precision.Policy(f"mixed_{dtype}"))
    layer.build(x.shape)
    layer.attention_taps.assign_add(_features(layer.attention_taps.shape, 1, 0.3))

    @tf.function(jit_compile=compiled)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = layer(x)
        return value, tape.gradient(value, [x, *layer.trainable_weights])

    value, gradients = run(x)
    assert value.dtype == gradients[0].dtype == dtype
    assert [g.dtype for g in gradients[1:]] == [tf.float32] * 2
    assert {w.dtype for w in layer.weights} == {tf.float32}
    expected = _twin(tf.cast(x, tf.float32), *layer.get_weights())
    np.testing.assert_allclose(tf.cast(value, tf.float32), expected, rtol=rtol, atol=1e-3)


def test_a_sum_of_neighbours_may_be_more_than_float16_holds():
    layer = activations.create("sparta")(dtype=tf.keras.mixed_precision.Policy("mixed_float16"))
    x = tf.fill([1, 3, 3, 1], tf.constant(6e4, tf.float16))
    layer.build(x.shape)
    layer.attention_taps.assign(-1.9 * tf.ones_like(layer.attention_taps))
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = layer(x)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(tape.gradient(value, x)))


def test_compiled_equals_graph():
    x = tf.constant(_features())
    layer = _layer(x)

    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = layer(x)
        return [value, *tape.gradient(value, [x, *layer.trainable_weights])]

    for value, expected in zip(tf.function(run, jit_compile=True)(), tf.function(run)()):
        np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("shape", [[4], [2, 8], [2, 8, 3], [2, 4, 4, None]])
def test_what_is_no_feature_map_is_refused(shape):
    with pytest.raises(
        ValueError, match=r"site: sparta needs feature maps \[batch, height"
    ) as refusal:
        sparta.Sparta(name="site").build(tf.TensorShape(shape))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"kernel_size": 2}, "kernel_size is 2: give an odd number"),
        ({"kernel_size": -1}, "odd"),
        ({"gain": 0.0}, "gain is 0.0: give a number above 0"),
        ({"gain": float("nan")}, "gain is nan"),
    ],
)
def test_bad_options_are_refused_before_a_layer_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        activations.create("sparta", **options)


def _network(**options):
    inputs = tf.keras.Input((tiny.SIZE, tiny.SIZE, 3))
    features = tf.keras.layers.Conv2D(4, 3, strides=2, padding="same")(inputs)
    features = activations.create("sparta", **options)(name="site")(features)
    features = tf.keras.layers.GlobalAveragePooling2D()(features)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(tiny.CLASSES)(features))


def test_saved_with_its_options_and_weights(tmp_path):
    network = _network(kernel_size=5, shared=True, gain=2.0)
    site = network.get_layer("site")
    site.attention_taps.assign_add(_features(site.attention_taps.shape))
    images, _ = tiny.examples(4)
    network.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("site").get_config() == site.get_config()
    assert site.get_config()["kernel_size"] == 5 and site.get_config()["gain"] == 2.0
    np.testing.assert_array_equal(loaded(images), network(images))


def test_the_export_has_its_gradient(tmp_path):
    network = _network()
    site = network.get_layer("site")
    site.attention_taps.assign_add(_features(site.attention_taps.shape))
    saved_models.export(network, tmp_path / "export", image_size=tiny.SIZE)
    exported = tf.saved_model.load(str(tmp_path / "export"))
    images = tf.constant(tiny.examples(4)[0])
    gradients = []
    for logits_fn in (network, exported.logits):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(logits_fn(images) ** 2)
        gradients.append(tape.gradient(total, images))
    np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("on, count", [("kernels", 2), ("all_but_batch_norm", 4)])
def test_weight_decay_leaves_it_alone(on, count):
    decayed = optimization.decayed_variables(_network().trainable_variables, on)
    assert len(decayed) == count and not any("attention" in v.name for v in decayed)


def test_two_replicas_learn_what_one_does(mirrored, one_device):
    images, labels = tiny.examples(16)
    learnt = []
    for strategy in (one_device, mirrored):
        tf.keras.utils.set_random_seed(3)
        with strategy.scope():
            model = AdversarialModel(
                _network(), create("pgd", epsilon=0.03, num_steps=1, random_start=False)
            )
            model.compile(tf.keras.optimizers.SGD(0.5))
        model.fit(images, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)
        learnt.append([weight.numpy() for weight in model.classifier.get_layer("site").weights])
    for one, two in zip(*learnt):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    assert np.abs(learnt[0][0] - sparta._centre_tap([3, 3, 4, 1])).max() > 1e-4
