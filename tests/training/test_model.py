"""AdversarialModel through Keras' own compile and fit."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf.training import AdversarialModel, create, create_optimizer

pytestmark = pytest.mark.smoke

PGD = dict(epsilon=0.05, num_steps=2)


def _model(name="pgd", settings=None, *, learning_rate=0.1, **kwargs):
    settings = PGD if settings is None and name == "pgd" else settings or {}
    network = kwargs.pop("network", None) or tiny.network()
    model = AdversarialModel(network, create(name, **settings), **kwargs)
    model.compile(create_optimizer("sgd", learning_rate))
    return model


def _weights(model):
    return [w.numpy() for w in model.classifier.weights]


def test_fit_learns_and_reports():
    images, labels = tiny.examples(64)
    model = _model()
    history = model.fit(images, labels, batch_size=16, epochs=15, verbose=0).history
    assert set(history) == {
        "loss",
        "clean_accuracy",
        "adversarial_accuracy",
        "perturbation_mean",
        "perturbation_max",
    }
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["adversarial_accuracy"][-1] > 0.6
    np.testing.assert_allclose(history["perturbation_max"], 0.05, rtol=1e-4)
    assert int(model.global_step.numpy()) == 15 * 4


def test_standard_reports_no_adversarial_accuracy():
    history = _model("standard").fit(*tiny.examples(16), verbose=0).history
    assert "adversarial_accuracy" not in history and history["perturbation_max"] == [0.0]


def test_statistics_move_once_per_step_and_only_by_the_update():
    images, labels = tiny.examples(16)
    network = tiny.network()
    statistics = network.layers[2].moving_mean
    activations = tf.keras.Model(network.input, network.layers[1].output)
    method = create("pgd", **PGD)
    seen = []

    def perturb(*args):
        adversarial = method.perturb(*args)
        seen.append(adversarial)
        return adversarial

    model = AdversarialModel(network, type(method)(perturb, method.loss, method.metrics), seed=3)
    model.compile(create_optimizer("sgd", 0.0), run_eagerly=True)
    before = statistics.numpy()
    model.fit(images, labels, batch_size=16, shuffle=False, verbose=0)
    batch_mean = tf.reduce_mean(activations(seen[0]), [0, 1, 2])
    np.testing.assert_allclose(statistics, 0.9 * before + 0.1 * batch_mean, atol=1e-6)


def test_validation_moves_nothing():
    data = tiny.examples(16)
    model = _model()
    before = _weights(model)
    measured = model.evaluate(*data, batch_size=8, verbose=0, return_dict=True)
    assert set(measured) == {"loss", "clean_accuracy", "adversarial_accuracy"}
    for old, new in zip(before, _weights(model)):
        np.testing.assert_array_equal(old, new)


def test_evaluation_counts_a_partial_batch_exactly():
    images, labels = tiny.examples(21)
    model = _model()
    logits = model.predict(images, verbose=0)
    expected = np.mean(np.argmax(logits, -1) == labels)
    measured = model.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)
    assert measured["clean_accuracy"] == pytest.approx(expected)


def test_same_seed_same_weights_other_seed_other_weights():
    images, labels = tiny.examples(32)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    results = []
    for seed in (1, 1, 2):
        tf.keras.utils.set_random_seed(0)
        model = _model(seed=seed)
        model.fit(dataset, epochs=2, verbose=0)
        results.append(_weights(model)[0])
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() > 0


def test_clean_epochs_come_first():
    history = _model(clean_epochs=2).fit(*tiny.examples(16), epochs=4, verbose=0).history
    np.testing.assert_allclose(history["perturbation_max"], [0, 0, 0.05, 0.05], rtol=1e-4)
    np.testing.assert_array_equal(
        np.isnan(history["adversarial_accuracy"]), [True, True, False, False]
    )


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
    model = _model(clean_epochs=1)
    seen = []
    callback = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(logs["perturbation_max"])
    )
    model.fit(*tiny.examples(16), epochs=2, verbose=0, callbacks=wrap(callback, model))
    np.testing.assert_allclose(seen, [0, 0.05], rtol=1e-4)


def test_clean_epochs_count_from_initial_epoch():
    history = (
        _model(clean_epochs=2).fit(*tiny.examples(16), initial_epoch=3, epochs=4, verbose=0).history
    )
    np.testing.assert_allclose(history["perturbation_max"], [0.05], rtol=1e-4)


def test_weight_decay_is_in_the_loss():
    data = tiny.examples(16)
    network = tiny.network()
    plain = _model("standard", network=network, learning_rate=0.0)
    decayed = _model("standard", network=network, learning_rate=0.0, weight_decay=0.1)
    losses = [m.fit(*data, batch_size=16, verbose=0).history["loss"][0] for m in (plain, decayed)]
    kernels = [w for w in network.trainable_weights if "kernel" in w.name]
    expected = 0.05 * sum(float(tf.reduce_sum(w**2)) for w in kernels)
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-4)


def test_sample_weights_scale_the_loss():
    images, labels = tiny.examples(16)
    network = tiny.network()
    losses = [
        _model("standard", network=network, learning_rate=0.0)
        .fit(images, labels, sample_weight=weights, batch_size=16, verbose=0)
        .history["loss"][0]
        for weights in (None, np.full(16, 0.5, np.float32))
    ]
    assert losses[1] == pytest.approx(0.5 * losses[0], rel=1e-5)


def test_saving_gives_the_bare_classifier(tmp_path):
    images, labels = tiny.examples(16)
    model = _model(ema_decay=0.9)
    path = str(tmp_path / "best.keras")
    checkpoint = tf.keras.callbacks.ModelCheckpoint(path)
    model.fit(images, labels, epochs=2, verbose=0, callbacks=[checkpoint])
    loaded = tf.keras.models.load_model(path)
    assert type(loaded) is type(model.classifier)
    with model.evaluated_weights():
        expected = model.classifier(images, training=False)
    np.testing.assert_allclose(loaded(images, training=False), expected, atol=1e-6)


def test_weights_go_to_a_bare_classifier_and_back(tmp_path):
    model = _model()
    path = str(tmp_path / "weights.h5")
    model.fit(*tiny.examples(16), verbose=0)
    model.save_weights(path)
    other = tiny.network()
    other.load_weights(path)
    fresh = _model(ema_decay=0.9)
    fresh.load_weights(path)
    for a, b, c, average in zip(
        model.classifier.weights, other.weights, fresh.classifier.weights, fresh.average.averages
    ):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(a, average)


def test_ordinary_callbacks(tmp_path):
    images, labels = tiny.examples(32)
    model = _model(learning_rate=0.0)
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
        _model(network=classifier)
    images, labels = tiny.examples(8)
    model = _model(network=classifier, from_logits=False)
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
    model = _model(network=probabilities, from_logits=False)
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
        _model(network=classifier, from_logits=False).logits(images),
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
        losses.append(
            _model().fit(images, given, batch_size=16, shuffle=False, verbose=0).history["loss"][0]
        )
    assert losses[0] == losses[1]


def test_labels_beyond_the_classes_are_refused():
    images, labels = tiny.examples(8)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"labels must be in \[0, 4\)"):
        _model().fit(images, labels + 2, verbose=0)


def test_predict_is_of_the_averaged_weights_too():
    images, labels = tiny.examples(16)
    model = _model(ema_decay=0.9, learning_rate=1.0)
    model.fit(images, labels, batch_size=4, epochs=3, verbose=0)
    with model.evaluated_weights():
        expected = model.classifier(images, training=False)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


def test_validation_honours_sample_weights():
    images, labels = tiny.examples(16)
    model = _model()
    weights = np.float32([1] * 8 + [0] * 8)
    weighted = model.evaluate(
        images, labels, sample_weight=weights, batch_size=16, verbose=0, return_dict=True
    )
    first_half = model.evaluate(images[:8], labels[:8], batch_size=16, verbose=0, return_dict=True)
    assert weighted["clean_accuracy"] == pytest.approx(first_half["clean_accuracy"])
    assert weighted["loss"] == pytest.approx(first_half["loss"], rel=1e-5)


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
        _model().fit(images(x), labels(y), verbose=0)


def test_compile_refuses_what_the_method_defines():
    model = AdversarialModel(tiny.network(), create("standard"))
    with pytest.raises(ValueError, match="method defines the loss"):
        model.compile("sgd", loss="mse")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    network = tiny.network()
    model = AdversarialModel(
        network, create("pgd", loss_scale=128.0, **PGD), ema_decay=0.9, weight_decay=1e-4
    )
    optimizer = create_optimizer("sgd", 0.05)
    if policy == "mixed_float16":
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer, initial_scale=1024)
    model.compile(optimizer)
    images, labels = tiny.examples(32)
    history = model.fit(images, labels, batch_size=16, epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert all(w.dtype == tf.float32 for w in network.trainable_weights)
