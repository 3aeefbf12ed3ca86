"""Any classifier is a function from images to logits, or is refused in one line before it runs."""

import sys

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf.errors import UserError
from sat_tf.evaluation.classifier import classifier_of

pytestmark = pytest.mark.smoke

IMAGES = tiny.examples(6)[0]


class Module(tf.Module):
    def __call__(self, images):
        return tf.reduce_mean(images, [1, 2])


class Subclassed(tf.keras.Model):
    """A model of somebody's own whose call knows of no `training`."""

    def __init__(self):
        super().__init__()
        self.network = tiny.stochastic_network()

    def call(self, images):
        return self.network(images)


class Averaged:
    """What `AdversarialModel` has of use here."""

    def evaluated_weights(self):
        raise AssertionError("whoever calls enters it")

    def logits(self, images, training=False):
        assert not training
        return tf.reduce_mean(images, [1, 2])


def test_a_keras_model_runs_in_inference_mode():
    network = tiny.stochastic_network()
    logits_fn, classes = classifier_of(network, IMAGES)
    assert classes == 10
    np.testing.assert_array_equal(logits_fn(IMAGES), network(IMAGES, training=False))
    own = Subclassed()
    own(IMAGES)
    logits_fn, _ = classifier_of(own, IMAGES)
    np.testing.assert_array_equal(logits_fn(IMAGES), logits_fn(IMAGES))


@pytest.mark.parametrize("kind", [Module(), Averaged(), tf.function(Module()), Module().__call__])
def test_functions_modules_and_what_has_logits_of_its_own(kind):
    logits_fn, classes = classifier_of(kind, IMAGES)
    assert classes == 3
    np.testing.assert_allclose(logits_fn(IMAGES), IMAGES.mean((1, 2)), rtol=1e-5)


def test_a_keras_3_model_is_one_too():
    keras = pytest.importorskip("keras", minversion="3")
    assert keras is sys.modules["keras"] and keras.Model is not tf.keras.Model
    inputs = keras.Input((8, 8, 3))
    features = keras.layers.Dropout(0.5)(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, keras.layers.Dense(4)(features))
    logits_fn, classes = classifier_of(network, IMAGES)
    assert classes == 4
    wanted = network(IMAGES, training=False)
    np.testing.assert_allclose(tf.function(logits_fn)(IMAGES), wanted, rtol=1e-4, atol=1e-5)


def test_a_number_of_classes_that_the_graph_does_not_tell_is_found_by_running():
    for shape in (tf.TensorShape([None, None]), tf.TensorShape(None)):

        def untold(images, shape=shape):
            logits = tf.numpy_function(lambda x: x.mean((1, 2)), [images], tf.float32)
            return tf.ensure_shape(logits, shape)

        logits_fn, classes = classifier_of(untold, IMAGES)
        assert classes == 3
        spec = tf.TensorSpec(IMAGES.shape, tf.float32)
        traced = tf.function(logits_fn).get_concrete_function(spec)
        assert traced.output_shapes[-1] == 3


def keras_model(*outputs, **named):
    inputs = tf.keras.Input((8, 8, 3))
    flat = tf.keras.layers.Flatten()(inputs)
    made = [layer(flat) for layer in outputs] or {name: one(flat) for name, one in named.items()}
    return tf.keras.Model(inputs, made[0] if len(outputs) == 1 else made)


DENSE = tf.keras.layers.Dense
MAPS = tf.keras.layers.Reshape((8, 8, 3))
REFUSED = {
    "two outputs": (lambda: keras_model(DENSE(4), DENSE(2)), r"a list of 2 outputs: .*\[0\]"),
    "named outputs": (
        lambda: keras_model(logits=DENSE(4), features=DENSE(2)),
        "returns a dict of 2 outputs: .*'logits'",
    ),
    "one output": (lambda: keras_model(DENSE(1)), r"shape \(6, 1\), one output: attacks need at"),
    "maps": (lambda: keras_model(MAPS), r"returns shape \(6, 8, 8, 3\): give"),
    "one for all": (lambda: lambda x: tf.reduce_mean(x, [0, 1, 2])[None], r"shape \(1, 3\) for 6"),
    "flat": (lambda: lambda x: tf.reduce_mean(x, [1, 2, 3]), r"returns shape \(6,\), one output"),
    "classes": (lambda: lambda x: tf.argmax(tf.reduce_mean(x, [1, 2]), -1), "int64: give fl"),
    "nothing": (lambda: lambda x: None, "returns NoneType: give a tensor"),
    "another size": (lambda: lambda x: tf.ensure_shape(x, [None, 9, 9, 3]), "cannot be run on im"),
    "NumPy": (lambda: lambda x: x.numpy().mean((1, 2)), "cannot be run .* in a TensorFlow graph"),
    "without weights": (lambda: tf.keras.Sequential([DENSE(4)]), "has no weights yet; build"),
    "a path": (lambda: "runs/mine/saved_model", "'runs/mine/saved_model' is no function; give a K"),
    "a loaded thing": (lambda: type("Loaded", (), {"logits_fn": 1})(), "give its `logits_fn`"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_gives_no_logits_is_refused_by_name(what):
    make, message = REFUSED[what]
    with pytest.raises(UserError, match=message) as caught:
        classifier_of(make(), IMAGES)
    assert str(caught.value).startswith("model_or_function") and "\n" not in str(caught.value)
