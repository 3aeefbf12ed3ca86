"""The networks by name: rows, names, and settings that reach the layers."""

import sys

import pytest
import tensorflow as tf

from sat_tf import models
from sat_tf.config import ModelConfig
from sat_tf.models import layers


@pytest.mark.parametrize(
    "name, expected",
    [
        ("efficientnet-bL1", "efficientnet-l1"),
        ("efficientnet-bL2", "efficientnet-l2"),
        ("EfficientNet-B7", "efficientnet-b7"),
        ("ResNeXt50-32x4d", "resnext50-32x4d"),
    ],
)
def test_canonical_name(name, expected):
    assert models.canonical_name(name) == expected


@pytest.mark.parametrize("function", [models.canonical_name, models.create])
def test_unknown_names_are_refused_with_the_known_ones(function):
    with pytest.raises(ValueError, match="resnet51.*resnext50-32x4d.*efficientnet-b0"):
        function("resnet51")


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match="image_size=7"):
        models.create("resnet20", image_size=7)


@pytest.mark.parametrize(
    "name, epsilon, size, dropout, survival",
    [
        ("resnet20", 1e-5, 32, 0.0, 1.0),
        ("resnet18", 1e-5, 224, 0.0, 1.0),
        ("resnet32", 1e-5, 32, 0.0, 1.0),
        ("resnet34", 1e-5, 224, 0.0, 1.0),
        ("preact-resnet18", 1e-5, 32, 0.0, 1.0),
        ("wide-resnet-34-10", 1e-5, 32, 0.0, 1.0),
        ("resnet50", 1e-5, 224, 0.0, 1.0),
        ("efficientnet-b0", 1e-5, 224, 0.2, 0.8),
        ("efficientnet-l1", 1e-5, 600, 0.5, 0.8),
    ],
)
def test_settings_of_the_rows(name, epsilon, size, dropout, survival):
    row = models.MODELS[name]
    assert (row.batch_norm_momentum, row.batch_norm_epsilon) == (0.9, epsilon)
    assert (row.image_size, row.dropout_rate, row.survival_probability) == (size, dropout, survival)


@pytest.mark.parametrize("name", ["resnet20", "efficientnet-b0"])
def test_settings_reach_the_layers(name):
    config = ModelConfig(
        name=name,
        activation="celu",
        activation_alpha=2.0,
        image_size=16,
        num_classes=7,
        dropout_rate=0.3,
        survival_probability=0.6,
        batch_norm_momentum=0.8,
        batch_norm_epsilon=1e-3,
    )
    with tf.Graph().as_default():
        model = models.build(config, seed=5)
    by_class = {}
    for layer in model.layers:
        by_class.setdefault(type(layer).__name__, []).append(layer)
    assert model.input_shape == (None, 16, 16, 3) and model.output_shape == (None, 7)
    assert {layer.alpha for layer in by_class["ElementwiseActivation"]} == {2.0}
    assert {(layer.momentum, layer.epsilon) for layer in by_class["BatchNormalization"]} == {
        (0.8, 1e-3)
    }
    assert [(layer.rate, layer.seed) for layer in by_class["Dropout"]] == [(0.3, 5)]
    blocks = 9 if name == "resnet20" else 16
    shares = [layer.survival for layer in by_class["StochasticDepth"]]
    assert shares[-1] == pytest.approx(
        1 - 0.4 * ((blocks - 1) if name == "resnet20" else 14) / blocks
    )
    assert shares == sorted(shares, reverse=True)


def test_options_of_sparta_reach_the_layers():
    settings = dict(
        name="resnet20",
        activation="sparta",
        activation_alpha=None,
        image_size=16,
        num_classes=7,
        dropout_rate=0.0,
        survival_probability=1.0,
        batch_norm_momentum=0.9,
        batch_norm_epsilon=1e-5,
    )
    with tf.Graph().as_default():
        model = models.build(
            ModelConfig(**settings, sparta_kernel_size=5, sparta_shared=True, sparta_gain=2.0)
        )
    sites = models.activation_layers(model).values()
    assert {(s.kernel_size, s.shared, s.gain) for s in sites} == {(5, True, 2.0)}
    assert all(site.trainable for site in sites) and len(sites) == 19
    with pytest.raises(ValueError, match="swish has no gain"):
        models.create("resnet20", activation_options={"gain": 2.0})


@pytest.mark.parametrize("activation, weights", [("smoothrelu", 1), ("sparta", 2)])
def test_frozen_activations_are_not_trained(activation, weights):
    settings = dict(
        name="resnet20",
        activation=activation,
        activation_alpha=None,
        image_size=16,
        num_classes=7,
        dropout_rate=0.0,
        survival_probability=1.0,
        batch_norm_momentum=0.9,
        batch_norm_epsilon=1e-5,
    )
    with tf.Graph().as_default():
        free, frozen = (
            models.build(ModelConfig(**settings, freeze_activation=freeze))
            for freeze in (False, True)
        )
    names = [[w.name for w in model.trainable_weights] for model in (free, frozen)]
    assert len(names[0]) - len(names[1]) == 19 * weights
    assert not any("activation" in name for name in names[1])
    assert [w.shape for w in free.weights] == [w.shape for w in frozen.weights]


def test_a_network_may_be_deeper_than_pythons_limit():
    limit = sys.getrecursionlimit()
    images = features = tf.keras.Input((1,))
    for _ in range(limit + 100):
        features = tf.keras.layers.Activation("linear")(features)
    network = layers.network(images, features, name="deep")
    assert len(network.layers) == limit + 101
    assert sys.getrecursionlimit() == limit
