"""SavedModels as other programs write them, and what their logits and gradients should be."""

import numpy as np
import tensorflow as tf
import tiny

from sat_tf import attacks

IMAGES, LABELS = tiny.examples(8)
FREE = [None, None, None, 3]


def network():
    """The same one whenever it is made."""
    tf.keras.utils.set_random_seed(3)
    return tiny.network()


class Module(tf.Module):
    """What another program might save: a `__call__` of images of any shape, and its variables."""

    def __init__(self, function, *specs, weights=None):
        super().__init__()
        self.weights = weights or tf.Variable(
            np.random.RandomState(0).randn(3, 4), dtype=tf.float32
        )
        arguments = [tf.TensorSpec(shape, dtype) for shape, dtype in specs or [(FREE, tf.float32)]]
        self.call = tf.function(lambda *images: function(self, *images), input_signature=arguments)


def colours(module, images):
    return tf.reduce_mean(tf.cast(images, tf.float32), [1, 2]) @ module.weights


def save(path, module, *, custom_gradients=True, **signatures):
    signatures = signatures or {"serving_default": module.call}
    tf.saved_model.save(
        module,
        str(path),
        signatures=signatures,
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=custom_gradients),
    )
    return path


def save_tf1(path, activation, tags=(["serve"],)):
    """A SavedModel made in a session; with more `tags`, of as many graphs."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, 8, 8, 3], name="x")
        weights = v1.get_variable("w", initializer=np.float32(np.random.RandomState(0).randn(3, 4)))
        logits = activation(tf.reduce_mean(images, [1, 2])) @ weights
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"x": images}, {"y": logits})
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, tags[0], {"serving_default": signature})
        for others in tags[1:]:
            builder.add_meta_graph(others, {"serving_default": signature})
        builder.save()
    return path


def logits_and_gradient(logits_fn, images=IMAGES):
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = logits_fn(images)
        loss = tf.reduce_sum(attacks.cross_entropy(logits, LABELS[: len(images)]))
    return logits.numpy(), tape.gradient(loss, images).numpy()


def check_same(logits_fn, wanted_fn, images=IMAGES, **tolerance):
    tolerance = {"rtol": 1e-4, "atol": 1e-6, **tolerance}
    for found, wanted in zip(
        logits_and_gradient(logits_fn, images), logits_and_gradient(wanted_fn, images)
    ):
        assert np.any(wanted)
        np.testing.assert_allclose(found, wanted, **tolerance)
