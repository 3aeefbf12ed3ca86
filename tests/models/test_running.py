"""What holds for every network that runs: seeds, saving, precision, training."""

import json

import networks
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import models

# A row of each family is slow; every day the smallest network of the family stands in for it.
FAMILIES = {"resnet": "resnet20", "efficientnet": "efficientnet-b0"}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES.values()]
every_family = pytest.mark.parametrize("name", [*FAMILIES, *SLOW])
# With an EfficientNet these take longer.
every_family_slowly = pytest.mark.parametrize(
    "name", ["resnet", pytest.param("efficientnet", marks=pytest.mark.slow), *SLOW]
)


def _create(name, image_size=16, **settings):
    """A row, or the small network of that name, for five classes."""
    if name in networks.SMALL:
        return networks.small(networks.SMALL[name], image_size=image_size, **settings)
    return models.create(name, image_size=image_size, num_classes=5, **settings)


def test_every_family_runs_here():
    assert set(FAMILIES) == {row.family for row in models.MODELS.values()}


@every_family_slowly
def test_the_seed_alone_decides_the_weights(name):
    first = _create(name, image_size=32, seed=3).get_weights()
    tf.random.uniform([3])
    tf.keras.layers.Dense(4).build([None, 2])
    tf.keras.utils.set_random_seed(11)
    again = _create(name, image_size=32, seed=3).get_weights()
    other = _create(name, image_size=32, seed=4).get_weights()
    for weight, same in zip(first, again):
        np.testing.assert_array_equal(weight, same)
    assert any(not np.array_equal(weight, changed) for weight, changed in zip(first, other))
    kernels = [weight.ravel()[:8].tobytes() for weight in first if weight.ndim == 4]
    assert len(set(kernels)) == len(kernels)  # no two layers alike


def _randomized(name, image_size=16, batch=3, **kwargs):
    """A small network in which every weight matters (fresh ones have gammas of zero)."""
    model = _create(name, image_size, **kwargs)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.shape.rank == 1:
            weight.assign_add(random.uniform(0.0, 0.3, weight.shape))
    return model, tf.constant(random.random((batch, image_size, image_size, 3)), tf.float32)


@every_family_slowly
@pytest.mark.parametrize("activation", ["smoothrelu"])
def test_saved_networks_answer_the_same(name, activation, tmp_path):
    model, images = _randomized(name, activation=activation)
    logits = model(images)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), logits)
    model.save_weights(tmp_path / "weights.h5")
    fresh = _create(name, activation=activation, seed=1)
    fresh.load_weights(tmp_path / "weights.h5")
    np.testing.assert_array_equal(fresh(images), logits)


def test_a_config_is_plain_json():
    model = _create("efficientnet", dropout_rate=0.2, survival_probability=0.8)
    assert json.loads(model.to_json())["class_name"] == "Functional"


@every_family
@pytest.mark.parametrize(
    "policy, activation",
    [
        ("mixed_float16", "swish"),
        ("mixed_bfloat16", "smoothrelu"),
        pytest.param("mixed_float16", "smoothrelu", marks=pytest.mark.slow),
        pytest.param("mixed_bfloat16", "swish", marks=pytest.mark.slow),
    ],
)
def test_logits_and_weights_are_float32_under_mixed_precision(name, policy, activation):
    tf.keras.mixed_precision.set_global_policy(policy)
    model, images = _randomized(name, activation=activation)
    assert {weight.dtype for weight in model.trainable_weights} == {tf.float32}
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = model(images, training=False)
    gradient = tape.gradient(logits, images)
    assert logits.dtype == gradient.dtype == tf.float32
    assert np.all(np.isfinite(logits)) and np.all(np.isfinite(gradient))


@every_family
def test_training_mode_resumes_with_the_weights(name):
    """A copy of the weights draws the same dropout and the same depth from there on."""
    model, images = _randomized(name, dropout_rate=0.4, survival_probability=0.5)
    train = tf.function(lambda: model(images, training=True))
    first = train()
    weights = model.get_weights()
    second, third = train(), train()
    assert not np.array_equal(second, third) and not np.array_equal(first, second)
    model.set_weights(weights)
    np.testing.assert_array_equal(train(), second)
    np.testing.assert_array_equal(train(), third)


@every_family
@pytest.mark.parametrize("activation", ["smoothrelu", "sparta"])
def test_one_step_moves_every_weight(name, activation):
    """Nothing is built but left out: all gradients exist and are finite."""
    model, images = _randomized(name, activation=activation)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.nn.log_softmax(model(images, training=True))[:, 0])
    for weight, gradient in zip(
        model.trainable_weights, tape.gradient(loss, model.trainable_weights)
    ):
        assert gradient is not None and np.all(np.isfinite(gradient)), weight.name


@every_family_slowly
def test_compiled_training_pass_equals_the_graph(name):
    """With draws switched off: XLA turns the same seeds into other numbers.

    The last maps have several pixels of several images: batch norm over fewer values amplifies
    a change of one rounding in the input to a change of everything.
    """
    model, images = _randomized(
        name, image_size=64, batch=8, dropout_rate=0.0, survival_probability=1.0
    )
    weights = model.get_weights()

    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(images, training=True) ** 2)
        return loss, tape.gradient(loss, model.get_layer("linear").kernel)

    results = []
    for compiled in (False, True):
        model.set_weights(weights)
        results.append([*tf.function(gradient, jit_compile=compiled)(), *model.get_weights()])
    for value, expected in zip(*results):
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-4)


@every_family_slowly
def test_random_layers_compile_within_the_network(name):
    model, images = _randomized(name, dropout_rate=0.4, survival_probability=0.5)
    train = tf.function(lambda: model(images, training=True), jit_compile=True)
    assert not np.array_equal(train(), train())
