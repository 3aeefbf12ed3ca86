"""AdversarialModel as a Keras model: built, summarised, copied, saved and gone on with."""

import copy

import numpy as np
import pytest
import tensorflow as tf
import tiny
from adversarial_models import weights_of

from sat_tf.training import SAM, AdversarialModel, methods

pytestmark = [pytest.mark.smoke, pytest.mark.slow]

IMAGES, LABELS = tiny.examples(16)


def compiled(**kwargs):
    model = AdversarialModel(
        tiny.network(), "pgd", epsilon=0.05, num_steps=1, ema_decay=0.9, weight_decay=0.01, **kwargs
    )
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), metrics=["accuracy"])
    return model


def test_it_is_built_as_its_classifier_is(capsys):
    model = AdversarialModel(tiny.network(), "pgd", epsilon=0.05)
    assert model.built
    assert model.input_shape == (None, 8, 8, 3) and model.output_shape == (None, 4)
    model.summary()
    printed = capsys.readouterr().out
    assert "tiny" in printed and "288" not in printed.split("Total params")[0].split("tiny")[0]


@pytest.mark.slow
def test_a_saved_model_goes_on_training_as_if_it_had_never_stopped(tmp_path):
    model = compiled(clean_epochs=1, sam=SAM(rho=0.05))
    model.fit(IMAGES, LABELS, batch_size=8, shuffle=False, verbose=0)
    path = str(tmp_path / "training.keras")
    tf.keras.models.save_model(model, path)
    loaded = tf.keras.models.load_model(path)
    assert type(loaded) is AdversarialModel
    histories = [
        m.fit(IMAGES, LABELS, batch_size=8, epochs=2, shuffle=False, verbose=0).history
        for m in (model, loaded)
    ]
    assert histories[0] == histories[1] and histories[0]["perturbation_max"][0] > 0.04
    for a, b in zip(weights_of(model), weights_of(loaded)):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(model.average.averages, loaded.average.averages):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_copies():
    model = compiled()
    model.fit(IMAGES, LABELS, batch_size=8, verbose=0)
    deep = copy.deepcopy(model)
    np.testing.assert_allclose(deep(IMAGES), model(IMAGES), atol=1e-6)
    before = model(IMAGES).numpy()
    deep.fit(IMAGES, LABELS, batch_size=8, verbose=0)
    np.testing.assert_array_equal(model(IMAGES), before)
    clone = tf.keras.models.clone_model(model)
    clone.compile("sgd")
    assert clone.get_config().keys() == model.get_config().keys()
    assert np.isfinite(clone.fit(IMAGES, LABELS, verbose=0).history["loss"]).all()
    assert int(clone.global_step.numpy()) == 1


def test_a_method_that_is_not_known_by_name_is_refused_at_once(tmp_path):
    model = AdversarialModel(tiny.network(), methods.pgd(epsilon=0.05))
    for copying in (
        copy.deepcopy,
        tf.keras.models.clone_model,
        lambda m: tf.keras.models.save_model(m, str(tmp_path / "model.keras")),
    ):
        with pytest.raises(ValueError, match="its method was given by name"):
            copying(model)
    assert not list(tmp_path.iterdir())


def test_methods_are_given_by_name_or_made():
    with pytest.raises(ValueError, match="unknown method 'pdg'; known: standard"):
        AdversarialModel(tiny.network(), "pdg")
    with pytest.raises(ValueError, match="epsilon: settings are those of a method given by its"):
        AdversarialModel(tiny.network(), methods.standard(), epsilon=0.1)
    with pytest.raises(ValueError, match="give a name of METHODS or a Method"):
        AdversarialModel(tiny.network(), 7)


def test_made_outside_of_a_strategys_scope_it_says_what_keras_says(mirrored):
    model = AdversarialModel(tiny.network(), "standard")
    with pytest.raises(ValueError, match="not created in the distribution strategy scope"):
        with mirrored.scope():
            model.compile("sgd")
