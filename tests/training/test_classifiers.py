"""Classifiers that an AdversarialModel takes, and those that it refuses as it is made."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf.training import AdversarialModel

pytestmark = pytest.mark.smoke

LAYERS = tf.keras.layers


def ending_in(*layers):
    network = tiny.network()
    outputs = network.output
    for layer in layers:
        outputs = layer(outputs)
    return tf.keras.Model(network.input, outputs)


class Subclassed(tf.keras.Model):
    def __init__(self, end):
        super().__init__()
        self.network, self.end = tiny.network(), end

    def call(self, images):
        return self.end(self.network(images))


def called(model):
    model(tiny.examples(2)[0])
    return model


SOFTMAX = {
    "function": lambda: ending_in(tf.nn.softmax),
    "lambda": lambda: ending_in(LAYERS.Lambda(lambda x: tf.nn.softmax(x))),
    "layer": lambda: ending_in(LAYERS.Softmax()),
    "activation": lambda: ending_in(LAYERS.Activation("softmax")),
    "nested": lambda: tf.keras.Sequential([tiny.network(), LAYERS.Softmax()]),
    "dense": lambda: ending_in(LAYERS.Dense(5, activation="softmax")),
    "operations": lambda: ending_in(tf.exp, lambda e: e / tf.reduce_sum(e, -1, keepdims=True)),
    "subclassed": lambda: called(Subclassed(tf.nn.softmax)),
    "flattened": lambda: ending_in(LAYERS.Softmax(), LAYERS.Flatten()),
}


@pytest.mark.parametrize("kind", SOFTMAX)
def test_a_softmax_of_any_making_is_recognised(kind):
    classifier = SOFTMAX[kind]()
    with pytest.raises(ValueError, match=r"ends in a softmax \(its outputs sum to 1\)"):
        AdversarialModel(classifier, "standard")
    model = AdversarialModel(classifier, "standard", from_logits=False)
    images, _ = tiny.examples(4)
    np.testing.assert_allclose(tf.nn.softmax(model.logits(images)), classifier(images), atol=1e-5)


@pytest.mark.parametrize(
    "classifier",
    [
        lambda: tiny.network(),
        lambda: ending_in(tf.nn.log_softmax),
        lambda: ending_in(LAYERS.Activation("sigmoid")),
        lambda: called(Subclassed(tf.identity)),
    ],
)
def test_what_is_no_softmax_passes_for_logits_and_not_for_probabilities(classifier):
    AdversarialModel(classifier(), "standard")
    with pytest.raises(ValueError, match="are no probabilities"):
        AdversarialModel(classifier(), "standard", from_logits=False)


OUTPUTS = {
    "a logit": (lambda: ending_in(LAYERS.Dense(1)), r"one output: .*tf.concat"),
    "a sigmoid": (
        lambda: ending_in(LAYERS.Dense(1, activation="sigmoid")),
        r"one output: .*tf.concat",
    ),
    "no last dimension": (lambda: ending_in(lambda x: x[:, 0]), "one output: "),
    "rank 4": (lambda: ending_in(LAYERS.Reshape((1, 1, 4))), r"returns shape.*Flatten\(\)"),
    "rank 3": (lambda: ending_in(LAYERS.Reshape((2, 2))), r"returns shape.*Flatten\(\)"),
    "a list": (
        lambda: ending_in(lambda x: [x, 2 * x]),
        "a list of 2 outputs: give the logits alone",
    ),
    "a dictionary": (
        lambda: called(Subclassed(lambda x: {"a": x, "b": x})),
        "a dict of 2 outputs: give the logits alone",
    ),
    "a tuple": (lambda: called(Subclassed(lambda x: (x, x))), "a tuple of 2 outputs"),
}


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("kind", OUTPUTS)
def test_other_outputs_are_refused_in_one_line(kind, from_logits):
    make, message = OUTPUTS[kind]
    with pytest.raises(ValueError, match=message) as refused:
        AdversarialModel(make(), "standard", from_logits=from_logits)
    assert "\n" not in str(refused.value)


def test_several_inputs_are_refused():
    inputs = [tf.keras.Input((8, 8, 3)), tf.keras.Input((8, 8, 3))]
    outputs = tiny.network()(inputs[0] + inputs[1])
    with pytest.raises(ValueError, match="takes 2 inputs: give a model of the images alone"):
        AdversarialModel(tf.keras.Model(inputs, outputs), "standard")


def test_what_is_no_keras_model_is_refused():
    with pytest.raises(ValueError, match="classifier is a function: give a tf.keras.Model"):
        AdversarialModel(lambda images: images, "standard")


def test_images_of_any_size_are_probed_as_well():
    inputs = tf.keras.Input((None, None, 3))
    features = LAYERS.GlobalAveragePooling2D()(LAYERS.Conv2D(4, 3)(inputs))
    with pytest.raises(ValueError, match="ends in a softmax"):
        AdversarialModel(tf.keras.Model(inputs, LAYERS.Softmax()(features)), "standard")
