"""Losses, weights and metrics of AdversarialModel count as those of Keras' own models do."""

import numpy as np
import pytest
import tensorflow as tf
import tiny
from adversarial_models import PGD, model_of, weights_of
from daily import only

from sat_tf.training import METHODS, SAM, AdversarialModel, create

pytestmark = pytest.mark.smoke

WEIGHTS = np.linspace(0, 2, 21, dtype=np.float32)


class Penalty(tf.keras.layers.Layer):
    """Adds a loss of what goes through it."""

    def call(self, inputs):
        self.add_loss(0.3 * tf.reduce_mean(inputs**2))
        return inputs


def regularized(penalty=0.2):
    """A network with a loss of every kind that Keras has."""
    inputs = tf.keras.Input((tiny.SIZE, tiny.SIZE, 3))
    features = tf.keras.layers.Conv2D(
        4, 3, kernel_regularizer=tf.keras.regularizers.L2(penalty), activity_regularizer="l1"
    )(inputs)
    features = Penalty()(tf.keras.layers.GlobalAveragePooling2D()(features))
    outputs = tf.keras.layers.Dense(tiny.CLASSES, bias_regularizer="l2", activity_regularizer="l2")(
        features
    )
    network = tf.keras.Model(inputs, outputs)
    network.add_loss(lambda: tf.reduce_sum(tf.abs(network.trainable_weights[0])))
    network.add_loss(tf.reduce_mean(tf.abs(outputs)))
    return network


def twins():
    """Returns an adversarial model that does not attack, and Keras' own of the same weights."""
    plain = regularized()
    wrapped = AdversarialModel(regularized(), "standard")
    wrapped.classifier.set_weights(plain.get_weights())
    plain.compile(
        tf.keras.optimizers.SGD(0.1),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **metrics(),
    )
    wrapped.compile(tf.keras.optimizers.SGD(0.1), **metrics())
    return wrapped, plain


def metrics():
    return {
        "metrics": ["accuracy", tf.keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
        "weighted_metrics": [
            tf.keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy")
        ],
    }


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param(None, marks=pytest.mark.slow, id="none"),
        pytest.param(WEIGHTS, marks=pytest.mark.slow, id="1d"),
        pytest.param(WEIGHTS[:, None], id="2d"),
    ],
)
def test_training_and_validation_are_those_of_keras(weights):
    images, labels = tiny.examples(21)
    histories, fitted = [], twins()
    for model in fitted:
        fit = model.fit(
            images,
            labels,
            batch_size=8,
            epochs=2,
            shuffle=False,
            verbose=0,
            sample_weight=weights,
            validation_data=(images, labels, *([] if weights is None else [weights])),
            validation_batch_size=8,
        )
        histories.append(fit.history)
    ours, keras = histories
    assert {"val_adversarial_top2", "adversarial_entropy"} <= set(ours)
    for name, values in keras.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-5, err_msg=name)
    for a, b in zip(fitted[0].classifier.weights, fitted[1].weights):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_shape_of_weights_that_would_broadcast_is_refused():
    images, labels = tiny.examples(8)
    for weights, message in (
        (np.ones((8, 4), np.float32), r"sample_weight has shape"),
        (np.ones((8, 1, 1), np.float32), r"sample_weight has shape"),
        (np.ones(8, bool), "sample_weight is bool"),
    ):
        data = tf.data.Dataset.from_tensor_slices((images, labels, weights)).batch(8)
        with pytest.raises(ValueError, match=message):
            model_of("standard").fit(data, verbose=0)


@pytest.mark.parametrize("name", only(["pgd", "trades"], METHODS))
def test_every_method_counts_a_regularizer_once(name):
    data = tiny.examples(8)
    losses = []
    for penalty in (0.0, 0.5):
        tf.keras.utils.set_random_seed(0)
        network = tf.keras.Sequential(
            [
                tf.keras.layers.Input((tiny.SIZE, tiny.SIZE, 3)),
                tf.keras.layers.Flatten(),
                tf.keras.layers.Dense(4, kernel_regularizer=tf.keras.regularizers.L2(penalty)),
            ]
        )
        settings = {} if name == "standard" else {"epsilon": 0.05}
        model = model_of(name, settings, network=network, learning_rate=0.0)
        losses.append(model.fit(*data, batch_size=8, verbose=0).history["loss"][0])
    expected = 0.5 * float(tf.reduce_sum(network.trainable_weights[0] ** 2))
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-4)


def test_two_replicas_count_it_once(mirrored, one_device):
    images, labels = tiny.examples(8)
    updated = []
    for strategy in (one_device, mirrored):
        tf.keras.utils.set_random_seed(0)
        with strategy.scope():
            model = model_of("standard", network=regularized(), learning_rate=0.1)
        model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
        updated.append(weights_of(model))
    for a, b in zip(*updated):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_sharpness_aware_updates_have_it_in_both_gradients():
    images, labels = tiny.examples(8)
    network = regularized()
    model = model_of(
        "standard", network=network, sam=SAM(rho=0.5), learning_rate=tf.constant(0.1).numpy()
    )
    model.optimizer.momentum = 0.0
    weights = [tf.identity(w) for w in network.trainable_weights]

    def gradient():
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            ) + sum(network.losses)
        return tape.gradient(loss, network.trainable_weights)

    ascent = gradient()
    for w, g in zip(network.trainable_weights, ascent):
        w.assign_add(0.5 * g / tf.linalg.global_norm(ascent))
    expected = [w - 0.1 * g for w, g in zip(weights, gradient())]
    for w, value in zip(network.trainable_weights, weights):
        w.assign(value)
    optimizer = tf.keras.optimizers.SGD(0.1)
    model.compile(optimizer)
    model.fit(images, labels, batch_size=8, verbose=0)
    for w, value in zip(network.trainable_weights, expected):
        np.testing.assert_allclose(w, value, rtol=1e-4, atol=1e-6)


def test_regularizers_in_half_precision():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    network = regularized(penalty=0.5)
    images, labels = tiny.examples(8)
    model = model_of("standard", network=network, learning_rate=0.0)
    loss = model.fit(images, labels, batch_size=8, verbose=0).history["loss"][0]
    logits = network(images, training=True)
    entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    own = sum(float(loss) for loss in network.losses)
    assert own > 1 and loss == pytest.approx(float(entropy) + own, rel=0.02)


def test_layers_unfrozen_after_wrapping_decay():
    network = tiny.network(batch_norm=False)
    convolution = network.layers[1]
    convolution.trainable = False
    model = AdversarialModel(network, "standard", weight_decay=0.1)
    convolution.trainable = True
    model.compile(tf.keras.optimizers.SGD(0.0))
    data = tiny.examples(8)
    loss = model.fit(*data, batch_size=8, verbose=0).history["loss"][0]
    entropy = model.evaluate(*data, batch_size=8, verbose=0, return_dict=True)["loss"]
    kernels = [w for w in network.trainable_weights if "kernel" in w.name]
    decay = 0.05 * sum(float(tf.reduce_sum(w**2)) for w in kernels)
    assert len(kernels) == 2 and loss - entropy == pytest.approx(decay, rel=1e-4)


def test_clean_epochs_are_counted_over_all_calls_of_fit():
    model, seen = model_of(clean_epochs=2), []
    for _ in range(4):
        seen += model.fit(*tiny.examples(8), epochs=1, verbose=0).history["perturbation_max"]
    np.testing.assert_allclose(seen, [0, 0, 0.05, 0.05], rtol=1e-4)


def test_early_stopping_does_not_stop_on_the_nan_of_clean_epochs():
    model = model_of(clean_epochs=3, learning_rate=0.0)
    stop = tf.keras.callbacks.EarlyStopping("adversarial_accuracy", mode="max", patience=1)
    history = model.fit(*tiny.examples(8), epochs=9, verbose=0, callbacks=[stop]).history
    # Three clean ones, the first attacked one, and one that is no better.
    assert len(history["loss"]) == 5
    assert "on_epoch_end" not in vars(stop)


@pytest.mark.parametrize("name", ["pgd", "trades", "standard"])
def test_training_measures_metrics_on_the_images_of_the_loss(name):
    settings = {} if name == "standard" else PGD
    model = AdversarialModel(tiny.network(batch_norm=False), create(name, **settings))
    model.compile(tf.keras.optimizers.SGD(0.0), metrics=["accuracy"])
    history = model.fit(*tiny.examples(16), batch_size=16, verbose=0).history
    attacked = "adversarial_accuracy" if name != "standard" else "accuracy"
    assert {"accuracy", attacked} <= set(history)
    if name != "pgd":  # its loss has no clean images; a quarter of them is measured apart
        assert history["accuracy"] == history["clean_accuracy"]


def test_names_of_metrics_that_are_taken_are_refused():
    model = AdversarialModel(tiny.network(), "standard")
    for taken in ("loss", "clean_accuracy"):
        with pytest.raises(ValueError, match="give this one another name"):
            model.compile("sgd", metrics=[tf.keras.metrics.Mean(taken)])
