"""AdversarialModel of a Keras 3 classifier: the numbers of its Keras 2 twin, and Keras 3's fit."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

import sat_tf
from sat_tf.training import SAM, AdversarialModel

pytestmark = pytest.mark.smoke

keras = pytest.importorskip("keras", minversion="3")

IMAGES, LABELS = tiny.examples(24)
ATTACK = dict(epsilon=0.05, num_steps=2)


def network(keras=keras, *, l2=0.0, ends=(), **batch_norm):
    """The tiny network, of tf.keras or of Keras 3."""
    inputs = keras.Input((8, 8, 3))
    regularizer = keras.regularizers.L2(l2) if l2 else None
    features = keras.layers.Conv2D(
        8,
        3,
        strides=2,
        padding="same",
        kernel_regularizer=regularizer,
        activity_regularizer=regularizer,
    )(inputs)
    features = keras.layers.BatchNormalization(momentum=0.9, **batch_norm)(features)
    features = keras.layers.Activation("swish")(features)
    features = keras.layers.GlobalAveragePooling2D()(features)
    outputs = keras.layers.Dense(4)(features)
    for layer in ends:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name="tiny")


def twins(**kwargs):
    """Returns the network in both generations of Keras, with equal weights."""
    # Keras 2's fused kernel would keep the unbiased variance; Keras 3 has the biased one alone.
    second, third = network(tf.keras, synchronized=True, **kwargs), network(**kwargs)
    third.set_weights(second.get_weights())
    return (tf.keras, second), (keras, third)


def compiled(classifier, kind=keras, method="pgd", settings=None, options=None, **kwargs):
    settings = ATTACK if settings is None else settings
    model = AdversarialModel(classifier, method, **settings, **kwargs)
    model.compile(kind.optimizers.SGD(0.1, momentum=0.9), **(options or {}))
    return model


STEP = dict(epsilon=0.05)
SLOW = pytest.mark.slow
TWINS = {
    "standard": dict(method="standard", settings={}, weight_decay=0.1),
    "pgd": dict(seed=3, ema_decay=0.5),
    "fast with SAM": dict(method="fast", settings=STEP, sam=SAM(rho=0.1), weight_decay=0.1),
    "pgd, several steps an execution": dict(
        settings=dict(epsilon=0.5, num_steps=2, norm="l2"),
        weight_decay=0.1,
        weight_decay_on="all_but_batch_norm",
        options=dict(steps_per_execution=3),
    ),
    "trades": dict(method="trades", settings=dict(beta=2.0, **ATTACK)),
    "backward_smoothing": dict(method="backward_smoothing", settings=STEP),
    "converge_smooth": dict(
        method="converge_smooth",
        settings=dict(threshold=1e-4, stride=0, boundaries=(-1, 9), **STEP),
        sam=SAM(rho=0.5, adaptive=True, norm="replica"),
    ),
}
DAILY = ("standard", "pgd", "fast with SAM")


def assert_equal(one, other, tolerance=1e-5):
    assert set(one) == set(other)
    for name, values in one.items():
        np.testing.assert_allclose(other[name], values, rtol=tolerance, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=() if name in DAILY else SLOW) for name in TWINS]
)
def test_three_steps_are_those_of_the_keras_2_twin(case):
    """And their evaluation, with the losses of layers and sample weights."""
    sample_weight = np.linspace(0.5, 1.5, 24, dtype=np.float32)
    found = []
    for kind, classifier in twins(l2=1e-2):
        top2 = kind.metrics.SparseTopKCategoricalAccuracy(2, name="top2")
        settings = dict(TWINS[case])
        options = dict(metrics=["accuracy", top2], weighted_metrics=["ce"])
        options |= settings.pop("options", {})
        model = compiled(classifier, kind, options=options, **settings)
        data = dict(batch_size=8, verbose=0)
        history = model.fit(
            IMAGES, LABELS, sample_weight=sample_weight, shuffle=False, **data
        ).history
        measured = model.evaluate(IMAGES, LABELS, return_dict=True, **data)
        found.append((history, measured, classifier.get_weights()))
    (history, measured, weights), (history_3, measured_3, weights_3) = found
    assert_equal(history, history_3)
    assert_equal(measured, measured_3)
    assert {"top2", "adversarial_top2", "ce", "adversarial_ce"} <= set(measured_3)
    for one, other in zip(weights, weights_3):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_it_is_a_keras_3_model_and_learns():
    images, labels = tiny.examples(64)
    model = compiled(network())
    assert isinstance(model, keras.Model) and model.name == "adversarial_tiny" and model.built
    assert model.input_shape == (None, 8, 8, 3) and model.output_shape == (None, 4)
    history = model.fit(images, labels, batch_size=16, epochs=15, verbose=0).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["adversarial_accuracy"][-1] > 0.6
    np.testing.assert_allclose(history["perturbation_max"], 0.05, rtol=1e-4)
    assert int(model.global_step.numpy()) == 15 * 4


def test_callbacks_of_keras_3(tmp_path):
    model = compiled(network(), options=dict(metrics=["accuracy"]), clean_epochs=1)
    model.optimizer.learning_rate = 0.0
    weights = str(tmp_path / "best.weights.h5")
    callbacks = [
        keras.callbacks.EarlyStopping("adversarial_accuracy", mode="max", patience=1),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.ModelCheckpoint(weights, save_weights_only=True),
        keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras")),
    ]
    data = dict(validation_data=(IMAGES, LABELS), callbacks=callbacks, epochs=9, verbose=0)
    history = model.fit(IMAGES, LABELS, batch_size=24, **data).history
    # The first epoch, without an attack, judges nothing; in the third nothing has been learnt.
    assert np.isnan(history["adversarial_accuracy"][0]) and len(history["loss"]) == 3
    assert "val_adversarial_accuracy" in (tmp_path / "log.csv").read_text()
    loaded = keras.models.load_model(tmp_path / "best.keras")
    assert type(loaded) is type(model.classifier)
    other = network()
    other.load_weights(weights)
    for classifier in (loaded, other):
        for one, wanted in zip(classifier.get_weights(), model.classifier.get_weights()):
            np.testing.assert_array_equal(one, wanted)


def test_saving_is_of_the_average_where_there_is_one(tmp_path):
    model = compiled(network(), ema_decay=0.9)
    model.fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0)
    with model.evaluated_weights():
        expected = model.classifier(IMAGES, training=False)
    assert np.abs(model.classifier(IMAGES, training=False) - expected).max() > 1e-3
    model.save(tmp_path / "robust.keras")
    model.export(str(tmp_path / "exported"), verbose=False)
    model.save_weights(tmp_path / "robust.weights.h5")
    loaded = keras.models.load_model(tmp_path / "robust.keras")
    other = compiled(network(), ema_decay=0.9)
    other.load_weights(tmp_path / "robust.weights.h5")
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    for logits in (
        model(IMAGES),
        model.predict(IMAGES, verbose=0),
        loaded(IMAGES, training=False),
        other(IMAGES),
        exported.serve(IMAGES),
    ):
        np.testing.assert_allclose(logits, expected, atol=1e-5)


@pytest.mark.slow
def test_training_goes_on_from_a_saved_model_and_from_a_checkpoint(tmp_path):
    def made():
        return compiled(network(), ema_decay=0.9, clean_epochs=1, sam=SAM(rho=0.05))

    def fit(model):
        data = dict(batch_size=8, epochs=1, shuffle=False, verbose=0)
        return model.fit(IMAGES, LABELS, **data).history

    model, restored = made(), made()
    fit(model)
    path = model.training_state.save(str(tmp_path / "state"))
    restored.training_state.restore(path).assert_consumed()
    keras.saving.save_model(model, tmp_path / "training.keras")
    loaded = keras.saving.load_model(tmp_path / "training.keras")
    wanted = fit(model)
    assert wanted["perturbation_max"][0] > 0.04
    for one in (restored, loaded):
        assert type(one) is type(model)
        assert_equal(fit(one), wanted, tolerance=1e-6)
        for a, b in zip(one.classifier.get_weights(), model.classifier.get_weights()):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_evaluate_measures_it_with_its_averaged_weights():
    model = compiled(network(), ema_decay=0.9)
    model.fit(IMAGES, LABELS, batch_size=8, epochs=3, verbose=0)
    result = sat_tf.evaluate(model, (IMAGES, LABELS), "pgd-2", epsilon=0.05, verbose=0)
    expected = np.mean(np.argmax(model.predict(IMAGES, verbose=0), -1) == LABELS)
    assert result.correct["clean"] / result.examples == pytest.approx(expected)


def test_probabilities():
    for classifier in (
        network(ends=[keras.layers.Softmax()]),
        network(ends=[keras.layers.Dense(5, activation="softmax")]),
        network(ends=[keras.layers.Lambda(tf.nn.softmax)]),
        keras.Sequential([network(), keras.layers.Softmax()]),
    ):
        with pytest.raises(ValueError, match="ends in a softmax .*from_logits=False"):
            compiled(classifier)
        model = compiled(classifier, from_logits=False, options=dict(metrics=["ce"]))
        wanted = classifier(IMAGES, training=False)
        np.testing.assert_allclose(tf.nn.softmax(model.logits(IMAGES)), wanted, atol=1e-5)
        history = model.fit(IMAGES, LABELS, batch_size=24, verbose=0).history
        assert history["adversarial_ce"] == pytest.approx(history["loss"], rel=1e-4)


def test_the_attack_sees_what_goes_into_a_saturated_softmax():
    """There the probabilities are 0 and 1, and their logarithm has no gradient."""
    sharpen = keras.layers.Dense(4, kernel_initializer="identity", activation="softmax")
    plain = keras.Sequential([keras.Input((8, 8, 3)), network(), sharpen])
    sharpen.kernel.assign(1e4 * np.eye(4))
    model = compiled(plain, from_logits=False)
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = model.logits(images)
    assert np.abs(tape.gradient(logits, images)).max(axis=(1, 2, 3)).min() > 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        settings = dict(loss_scale=128.0, **ATTACK)
        model = compiled(network(), settings=settings, weight_decay=1e-3, ema_decay=0.9)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    scales = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (policy == "mixed_float16")
    data = dict(batch_size=8, epochs=4, verbose=0)
    history = model.fit(IMAGES, LABELS, **data).history
    assert history["loss"][-1] < history["loss"][0]
    assert all(v.dtype == "float32" for v in model.trainable_variables)


class Subclassed(keras.Model):
    """One whose call knows of no `training`, with dropout and a loss of its own."""

    def __init__(self, end=lambda x: x):
        super().__init__()
        self.network, self.dropout, self.end = network(), keras.layers.Dropout(0.5), end

    def call(self, images):
        self.add_loss(tf.constant(2.0))
        return self.end(self.dropout(self.network(images)))


def test_a_subclassed_model_with_a_loss_of_its_own():
    classifier = Subclassed()
    with pytest.raises(ValueError, match="has no weights yet: build it first"):
        compiled(classifier)
    classifier(IMAGES)
    model = compiled(classifier, sam=SAM(rho=0.05), options=dict(weighted_metrics=["ce"]))
    history = model.fit(IMAGES, LABELS, batch_size=24, verbose=0).history
    assert history["loss"][0] - history["adversarial_ce"][0] == pytest.approx(2.0, rel=1e-4)
    other = Subclassed(lambda x: tf.nn.softmax(x))
    other(IMAGES)
    with pytest.raises(ValueError, match="ends in a softmax"):
        compiled(other)


@pytest.mark.parametrize("sam", [None, pytest.param(SAM(rho=0.05), marks=SLOW)], ids=str)
def test_two_replicas_make_the_update_of_one(mirrored, one_device, sam):
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(8)
    found = []
    for strategy in (one_device, mirrored):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            classifier = network(synchronized=True)
            settings = dict(random_start=False, **ATTACK)
            model = compiled(classifier, settings=settings, sam=sam, ema_decay=0.5)
        history = model.fit(data, verbose=0).history
        measured = model.evaluate(data, verbose=0, return_dict=True)
        found.append((history, measured, classifier.get_weights()))
    (one, one_measured, weights), (two, two_measured, weights_2) = found
    for names in (one, two):  # of a quarter of each replica's images
        del names["clean_accuracy"]
    assert_equal(one, two, 1e-4)
    assert_equal(one_measured, two_measured, 1e-4)
    for a, b in zip(weights, weights_2):
        np.testing.assert_allclose(a, b, atol=1e-5)
