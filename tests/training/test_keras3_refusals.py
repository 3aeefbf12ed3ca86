"""What an AdversarialModel of a Keras 3 classifier refuses, in one line that names it."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

import sat_tf
from sat_tf.training import AdversarialModel

pytestmark = pytest.mark.smoke

keras = pytest.importorskip("keras", minversion="3")

IMAGES, LABELS = tiny.examples(8)


def network(*ends):
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
    for layer in ends:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name="linear")


def wrapped(*ends, **kwargs):
    return AdversarialModel(network(*ends), "standard", **kwargs)


class Derived(AdversarialModel):
    pass


def two_inputs():
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    return keras.Model(inputs, network()(inputs[0] + inputs[1]))


REFUSED = {
    "attack_gradient": (
        lambda: wrapped(attack_gradient="relu"),
        "'linear' is of Keras 3, .* leave attack_gradient and update_gradient None",
    ),
    "update_gradient": (lambda: wrapped(update_gradient="relu"), "the derivative of relu would"),
    "an unknown method": (lambda: AdversarialModel(network(), "pdg"), "unknown method 'pdg'"),
    "weight_decay_on": (lambda: wrapped(weight_decay_on="all"), "unknown weight_decay_on 'all'"),
    "sam": (lambda: wrapped(sam=0.05), "sam=0.05: give a sat_tf.training.SAM"),
    "no weights": (
        lambda: AdversarialModel(keras.Sequential([keras.layers.Dense(4)]), "standard"),
        "has no weights yet: build it first",
    ),
    "two inputs": (lambda: AdversarialModel(two_inputs(), "standard"), "takes 2 inputs"),
    "a layer": (
        lambda: AdversarialModel(keras.layers.Dense(4), "standard"),
        "classifier is a Dense: give a tf.keras.Model, or a keras.Model of Keras 3",
    ),
    "a softmax": (lambda: wrapped(keras.layers.Softmax()), "give from_logits=False"),
    "no softmax": (lambda: wrapped(from_logits=False), "leave out from_logits=False"),
    "maps": (lambda: wrapped(keras.layers.Reshape((2, 2))), "returns shape"),
    "a derived class": (lambda: Derived(network(), "standard"), "Derived is derived from a model"),
    "a loss": (lambda: wrapped().compile("sgd", loss="mse"), "the training method defines"),
    "metrics of tf.keras": (
        lambda: wrapped().compile(metrics=[tf.keras.metrics.SparseCategoricalAccuracy()]),
        "metrics: 'sparse_categorical_accuracy' is a metric of tf_keras, and",
    ),
    "callbacks of tf.keras": (
        lambda: wrapped().fit(IMAGES, LABELS, callbacks=[tf.keras.callbacks.History()]),
        "callbacks: History is no callback of Keras 3",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_by_name(what):
    refused, message = REFUSED[what]
    with pytest.raises(ValueError, match=message) as caught:
        refused()
    assert "\n" not in str(caught.value)


def test_metrics_of_keras_3_are_refused_for_a_model_of_tf_keras():
    model = AdversarialModel(tiny.network(), "standard")
    with pytest.raises(ValueError, match="'mean' is a metric of keras, and the classifier is of"):
        model.compile(metrics=[keras.metrics.Mean("mean")])


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="'linear' runs on the backend 'jax': set KERAS_BACKEND="):
        wrapped()


def test_what_was_made_outside_of_the_strategys_scope_is_refused(mirrored):
    other = "'linear' was made in another scope than that of MirroredStrategy"
    outside = network()
    without = AdversarialModel(outside, "standard")
    with mirrored.scope():
        with pytest.raises(ValueError, match=other):
            AdversarialModel(outside, "standard")
        with pytest.raises(ValueError, match=other):
            without.compile("sgd")
        inside = network()
        model = AdversarialModel(inside, "standard")
    with pytest.raises(ValueError, match="'linear' was made in another scope than"):
        AdversarialModel(inside, "standard")
    with pytest.raises(ValueError, match="the optimizer was made in another scope than"):
        model.compile(keras.optimizers.SGD())
    model.compile("sgd")
    without.compile("sgd")
    with pytest.raises(ValueError, match=other), mirrored.scope():
        without.fit(IMAGES, LABELS, verbose=0)


def test_losses_of_activations_are_refused_on_several_replicas(mirrored):
    with mirrored.scope():
        model = wrapped(keras.layers.ActivityRegularization(l2=0.1))
        model.compile(keras.optimizers.SGD())
    with pytest.raises(ValueError, match="'linear' has activity regularizers or calls add_loss"):
        model.fit(IMAGES, LABELS, verbose=0)


def test_the_model_of_keras_3_refuses_a_classifier_of_tf_keras():
    model = wrapped()
    assert not isinstance(model, AdversarialModel) and isinstance(model, keras.Model)
    with pytest.raises(ValueError, match="give a keras.Model of Keras 3, and any other one to"):
        type(model)(tiny.network(), "standard")
    with pytest.raises(ValueError, match="was given by name"):
        AdversarialModel(network(), sat_tf.training.methods.standard()).get_config()


def test_images_out_of_range_are_refused():
    model = wrapped()
    model.compile()
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="images must be within"):
        model.fit(255 * IMAGES, LABELS.astype(np.uint8), verbose=0)
