"""AdversarialModel where the derivative of its activations is replaced in attack, update or
both."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tiny

from flags import definitions, to_config
from sat_tf import activations
from sat_tf.saved_models.export import export
from sat_tf.training import AdversarialModel, build, create, create_optimizer

pytestmark = pytest.mark.smoke

SMOOTH = "parametric_softplus"


def _model(attack=None, update=None, *, activation="relu", learning_rate=0.1, seen=None, **method):
    """A model that writes the images of its latest attack to the variable `seen`, if given."""
    tf.keras.utils.set_random_seed(0)
    method = create("pgd", **{"epsilon": 0.05, "num_steps": 2, **method})
    if seen is not None:
        method = type(method)(_recorded(method.perturb, seen), method.loss, method.metrics)
    model = AdversarialModel(
        tiny.network(activation=activations.create(activation)),
        method,
        attack_gradient=attack,
        update_gradient=update,
    )
    model.compile(create_optimizer("sgd", learning_rate))
    return model


def _recorded(perturb, seen):
    def recorded(*args):
        seen.assign(tf.ensure_shape(perturb(*args), seen.shape))
        return seen.read_value()

    return recorded


def _weights(model):
    return np.concatenate([w.numpy().ravel() for w in model.classifier.trainable_weights])


def _fit(model, epochs=1):
    return model.fit(
        *tiny.examples(16), batch_size=16, shuffle=False, epochs=epochs, verbose=0
    ).history


@pytest.mark.slow
def test_every_cell_of_the_ablation_trains_other_weights():
    results = []
    for attack, update in itertools.product((None, SMOOTH), repeat=2):
        model = _model(attack, update)
        _fit(model, epochs=3)
        results.append(_weights(model))
    for first, second in itertools.combinations(results, 2):
        assert np.abs(first - second).max() > 1e-4


def _seen():
    return tf.Variable(tf.zeros([16, tiny.SIZE, tiny.SIZE, 3]), trainable=False)


@pytest.mark.slow
def test_the_attacks_derivative_changes_the_attack_alone():
    """The weights stay, so both classifiers are one function, and clean images fare alike."""
    found = {}
    for attack in (None, SMOOTH):
        seen = _seen()
        model = _model(attack, learning_rate=0.0, seen=seen)
        measured = model.evaluate(*tiny.examples(16), batch_size=16, verbose=0, return_dict=True)
        evaluated_on = seen.numpy()
        found[attack] = (
            measured["clean_accuracy"],
            measured["loss"],
            _fit(model)["clean_accuracy"],
            evaluated_on,
            seen.numpy(),
        )
    exact, smooth = found.values()
    assert exact[:3] == smooth[:3]
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(exact[3:], smooth[3:]))


def test_the_updates_derivative_changes_the_update_alone():
    found = {}
    for update in (None, SMOOTH):
        seen = _seen()
        model = _model(None, update, seen=seen)
        history = _fit(model)
        found[update] = seen.numpy(), history["loss"], history["adversarial_accuracy"], model
    (images, loss, accuracy, exact), (same, same_loss, same_accuracy, smooth) = found.values()
    np.testing.assert_array_equal(images, same)
    assert loss == same_loss and accuracy == same_accuracy
    assert np.abs(_weights(exact) - _weights(smooth)).max() > 1e-4


def _twin(network):
    """The network by other means: relu's values on the softplus' path of the gradient."""

    def through(z):
        soft = tf.nn.softplus(10.0 * z) / 10.0
        return soft + tf.stop_gradient(tf.nn.relu(z) - soft)

    twin = tiny.network(activation=lambda: tf.keras.layers.Lambda(through))
    twin.set_weights(network.get_weights())
    return twin


def _mean_loss(network, images, labels, training):
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, network(images, training=training))
    )


def test_the_update_follows_the_replaced_derivative():
    images, labels = tiny.examples(8)
    network = tiny.network(activation=activations.create("relu"))
    twin, start = _twin(network), network.trainable_weights[0].numpy()
    model = AdversarialModel(network, create("standard"), update_gradient=SMOOTH)
    model.compile(tf.keras.optimizers.SGD(1.0))
    model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
    with tf.GradientTape() as tape:
        loss = _mean_loss(twin, images, labels, training=True)
    expected = tape.gradient(loss, twin.trainable_weights[0])
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(start - network.trainable_weights[0], expected, atol=1e-5)


@pytest.mark.parametrize("compiled", ["none", "step", "loop"])
def test_attacks_of_every_form_follow_the_replaced_derivative(compiled):
    images, labels = tiny.examples(8)
    seen = tf.Variable(tf.zeros_like(images), trainable=False)
    model = _model(SMOOTH, random_start=False, compiled=compiled, seen=seen)
    model.evaluate(images, labels, batch_size=8, verbose=0)
    found, exact, expected = (
        seen.numpy(),
        *(
            _sign_steps(network, tf.constant(images), labels)
            for network in (model.classifier, _twin(model.classifier))
        ),
    )
    assert np.mean(np.abs(found - expected) > 1e-6) < 0.01  # a sign may flip where it is near 0
    assert np.mean(np.abs(found - exact) > 0.01) > 0.05


def _sign_steps(network, images, labels):
    """PGD-2 without a start, written out."""
    adversarial = images
    for _ in range(2):
        with tf.GradientTape() as tape:
            tape.watch(adversarial)
            loss = _mean_loss(network, adversarial, labels, training=False)
        moved = adversarial + 0.025 * tf.sign(tape.gradient(loss, adversarial))
        adversarial = tf.clip_by_value(
            tf.clip_by_value(moved, images - 0.05, images + 0.05), 0.0, 1.0
        )
    return adversarial


def _fit_on(strategy, attack, update):
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        network = tiny.network(batch_norm=False, activation=activations.create("relu"))
        model = AdversarialModel(
            network,
            create("pgd", epsilon=0.05, num_steps=2, random_start=False),
            attack_gradient=attack,
            update_gradient=update,
        )
        model.compile(create_optimizer("sgd", 0.1))
    dataset = tf.data.Dataset.from_tensor_slices(tiny.examples(16)).batch(8)
    model.fit(dataset, verbose=0)
    return _weights(model)


@pytest.mark.slow
def test_two_replicas_make_the_update_of_one(mirrored, one_device):
    """Each is traced in a thread of its own."""
    weights = _fit_on(mirrored, SMOOTH, "sigmoid")
    np.testing.assert_allclose(weights, _fit_on(one_device, SMOOTH, "sigmoid"), atol=1e-6)
    assert np.abs(weights - _fit_on(mirrored, None, "sigmoid")).max() > 1e-5
    assert np.abs(weights - _fit_on(mirrored, SMOOTH, None)).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(precision):
    tf.keras.mixed_precision.set_global_policy(precision)
    results = []
    for replaced in (None, SMOOTH):
        model = _model(replaced, replaced)
        history = _fit(model, epochs=2)
        assert np.isfinite(history["loss"]).all()
        results.append(_weights(model))
    assert np.abs(results[0] - results[1]).max() > 1e-4


def test_a_learnt_activation_goes_on_learning():
    model = _model(SMOOTH, SMOOTH, activation="smoothrelu")
    (raw_alpha,) = [w for w in model.classifier.trainable_weights if "raw_alpha" in w.name]
    _fit(model, epochs=2)
    assert raw_alpha.numpy() != 20.0 and np.isfinite(raw_alpha).all()


def test_the_export_has_the_exact_derivative(tmp_path):
    """Written right after training, when every graph of the classifier had another one."""
    model = _model(SMOOTH, SMOOTH)
    _fit(model)
    export(model.classifier, tmp_path / "m", image_size=tiny.SIZE)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    images = tf.constant(tiny.examples(4)[0])
    slopes = []
    for function, name in ((loaded.logits, None), (model.logits, None), (model.logits, SMOOTH)):
        with tf.GradientTape() as tape, activations.derivative_of(name):
            tape.watch(images)
            score = tf.reduce_sum(function(images) * [1.0, -2.0, 3.0, 1.0])
        slopes.append(tape.gradient(score, images))
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-4, atol=1e-7)
    assert np.abs(slopes[0] - slopes[2]).max() > 1e-3


@pytest.mark.parametrize("which", ["attack_gradient", "update_gradient"])
def test_what_would_replace_nothing_is_refused(which):
    method = create("pgd", epsilon=0.05)
    with pytest.raises(ValueError, match="has no layer of `sat_tf.activations`.*replace nothing"):
        AdversarialModel(tiny.network(), method, **{which: SMOOTH})
    inner = tiny.network(activation=activations.create("relu"))
    nested = tf.keras.Sequential([tf.keras.layers.Rescaling(1.0), inner])
    nested.build([None, tiny.SIZE, tiny.SIZE, 3])
    AdversarialModel(nested, method, **{which: SMOOTH})
    with pytest.raises(ValueError, match="unknown activation 'swoosh'"):
        AdversarialModel(nested, method, **{which: "swoosh"})


@pytest.mark.parametrize("flag", ["attack_gradient", "update_gradient"])
def test_the_flag_reaches_the_model(flag):
    flags = definitions.define()
    definitions.parse(flags, ["main.py", f"--{flag}=mish"])
    with pytest.raises(ValueError, match="the derivative of mish would replace nothing"):
        build(to_config.to_config(flags), tiny.network(), create("standard"))
