"""Self-checks before an attack: nothing on sound networks, warnings on those unfit to be judged."""

import networks
import numpy as np
import pytest
import tensorflow as tf
import tiny
from network_checks import IMAGES, LABELS, names

from sat_tf import models
from sat_tf.errors import NotTrustworthy
from sat_tf.evaluation.checks import network as self_checks
from sat_tf.evaluation.checks.network import examine

# Sound networks


@pytest.mark.smoke
@pytest.mark.parametrize(
    "activation, policy",
    [
        ("relu", "float32"),
        ("swish", "float32"),
        ("relu", "mixed_float16"),
        ("swish", "mixed_bfloat16"),
        ("swish", "float16"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                *(("mish", "float32"), ("mish", "mixed_float16")),
                *(("relu", "mixed_bfloat16"), ("mish", "bfloat16")),
            )
        ),
    ],
)
def test_nothing_is_found_on_a_sound_network(activation, policy):
    logits_fn = tiny.trained(activation, policy)
    accuracy = np.mean(np.argmax(logits_fn(IMAGES), -1) == LABELS)
    assert accuracy == 1 or policy == "bfloat16"  # whose batch norm is that imprecise
    assert names(logits_fn, loss_scale=128.0 if policy == "mixed_float16" else 1.0) == []


@pytest.mark.parametrize(
    "builder",
    [
        networks.SMALL["resnet"],
        pytest.param(models.MODELS["resnet20"].builder, marks=pytest.mark.slow),
    ],
    ids=["small", "resnet20"],
)
def test_nothing_is_found_on_an_untrained_network(builder):
    network = networks.small(builder, num_classes=10, image_size=8, activation="swish")
    assert names(lambda images: network(images, training=False)) == []


@pytest.mark.parametrize("scale, offset", [(1e-6, 0.0), (1.0, 1e4), (10.0, -100.0)])
def test_the_scale_of_logits_does_not_matter(scale, offset):
    logits_fn = tiny.trained()
    assert names(lambda images: scale * logits_fn(images) + offset) == []


@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_batches_may_be_small_or_odd(count):
    logits_fn = tiny.trained()
    assert examine(logits_fn, IMAGES[:count], LABELS[:count]) == []
    stopped = lambda images: logits_fn(2 * tf.stop_gradient(images) - images)
    with pytest.raises(NotTrustworthy, match="gradient mismatch"):
        examine(stopped, IMAGES[:count], LABELS[:count])
    if count > 1:
        network = logits_fn.network
        with pytest.raises(NotTrustworthy, match="batch dependence"):
            examine(lambda images: network(images, training=True), IMAGES[:count], LABELS[:count])


def test_only_two_graphs_are_traced():
    logits_fn, calls = tiny.trained(), []

    def counting(images):
        calls.append(images.shape)
        return logits_fn(images)

    images, labels = tiny.examples(100)
    assert examine(counting, images, labels) == []
    assert calls == [(64, 8, 8, 3)] * 2


# Networks that answer in an unfit way


@pytest.mark.smoke
def test_a_randomised_model_is_found():
    logits_fn = tiny.trained()
    assert names(lambda images: logits_fn(tf.nn.dropout(images, 0.2))) == ["randomised_model"]
    slightly = lambda images: logits_fn(images + tf.random.normal(tf.shape(images), stddev=1e-3))
    assert names(slightly) == ["randomised_model"]


def test_probabilities_are_found():
    logits_fn = tiny.trained()
    assert names(lambda images: tf.nn.softmax(logits_fn(images))) == ["probabilities_as_logits"]
    half = tiny.trained(policy="mixed_bfloat16")
    assert "probabilities_as_logits" in names(
        lambda images: tf.nn.softmax(tf.cast(half(images), tf.bfloat16))
    )
    assert names(lambda images: tf.sigmoid(logits_fn(images))) == []  # their sum is not 1


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_too_few_classes_are_found(classes):
    logits_fn = tiny.trained()
    found = names(lambda images: logits_fn(images)[:, :classes])
    assert "too_few_classes" in found
    assert found == ["too_few_classes"] or classes == 1  # of one class there is no loss to climb


def test_zero_gradients_are_found():
    logits_fn = tiny.trained()
    [finding] = examine(lambda images: 1e6 * logits_fn(images), IMAGES, LABELS)
    assert finding.name == "zero_gradients"
    assert "32 correctly" in finding.text
    assert "cross-entropy on 100%" in finding.text and "DLR on 0%" in finding.text
    [finding] = examine(lambda images: tf.tanh(30 * logits_fn(images)), IMAGES, LABELS)
    assert finding.name == "zero_gradients" and "DLR on 100%" in finding.text
    assert names(lambda images: tf.sign(logits_fn(images))) == ["zero_gradients"]


@pytest.mark.parametrize("dead, expected", [(1, []), (2, ["zero_gradients"])])
def test_from_a_twentieth_of_the_examples_zero_gradients_count(dead, expected):
    logits_fn = tiny.trained()
    alive = tf.constant(np.arange(32) >= dead)[:, None]  # 1 / 32 and 2 / 32

    def partly(images):
        logits = logits_fn(images)
        return tf.where(alive, logits, tf.stop_gradient(logits))

    images, labels = tf.constant(IMAGES), LABELS
    network = self_checks.gradients_of.Network(partly)
    found = self_checks._look_at_gradients(network, images.numpy(), labels, network.logits(images))
    assert [finding.name for finding in found] == expected


@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_steep_functions_are_no_mismatch(activation):
    logits_fn = tiny.trained(activation)
    assert names(lambda images: logits_fn(images) + 0.5 * tf.sin(100 * logits_fn(images))) == []


def test_a_kink_at_the_pixels_themselves_is_no_mismatch():
    images = np.round(IMAGES * 4) / 4  # every pixel on a kink, and many on the bounds
    weights = np.random.default_rng(0).normal(size=(192, 4)).astype("float32")

    def logits_fn(images):
        folded = sum(tf.nn.relu(images - level / 4) * (-1.0) ** level for level in range(5))
        return tf.reshape(folded, [-1, 192]) @ weights

    assert examine(logits_fn, images, LABELS) == []


def test_a_randomised_model_is_not_asked_for_its_gradient():
    logits_fn = tiny.trained()
    assert names(
        lambda images: logits_fn(
            2 * tf.stop_gradient(images) - images + tf.random.normal(tf.shape(images), stddev=0.01)
        )
    ) == ["randomised_model"]
