"""AdversarialModel through Keras' own compile and fit."""

import numpy as np
import pytest
import tensorflow as tf
import tiny
from adversarial_models import PGD, model_of, weights_of

from sat_tf.training import AdversarialModel, create, create_optimizer

pytestmark = pytest.mark.smoke


def test_fit_learns_and_reports():
    images, labels = tiny.examples(64)
    model = model_of()
    history = model.fit(images, labels, batch_size=16, epochs=15, verbose=0).history
    assert set(history) == {
        "loss",
        "cross_entropy",
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
    history = model_of("standard").fit(*tiny.examples(16), verbose=0).history
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
    model = model_of()
    before = weights_of(model)
    measured = model.evaluate(*data, batch_size=8, verbose=0, return_dict=True)
    assert set(measured) == {"loss", "clean_accuracy", "adversarial_accuracy"}
    for old, new in zip(before, weights_of(model)):
        np.testing.assert_array_equal(old, new)


def test_evaluation_counts_a_partial_batch_exactly():
    images, labels = tiny.examples(21)
    model = model_of()
    logits = model.predict(images, verbose=0)
    expected = np.mean(np.argmax(logits, -1) == labels)
    measured = model.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)
    assert measured["clean_accuracy"] == pytest.approx(expected)


@pytest.mark.slow
def test_same_seed_same_weights_other_seed_other_weights():
    images, labels = tiny.examples(32)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    results = []
    for seed in (1, 1, 2):
        tf.keras.utils.set_random_seed(0)
        model = model_of(seed=seed)
        model.fit(dataset, epochs=2, verbose=0)
        results.append(weights_of(model)[0])
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() > 0


def test_clean_epochs_come_first():
    history = model_of(clean_epochs=2).fit(*tiny.examples(16), epochs=4, verbose=0).history
    np.testing.assert_allclose(history["perturbation_max"], [0, 0, 0.05, 0.05], rtol=1e-4)
    np.testing.assert_array_equal(
        np.isnan(history["adversarial_accuracy"]), [True, True, False, False]
    )


def test_clean_epochs_count_from_initial_epoch():
    model = model_of(clean_epochs=2)
    history = model.fit(*tiny.examples(16), initial_epoch=3, epochs=4, verbose=0).history
    np.testing.assert_allclose(history["perturbation_max"], [0.05], rtol=1e-4)


def test_weight_decay_is_in_the_loss():
    data = tiny.examples(16)
    network = tiny.network()
    plain = model_of("standard", network=network, learning_rate=0.0)
    decayed = model_of("standard", network=network, learning_rate=0.0, weight_decay=0.1)
    losses = [m.fit(*data, batch_size=16, verbose=0).history["loss"][0] for m in (plain, decayed)]
    kernels = [w for w in network.trainable_weights if "kernel" in w.name]
    expected = 0.05 * sum(float(tf.reduce_sum(w**2)) for w in kernels)
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-4)


def test_sample_weights_scale_the_loss():
    images, labels = tiny.examples(16)
    network = tiny.network()
    losses = [
        model_of("standard", network=network, learning_rate=0.0)
        .fit(images, labels, sample_weight=weights, batch_size=16, verbose=0)
        .history["loss"][0]
        for weights in (None, np.full(16, 0.5, np.float32))
    ]
    assert losses[1] == pytest.approx(0.5 * losses[0], rel=1e-5)


def test_predict_is_of_the_averaged_weights_too():
    images, labels = tiny.examples(16)
    model = model_of(ema_decay=0.9, learning_rate=1.0)
    model.fit(images, labels, batch_size=4, epochs=3, verbose=0)
    with model.evaluated_weights():
        expected = model.classifier(images, training=False)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


def test_validation_weighs_the_loss_and_no_accuracy_as_keras_does():
    images, labels = tiny.examples(16)
    model = model_of()
    weights = np.float32([1] * 8 + [0] * 8)
    measured = [
        model.evaluate(
            x, y, sample_weight=sample_weight, batch_size=16, verbose=0, return_dict=True
        )
        for x, y, sample_weight in (
            (images, labels, weights),
            (images, labels, None),
            (images[:8], labels[:8], None),
        )
    ]
    weighted, plain, first_half = measured
    assert weighted["loss"] == pytest.approx(first_half["loss"] / 2, rel=1e-5)
    assert weighted["clean_accuracy"] == plain["clean_accuracy"]


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
