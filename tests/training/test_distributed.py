"""The train step on two replicas against one, and what differs between replicas."""

import dataclasses

import daily
import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf import seeds
from sat_tf.training import METHODS, AdversarialModel, create, create_optimizer

pytestmark = pytest.mark.smoke

METHOD = dict(epsilon=0.05, num_steps=2)


def _fit(
    strategy,
    *,
    synchronized=False,
    random_start=False,
    batch_norm=True,
    ema_decay=0.9,
    perturbations=None,
):
    """Trains two steps of a global batch of 8; returns the model and its history."""
    images, labels = tiny.examples(16)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    method = create("pgd", random_start=random_start, **METHOD)
    if perturbations is not None:
        method = _spy(method, perturbations)
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        network = tiny.network(batch_norm=batch_norm, synchronized=synchronized)
        model = AdversarialModel(network, method, ema_decay=ema_decay, weight_decay=1e-3)
        model.compile(create_optimizer("sgd", 0.1))
    history = model.fit(dataset, verbose=0).history
    return model, history


def _spy(method, variables):
    """Lets every replica add its first image's perturbation to a per-replica variable."""

    def perturb(logits_fn, images, labels, seed):
        adversarial = method.perturb(logits_fn, images, labels, seed)
        variables[0].assign_add(adversarial[0] - images[0])
        return adversarial

    return type(method)(perturb, method.loss, method.metrics)


def test_two_replicas_make_the_update_of_one(mirrored, one_device):
    """With synchronised statistics and a deterministic start."""
    one, one_history = _fit(one_device)
    two, two_history = _fit(mirrored, synchronized=True)
    for a, b in zip(one.classifier.weights, two.classifier.weights):
        # Keras' synchronised layer keeps the biased variance, its fused kernel the unbiased one.
        tolerance = 2e-3 if "variance" in a.name else 1e-5
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=tolerance, err_msg=a.name)
    for name in ("loss", "adversarial_accuracy", "perturbation_mean"):
        np.testing.assert_allclose(one_history[name], two_history[name], rtol=1e-4, err_msg=name)
    for a, b in zip(one.average.averages, two.average.averages):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-3)
    assert int(two.global_step.numpy()) == 2


def test_a_deterministic_step_is_the_same_without_batch_norm(mirrored, one_device):
    one, _ = _fit(one_device, batch_norm=False)
    two, _ = _fit(mirrored, batch_norm=False)
    for a, b in zip(one.classifier.weights, two.classifier.weights):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6, err_msg=a.name)


def test_replicas_start_at_different_points(mirrored):
    with mirrored.scope():
        seen = [
            tf.Variable(
                tf.zeros([tiny.SIZE, tiny.SIZE, 3]),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
        ]
    images, labels = tiny.examples(1)
    same_image = np.repeat(images, 2, 0), np.repeat(labels, 2, 0)
    with mirrored.scope():
        network = tiny.network(batch_norm=False)
        model = AdversarialModel(
            network, _spy(create("pgd", epsilon=0.05, num_steps=1, step_size=0.001), seen)
        )
        model.compile(create_optimizer("sgd", 0.0))
    model.fit(tf.data.Dataset.from_tensor_slices(same_image).batch(2), verbose=0)
    first, second = [v.numpy() for v in mirrored.experimental_local_results(seen[0])]
    assert np.abs(first).max() > 0.01
    assert np.abs(first - second).max() > 0.01


def test_validation_on_two_replicas_counts_all(mirrored):
    model, _ = _fit(mirrored, ema_decay=0)
    images, labels = tiny.examples(14)
    expected = np.mean(np.argmax(model.predict(images, batch_size=14, verbose=0), -1) == labels)
    measured = model.evaluate(images, labels, batch_size=4, verbose=0, return_dict=True)
    np.testing.assert_allclose(measured["clean_accuracy"], expected, rtol=1e-6)


def _in_halves(method, step):
    """On one device, perturbs each half of the batch with the seed of its replica."""

    def perturb(logits_fn, images, labels, unused_seed):
        stream = seeds.stream_seed(0, seeds.TRAINING_ATTACK, step())
        halves = zip(tf.split(images, 2), tf.split(labels, 2))
        return tf.concat(
            [
                method.perturb(
                    logits_fn,
                    *half,
                    tf.random.experimental.stateless_fold_in(
                        stream, tf.constant(replica, tf.int64)
                    ),
                )
                for replica, half in enumerate(halves)
            ],
            0,
        )

    return dataclasses.replace(method, perturb=perturb)


SETTINGS = {
    "standard": {},
    "pgd": dict(epsilon=0.05, num_steps=2),
    "fast": dict(epsilon=0.05),
    "trades": dict(epsilon=0.05, num_steps=2),
    "backward_smoothing": dict(epsilon=0.05),
    # Active from its third epoch on, and then in every step.
    "converge_smooth": dict(epsilon=0.05, threshold=1e-6, boundaries=(0, 9)),
}


@pytest.mark.parametrize("name", daily.only(["standard", "fast"], METHODS))
def test_every_method_on_two_replicas_is_that_on_one(name, mirrored, one_device):
    """Random starts included: a replica's seed is a function of the step and its number."""
    models = []
    for strategy in (mirrored, one_device):
        tf.keras.utils.set_random_seed(0)
        with strategy.scope():
            method = create(name, **SETTINGS[name])
            if strategy is one_device:
                method = _in_halves(method, lambda: models[-1].global_step)
            model = AdversarialModel(tiny.network(batch_norm=False), method)
            models.append(model)
            model.compile(create_optimizer("sgd", 0.05))
        dataset = tf.data.Dataset.from_tensor_slices(tiny.examples(16)).batch(8)
        history = model.fit(dataset, epochs=4 if method.state else 2, verbose=0).history
        assert np.isfinite(history["loss"]).all()
    two, one = models
    for a, b in zip(one.classifier.weights, two.classifier.weights):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-5, err_msg=a.name)
