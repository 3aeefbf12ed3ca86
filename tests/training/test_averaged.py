"""Which weights a model with an average shows to whom."""

import numpy as np
import pytest
import tensorflow as tf
import tiny
from adversarial_models import model_of

from sat_tf.training import AdversarialModel

pytestmark = [pytest.mark.smoke, pytest.mark.slow]

IMAGES, LABELS = tiny.examples(16)


def trained():
    """Returns a model whose average is far from its weights, and the average's own logits."""
    model = model_of(ema_decay=0.9, learning_rate=1.0)
    model.fit(IMAGES, LABELS, batch_size=4, epochs=2, verbose=0)
    other = tiny.network()
    for weight, average in zip(other.weights, model.average.averages):
        weight.assign(average)
    return model, other(IMAGES, training=False)


def exported(model, path):
    model.export(path)
    loaded = tf.saved_model.load(path)
    return loaded.serve(IMAGES)


USES = {
    "predict": lambda model, path: model.predict(IMAGES, verbose=0),
    "predict_on_batch": lambda model, path: model.predict_on_batch(IMAGES),
    "call": lambda model, path: model(IMAGES),
    "call in a graph": lambda model, path: tf.function(lambda images: model(images))(IMAGES),
    "export": exported,
}


@pytest.mark.parametrize("use", USES)
def test_every_use_has_the_average(use, tmp_path):
    model, expected = trained()
    raw = [w.numpy() for w in model.classifier.weights]
    np.testing.assert_allclose(USES[use](model, str(tmp_path)), expected, atol=1e-5)
    assert np.abs(model.classifier(IMAGES) - expected).max() > 1e-2
    for before, after in zip(raw, model.classifier.weights):
        np.testing.assert_array_equal(before, after)


def test_test_on_batch_is_evaluate():
    model, _ = trained()
    evaluated = model.evaluate(IMAGES, LABELS, batch_size=16, verbose=0)
    np.testing.assert_allclose(model.test_on_batch(IMAGES, LABELS), evaluated, rtol=1e-5)


def test_gradients_of_a_direct_call_are_those_of_the_average():
    model, _ = trained()
    images = tf.constant(IMAGES)
    gradients = []
    for function in (model, model.classifier):
        with model.evaluated_weights(), tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(function(images)[:, 0])
        gradients.append(tape.gradient(total, images))
    np.testing.assert_allclose(*gradients, atol=1e-6)


@pytest.mark.slow
def test_a_saved_model_of_the_whole_is_refused_where_it_would_be_of_other_weights(tmp_path):
    model, _ = trained()
    with pytest.raises(ValueError, match=r"use export\(PATH\)"):
        tf.saved_model.save(model, str(tmp_path))
    plain = AdversarialModel(tiny.network(), "standard")
    tf.saved_model.save(plain, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    (logits,) = loaded(tf.constant(IMAGES)).values()
    np.testing.assert_allclose(logits, plain(IMAGES), atol=1e-5)


@pytest.mark.parametrize("then", ["evaluate", "fit", "save"])
def test_other_weights_behind_the_average_are_noticed(then, tmp_path):
    model, _ = trained()
    other = tiny.network()
    tf.keras.utils.set_random_seed(7)
    model.classifier.set_weights([w + 0.1 for w in other.get_weights()])
    act = {
        "evaluate": lambda: model.evaluate(IMAGES, LABELS, verbose=0),
        "fit": lambda: model.fit(IMAGES, LABELS, verbose=0),
        "save": lambda: model.save(str(tmp_path / "classifier.keras")),
    }[then]
    with pytest.raises(ValueError, match=r"call restart_average\(\)"):
        act()
    model.restart_average()
    act()


@pytest.mark.slow
def test_training_and_loading_of_all_kinds_pass_unnoticed(tmp_path):
    model, _ = trained()
    model.train_on_batch(IMAGES, LABELS)
    model.evaluate(IMAGES, LABELS, verbose=0)
    state = model.training_state
    path = state.write(str(tmp_path / "state"))
    kept = model.get_weights()
    model.fit(IMAGES, LABELS, verbose=0)
    model.set_weights(kept)
    model.evaluate(IMAGES, LABELS, verbose=0)
    state.read(path).assert_existing_objects_matched()
    model.predict(IMAGES, verbose=0)


def test_within_a_strategys_replicas_the_average_is_asked_for_outside(mirrored):
    with mirrored.scope():
        model = model_of(ema_decay=0.9)
    images = tf.constant(IMAGES)
    with pytest.raises(RuntimeError, match="evaluated_weights"):
        mirrored.run(lambda: model(images))
    with model.evaluated_weights():
        mirrored.run(lambda: model(images))
