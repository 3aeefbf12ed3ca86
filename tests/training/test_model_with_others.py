"""AdversarialModel with classifiers, callbacks, files and data that are not ours."""

import numpy as np
import pytest
import tensorflow as tf
import tiny
from adversarial_models import model_of

from sat_tf import activations
from sat_tf.training import AdversarialModel, create

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    "wrap",
    [
        lambda callback, model: callback,
        lambda callback, model: [callback],
        lambda callback, model: tf.keras.callbacks.CallbackList(
            [callback], model=model, add_history=True, epochs=2, steps=1, verbose=0
        ),
    ],
    ids=["bare", "list", "CallbackList"],
)
def test_the_attack_begins_whatever_the_callbacks_come_as(wrap):
    model = model_of(clean_epochs=1)
    seen = []
    callback = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(logs["perturbation_max"])
    )
    model.fit(*tiny.examples(16), epochs=2, verbose=0, callbacks=wrap(callback, model))
    np.testing.assert_allclose(seen, [0, 0.05], rtol=1e-4)


def test_saving_gives_the_bare_classifier(tmp_path):
    images, labels = tiny.examples(16)
    model = model_of(ema_decay=0.9)
    path = str(tmp_path / "best.keras")
    checkpoint = tf.keras.callbacks.ModelCheckpoint(path)
    model.fit(images, labels, epochs=2, verbose=0, callbacks=[checkpoint])
    loaded = tf.keras.models.load_model(path)
    assert type(loaded) is type(model.classifier)
    with model.evaluated_weights():
        expected = model.classifier(images, training=False)
    np.testing.assert_allclose(loaded(images, training=False), expected, atol=1e-6)


def test_saving_says_what_opens_without_sat_tf(tmp_path, recwarn):
    plain = tf.keras.Sequential([tf.keras.Input((8, 8, 3)), tf.keras.layers.Flatten()])
    AdversarialModel(plain, "standard").save(tmp_path / "plain.keras")
    swish = activations.create("swish")
    ours = AdversarialModel(tiny.network(activation=swish), "standard")
    ours.save(str(tmp_path / "folder"))  # a SavedModel
    assert not [one for one in recwarn if "sat_tf" in str(one.message)]
    with pytest.warns(UserWarning, match="ours.keras holds layers of sat_tf: load it after"):
        ours.save(str(tmp_path / "ours.keras"))


def test_weights_go_to_a_bare_classifier_and_back(tmp_path):
    model = model_of()
    path = str(tmp_path / "weights.h5")
    model.fit(*tiny.examples(16), verbose=0)
    model.save_weights(path)
    other = tiny.network()
    other.load_weights(path)
    fresh = model_of(ema_decay=0.9)
    fresh.load_weights(path)
    for a, b, c, average in zip(
        model.classifier.weights, other.weights, fresh.classifier.weights, fresh.average.averages
    ):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(a, average)


def test_ordinary_callbacks(tmp_path):
    images, labels = tiny.examples(32)
    model = model_of(learning_rate=0.0)
    stop = tf.keras.callbacks.EarlyStopping("val_adversarial_accuracy", mode="max", patience=1)
    log = tf.keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    history = model.fit(
        images, labels, validation_data=(images, labels), epochs=9, verbose=0, callbacks=[stop, log]
    ).history
    assert len(history["loss"]) == 2  # nothing learnt, so the second epoch is one too many
    assert "val_adversarial_accuracy" in (tmp_path / "log.csv").read_text()


@pytest.mark.parametrize("fused", [False, True])
def test_softmax_classifiers(fused):
    network = tiny.network()
    probabilities = (
        tf.keras.layers.Softmax()(network.output)
        if fused
        else tf.keras.layers.Dense(4, activation="softmax")(network.layers[-2].output)
    )
    classifier = tf.keras.Model(network.input, probabilities)
    with pytest.raises(ValueError, match="from_logits=False"):
        model_of(network=classifier)
    images, labels = tiny.examples(8)
    model = model_of(network=classifier, from_logits=False)
    logits = model.logits(images)
    np.testing.assert_allclose(tf.nn.softmax(logits), classifier(images), atol=1e-6)
    assert np.isfinite(model.fit(images, labels, verbose=0).history["loss"]).all()


def test_the_attack_sees_what_goes_into_a_saturated_softmax():
    """There the probabilities are 0 and 1, and their logarithm has no gradient."""
    network = tiny.network()
    probabilities = tf.keras.Model(
        network.input,
        tf.keras.layers.Softmax()(
            tf.keras.layers.Dense(4, kernel_initializer="identity", name="sharpen")(network.output)
        ),
    )
    probabilities.get_layer("sharpen").kernel.assign(1e4 * np.eye(4))
    model = model_of(network=probabilities, from_logits=False)
    images = tf.constant(tiny.examples(8)[0])
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = model.logits(images)
    assert np.abs(tape.gradient(logits, images)).max(axis=(1, 2, 3)).min() > 0


def test_probabilities_of_an_unknown_making_are_taken_by_their_logarithm():
    network = tiny.network()
    classifier = tf.keras.Model(
        network.input, tf.keras.layers.Lambda(tf.nn.softmax)(network.output)
    )
    images, _ = tiny.examples(4)
    np.testing.assert_allclose(
        model_of(network=classifier, from_logits=False).logits(images),
        np.log(classifier(images)),
        atol=1e-5,
    )


def test_a_classifier_without_weights_is_refused():
    with pytest.raises(ValueError, match="build it first"):
        AdversarialModel(tf.keras.Sequential([tf.keras.layers.Dense(4)]), create("standard"))


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_labels_of_any_integer_type_and_column_shape_are_taken(shape):
    images, labels = tiny.examples(16)
    losses = []
    for given in (labels, labels.astype(np.uint8).reshape(shape)):
        tf.keras.utils.set_random_seed(0)
        fitted = model_of().fit(images, given, batch_size=16, shuffle=False, verbose=0)
        losses.append(fitted.history["loss"][0])
    assert losses[0] == losses[1]


def test_labels_beyond_the_classes_are_refused():
    images, labels = tiny.examples(8)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="labels: give class indices from 0 to 3"
    ):
        model_of().fit(images, labels + 2, verbose=0)


def test_other_pixel_ranges():
    images, labels = tiny.examples(8)
    network = tiny.network()
    method = create("pgd", epsilon=8.0, step_size=2.0, num_steps=2, bounds=(0.0, 255.0))
    model = AdversarialModel(network, method)
    model.compile("sgd")
    history = model.fit(255.0 * images, labels, verbose=0).history
    assert 4.0 < history["perturbation_max"][0] <= 8.001


@pytest.mark.parametrize(
    "images,labels,message",
    [
        (lambda x: 255 * x, lambda y: y, "images must be within"),
        (lambda x: (255 * x).astype(np.uint8), lambda y: y, "images are uint8: give floating"),
        (lambda x: x, lambda y: np.eye(4, dtype=np.float32)[y], "integer class indices"),
    ],
)
def test_data_on_the_wrong_scale_is_refused(images, labels, message):
    x, y = tiny.examples(8)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        model_of().fit(images(x), labels(y), verbose=0)


def test_compile_refuses_what_the_method_defines():
    model = AdversarialModel(tiny.network(), create("standard"))
    with pytest.raises(ValueError, match="method defines the loss"):
        model.compile("sgd", loss="mse")
