"""Sharpness-aware steps: their arithmetic, and what they leave of both passes."""

import contextlib

import numpy as np
import pytest
import recipes
import tensorflow as tf
import tiny

from sat_tf import data, training
from sat_tf.training import SAM, AdversarialModel, checkpoints, create, create_optimizer

pytestmark = pytest.mark.smoke

PGD = dict(epsilon=0.05, num_steps=2)


def _linear():
    """Softmax regression from the pixels, with a bias that is not zero."""
    inputs = tf.keras.Input((tiny.SIZE, tiny.SIZE, 3))
    logits = tf.keras.layers.Dense(
        tiny.CLASSES, bias_initializer=tf.keras.initializers.RandomNormal(stddev=0.3, seed=1)
    )(tf.keras.layers.Flatten()(inputs))
    return tf.keras.Model(inputs, logits)


def _network():
    """A network with everything that a pass changes, and a layer that is not trained."""
    return tiny.stochastic_network(frozen=True)


def _model(make_network, sam, *, method=None, optimizer=None, strategy=None, options=(), **kwargs):
    """An AdversarialModel of PGD without a random start and SGD, unless told otherwise."""
    tf.keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        method = method or create("pgd", random_start=False, **PGD)
        model = AdversarialModel(make_network(), method, sam=sam, **kwargs)
        model.compile(optimizer or tf.keras.optimizers.SGD(0.1), **dict(options))
    return model


def _fit(model, count=16, batch_size=16):
    batches = tf.data.Dataset.from_tensor_slices(tiny.examples(count)).batch(batch_size)
    return model.fit(batches, verbose=0).history


def _weights(model):
    return [w.numpy() for w in model.classifier.weights]


def _softmax_gradient(weights, images, labels):
    """Returns the mean cross-entropy of a linear classifier and its gradients, in float64."""
    kernel, bias = (np.float64(w) for w in weights)
    flat = np.float64(images).reshape(len(images), -1)
    logits = flat @ kernel + bias
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    errors = (probabilities - np.eye(tiny.CLASSES)[labels]) / len(labels)
    return loss, [flat.T @ errors, errors.sum(0)]


def _sharp_gradient(weights, images, labels, sam):
    """Returns the loss at the weights and g', the gradients at weights + e."""
    loss, gradients = _softmax_gradient(weights, images, labels)
    sizes = [np.abs(w) if sam.adaptive else np.ones_like(w) for w in weights]
    norm = np.sqrt(sum(np.sum((s * g) ** 2) for s, g in zip(sizes, gradients)))
    there = [w + sam.rho * s * s * g / norm for w, s, g in zip(weights, sizes, gradients)]
    return loss, _softmax_gradient(there, images, labels)[1]


@pytest.mark.parametrize("sam", [SAM(0.5), SAM(2.0, adaptive=True)], ids=["plain", "adaptive"])
def test_a_step_is_the_hand_computed_one(sam):
    model = _model(_linear, sam, method=create("standard"), weight_decay=0.3)
    before = _weights(model)
    history = _fit(model)
    loss, gradients = _sharp_gradient(before, *tiny.examples(16), sam)
    gradients[0] += 0.3 * before[0]  # the decay is at the weights themselves, on kernels only
    for old, new, gradient in zip(before, _weights(model), gradients):
        np.testing.assert_allclose(new, old - 0.1 * gradient, atol=2e-7)
    assert history["loss"][0] == pytest.approx(loss + 0.15 * np.sum(before[0] ** 2), rel=1e-5)
    plain = _softmax_gradient(before, *tiny.examples(16))[1][0]
    assert np.abs(gradients[0] - 0.3 * before[0] - plain).max() > 1e-3  # e has an effect


@pytest.mark.parametrize("strategy_name", ["one_device", "mirrored"])
def test_all_but_the_update_is_that_of_a_plain_step(strategy_name, request):
    """At rate zero: weights bit for bit, statistics, counts of calls, loss and metrics."""
    results = []
    for sam in (None, SAM(5.0)):
        model = _model(
            _network,
            sam,
            strategy=request.getfixturevalue(strategy_name),
            options={"steps_per_execution": 2},
            optimizer=tf.keras.optimizers.SGD(0.0),
            weight_decay=0.1,
        )
        before = _weights(model)
        results.append((_weights(model), _fit(model, batch_size=8), _weights(model)))
    (_, plain_history, plain), (before, history, sharp) = results
    assert plain_history == history
    changed = set()
    for variable, a, b, old in zip(model.classifier.weights, plain, sharp, before):
        np.testing.assert_array_equal(a, b, err_msg=variable.name)
        if np.any(b != old):
            changed.add(variable.name.split("/")[-1].split(":")[0])
    assert changed == {"moving_mean", "moving_variance", "calls"}


def test_replicas_go_on_with_their_own_statistics(mirrored):
    """Those that are not synchronised differ, and none may be given another's."""
    seen = []
    for sam in (None, SAM(5.0, norm="replica")):
        model = _model(tiny.network, sam, strategy=mirrored, optimizer=tf.keras.optimizers.SGD(0.0))
        _fit(model)
        seen.append(
            [
                v.numpy()
                for v in mirrored.experimental_local_results(model.classifier.layers[2].moving_mean)
            ]
        )
    np.testing.assert_array_equal(*seen)
    assert np.abs(seen[0][0] - seen[0][1]).max() > 0


def test_both_passes_drop_the_same_units():
    method, logits = create("standard"), []

    def loss(logits_fn, *args):
        def record(images):
            logits.append(logits_fn(images))
            return logits[-1]

        return method.loss(record, *args)

    model = _model(
        _network,
        SAM(1e-30),
        method=type(method)(method.perturb, loss, method.metrics),
        optimizer=tf.keras.optimizers.SGD(0.0),
        options={"run_eagerly": True},
    )
    images, labels = tiny.examples(8)
    model.fit(
        np.repeat(images, 2, 0),
        np.repeat(labels, 2),
        batch_size=16,
        shuffle=False,
        epochs=2,
        verbose=0,
    )
    first, again, second, _ = (x.numpy() for x in logits)  # weights + 1e-30 are the weights
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 1e-3
    assert int(model.classifier.get_layer("dropout").calls.numpy()) == 2


def test_the_attack_leaves_nothing_in_the_first_gradient():
    """The step is that of its images given as constants."""
    images, labels = tiny.examples(16)
    method = create("pgd", random_start=False, **PGD)
    attacked = _model(tiny.network, SAM(0.5), method=method)
    adversarial = method.perturb(
        attacked.logits, tf.constant(images), tf.constant(labels), tf.constant([0, 0])
    )
    given = _model(
        tiny.network,
        SAM(0.5),
        method=type(method)(
            lambda *args: tf.constant(adversarial.numpy()), method.loss, method.metrics
        ),
    )
    for model in (attacked, given):
        _fit(model)
    for a, b in zip(_weights(attacked), _weights(given)):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_two_replicas_make_the_update_of_one(mirrored, one_device):
    """With synchronised statistics, a deterministic start and the norm of the global gradient."""
    models = []
    for strategy, synchronized in ((one_device, False), (mirrored, True)):
        models.append(
            _model(
                lambda: tiny.network(synchronized=synchronized),
                SAM(0.5),
                strategy=strategy,
                weight_decay=1e-3,
                ema_decay=0.9,
            )
        )
        _fit(models[-1], batch_size=8)
    for a, b in zip(models[0].classifier.weights, models[1].classifier.weights):
        # Keras' synchronised layer keeps the biased variance, its fused kernel the unbiased one.
        tolerance = 2e-3 if "variance" in a.name else 1e-5
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=tolerance, err_msg=a.name)


def test_each_replica_may_take_its_own_direction(mirrored):
    """The update is then the mean of the shards' own sharpness-aware gradients."""
    sam = SAM(1.0, norm="replica")
    model = _model(_linear, sam, method=create("standard"), strategy=mirrored)
    before = _weights(model)
    _fit(model)
    images, labels = tiny.examples(16)
    shards = [
        _sharp_gradient(before, images[half], labels[half], sam)[1]
        for half in (slice(0, 8), slice(8, 16))
    ]
    whole = _sharp_gradient(before, images, labels, sam)[1]
    for old, new, a, b, other in zip(before, _weights(model), *shards, whole):
        np.testing.assert_allclose(new, old - 0.1 * (a + b) / 2, atol=2e-7)
        assert np.abs((a + b) / 2 - other).max() > 1e-4
    for copies in model.classifier.weights:  # and the replicas' weights are one again
        np.testing.assert_array_equal(
            *(v.numpy() for v in mirrored.experimental_local_results(copies))
        )


def test_float16_trains_and_its_gradients_are_those_of_the_unscaled_loss():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    results = []
    for initial_scale in (1, 1024):
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
            tf.keras.optimizers.SGD(0.1), initial_scale=initial_scale
        )
        model = _model(
            tiny.network, SAM(0.05), optimizer=optimizer, weight_decay=0.1, ema_decay=0.9
        )
        history = _fit(model, 64)
        results.append(_weights(model))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, atol=2e-3)
    more = model.fit(*tiny.examples(64), batch_size=16, epochs=6, verbose=0).history
    assert more["loss"][-1] < history["loss"][0]


def test_an_overflow_skips_the_step_and_spoils_no_weight():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.SGD(0.1), initial_scale=2.0**100
    )
    model = _model(tiny.network, SAM(0.05), optimizer=optimizer, weight_decay=0.1)
    before = [w.numpy() for w in model.classifier.trainable_weights]
    _fit(model)
    for old, new in zip(before, model.classifier.trainable_weights):
        np.testing.assert_array_equal(old, new)
    assert float(optimizer.loss_scale.numpy()) == 2.0**99
    assert all(np.isfinite(w).all() for w in _weights(model))


def test_a_gradient_that_is_not_finite_spares_no_weight():
    weights = [tf.ones([2]), tf.ones([])]
    for bad in (np.inf, np.nan):
        e = SAM(0.1).perturbation(weights, [tf.constant([bad, 1.0]), tf.constant(1.0)])
        assert all(np.isnan(part).all() for part in e)


def test_weights_beyond_the_loss_stay():
    def with_an_unused_layer():
        network = tiny.network()
        network.unused = tf.keras.layers.Dense(2)
        network.unused.build([None, 3])
        return network

    model = _model(with_an_unused_layer, SAM(0.5))
    unused = model.classifier.unused.kernel.numpy()
    assert len(model.classifier.trainable_variables) == 8
    _fit(model)
    np.testing.assert_array_equal(unused, model.classifier.unused.kernel)


def _resumable(strategy):
    model = _model(
        _network,
        SAM(0.2),
        strategy=strategy,
        method=create("pgd", **PGD),
        seed=5,
        ema_decay=0.9,
        weight_decay=1e-4,
        optimizer=create_optimizer("sgd", 0.05),
    )

    def fit(steps, start):
        model.fit(
            data.training_batches(
                data.load("digits"),
                batch_size=16,
                image_size=8,
                augment="basic",
                seed=5,
                start_step=start,
            ),
            steps_per_epoch=steps,
            verbose=0,
        )

    return model, fit


def test_six_steps_are_three_a_restore_and_three(mirrored, tmp_path):
    whole, fit = _resumable(mirrored)
    fit(3, 0)
    checkpoints.Checkpoints(whole.training_state, str(tmp_path)).save(3)
    fit(3, 3)
    tf.keras.backend.clear_session()
    second, fit = _resumable(mirrored)
    assert checkpoints.Checkpoints(second.training_state, str(tmp_path)).restore()
    fit(3, 3)
    for a, b in zip(
        [*whole.classifier.weights, *whole.average.averages],
        [*second.classifier.weights, *second.average.averages],
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.name)


@pytest.mark.parametrize(
    "flags, expected",
    [
        ((), None),
        (("--sam_rho=0.1",), SAM(0.1)),
        (("--sam_rho=1", "--sam_adaptive", "--sam_norm=replica"), SAM(1.0, True, "replica")),
    ],
)
def test_a_run_is_configured_by_its_flags(flags, expected):
    config = recipes.resolve("--method=fast", "--epsilon=0.05", *flags)
    model = training.build(
        config, tiny.network(), training.build_method(config, compiled="none", loss_scale=1.0)
    )
    assert model.sam == expected
    before = _weights(model)
    assert np.isfinite(_fit(model)["loss"]).all()
    assert any(np.any(a != b) for a, b in zip(before, _weights(model)))


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(rho=0), "rho=0: give a number above 0"),
        (dict(rho=-0.1), "rho=-0.1"),
        (dict(rho=float("nan")), "rho=nan"),
        (dict(rho=float("inf")), "rho=inf"),
        (dict(rho=0.1, norm="layer"), "unknown norm 'layer'; known: global, replica"),
    ],
)
def test_nonsense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SAM(**settings)


def test_a_number_is_no_sam():
    with pytest.raises(ValueError, match=r"SAM\(rho=0.05\)"):
        AdversarialModel(tiny.network(), create("standard"), sam=0.05)
