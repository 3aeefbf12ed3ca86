"""Training with sharpness-aware steps: what they leave of both passes, on replicas, in float16,
resumed."""

import numpy as np
import pytest
import tensorflow as tf
import tiny
from sam_models import PGD, fit, model_of, network, weights_of

from sat_tf import data
from sat_tf.training import SAM, checkpoints, create, create_optimizer

pytestmark = pytest.mark.smoke


@pytest.mark.slow
@pytest.mark.parametrize("strategy_name", ["one_device", "mirrored"])
def test_all_but_the_update_is_that_of_a_plain_step(strategy_name, request):
    """At rate zero: weights bit for bit, statistics, counts of calls, loss and metrics."""
    results = []
    for sam in (None, SAM(5.0)):
        model = model_of(
            network,
            sam,
            strategy=request.getfixturevalue(strategy_name),
            options={"steps_per_execution": 2},
            optimizer=tf.keras.optimizers.SGD(0.0),
            weight_decay=0.1,
        )
        before = weights_of(model)
        results.append((weights_of(model), fit(model, batch_size=8), weights_of(model)))
    (_, plain_history, plain), (before, history, sharp) = results
    assert plain_history == history
    changed = set()
    for variable, a, b, old in zip(model.classifier.weights, plain, sharp, before):
        np.testing.assert_array_equal(a, b, err_msg=variable.name)
        if np.any(b != old):
            changed.add(variable.name.split("/")[-1].split(":")[0])
    assert changed == {"moving_mean", "moving_variance", "calls"}


@pytest.mark.slow
def test_replicas_go_on_with_their_own_statistics(mirrored):
    """Those that are not synchronised differ, and none may be given another's."""
    seen = []
    for sam in (None, SAM(5.0, norm="replica")):
        model = model_of(
            tiny.network, sam, strategy=mirrored, optimizer=tf.keras.optimizers.SGD(0.0)
        )
        fit(model)
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

    model = model_of(
        network,
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


@pytest.mark.slow
def test_two_replicas_make_the_update_of_one(mirrored, one_device):
    """With synchronised statistics, a deterministic start and the norm of the global gradient."""
    models = []
    for strategy, synchronized in ((one_device, False), (mirrored, True)):
        models.append(
            model_of(
                lambda: tiny.network(synchronized=synchronized),
                SAM(0.5),
                strategy=strategy,
                weight_decay=1e-3,
                ema_decay=0.9,
            )
        )
        fit(models[-1], batch_size=8)
    for a, b in zip(models[0].classifier.weights, models[1].classifier.weights):
        # Keras' synchronised layer keeps the biased variance, its fused kernel the unbiased one.
        tolerance = 2e-3 if "variance" in a.name else 1e-5
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=tolerance, err_msg=a.name)


@pytest.mark.slow
def test_float16_trains_and_its_gradients_are_those_of_the_unscaled_loss():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    results = []
    for initial_scale in (1, 1024):
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
            tf.keras.optimizers.SGD(0.1), initial_scale=initial_scale
        )
        model = model_of(
            tiny.network, SAM(0.05), optimizer=optimizer, weight_decay=0.1, ema_decay=0.9
        )
        history = fit(model, 64)
        results.append(weights_of(model))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, atol=2e-3)
    more = model.fit(*tiny.examples(64), batch_size=16, epochs=6, verbose=0).history
    assert more["loss"][-1] < history["loss"][0]


def test_an_overflow_skips_the_step_and_spoils_no_weight():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.SGD(0.1), initial_scale=2.0**100
    )
    model = model_of(tiny.network, SAM(0.05), optimizer=optimizer, weight_decay=0.1)
    before = [w.numpy() for w in model.classifier.trainable_weights]
    fit(model)
    for old, new in zip(before, model.classifier.trainable_weights):
        np.testing.assert_array_equal(old, new)
    assert float(optimizer.loss_scale.numpy()) == 2.0**99
    assert all(np.isfinite(w).all() for w in weights_of(model))


def test_weights_beyond_the_loss_stay():
    def with_an_unused_layer():
        network = tiny.network()
        network.unused = tf.keras.layers.Dense(2)
        network.unused.build([None, 3])
        return network

    model = model_of(with_an_unused_layer, SAM(0.5))
    unused = model.classifier.unused.kernel.numpy()
    assert len(model.classifier.trainable_variables) == 8
    fit(model)
    np.testing.assert_array_equal(unused, model.classifier.unused.kernel)


def _resumable(strategy):
    model = model_of(
        network,
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


@pytest.mark.slow
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
