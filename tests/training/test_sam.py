"""Sharpness-aware steps: their arithmetic, and what is refused."""

import numpy as np
import pytest
import recipes
import tensorflow as tf
import tiny
from sam_models import PGD, fit, linear, model_of, weights_of

from sat_tf import training
from sat_tf.training import SAM, AdversarialModel, create

pytestmark = pytest.mark.smoke


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
    model = model_of(linear, sam, method=create("standard"), weight_decay=0.3)
    before = weights_of(model)
    history = fit(model)
    loss, gradients = _sharp_gradient(before, *tiny.examples(16), sam)
    gradients[0] += 0.3 * before[0]  # the decay is at the weights themselves, on kernels only
    for old, new, gradient in zip(before, weights_of(model), gradients):
        np.testing.assert_allclose(new, old - 0.1 * gradient, atol=2e-7)
    assert history["loss"][0] == pytest.approx(loss + 0.15 * np.sum(before[0] ** 2), rel=1e-5)
    plain = _softmax_gradient(before, *tiny.examples(16))[1][0]
    assert np.abs(gradients[0] - 0.3 * before[0] - plain).max() > 1e-3  # e has an effect


def test_the_attack_leaves_nothing_in_the_first_gradient():
    """The step is that of its images given as constants."""
    images, labels = tiny.examples(16)
    method = create("pgd", random_start=False, **PGD)
    attacked = model_of(tiny.network, SAM(0.5), method=method)
    adversarial = method.perturb(
        attacked.logits, tf.constant(images), tf.constant(labels), tf.constant([0, 0])
    )
    given = model_of(
        tiny.network,
        SAM(0.5),
        method=type(method)(
            lambda *args: tf.constant(adversarial.numpy()), method.loss, method.metrics
        ),
    )
    for model in (attacked, given):
        fit(model)
    for a, b in zip(weights_of(attacked), weights_of(given)):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_each_replica_may_take_its_own_direction(mirrored):
    """The update is then the mean of the shards' own sharpness-aware gradients."""
    sam = SAM(1.0, norm="replica")
    model = model_of(linear, sam, method=create("standard"), strategy=mirrored)
    before = weights_of(model)
    fit(model)
    images, labels = tiny.examples(16)
    shards = [
        _sharp_gradient(before, images[half], labels[half], sam)[1]
        for half in (slice(0, 8), slice(8, 16))
    ]
    whole = _sharp_gradient(before, images, labels, sam)[1]
    for old, new, a, b, other in zip(before, weights_of(model), *shards, whole):
        np.testing.assert_allclose(new, old - 0.1 * (a + b) / 2, atol=2e-7)
        assert np.abs((a + b) / 2 - other).max() > 1e-4
    for copies in model.classifier.weights:  # and the replicas' weights are one again
        np.testing.assert_array_equal(
            *(v.numpy() for v in mirrored.experimental_local_results(copies))
        )


def test_a_gradient_that_is_not_finite_spares_no_weight():
    weights = [tf.ones([2]), tf.ones([])]
    for bad in (np.inf, np.nan):
        e = SAM(0.1).perturbation(weights, [tf.constant([bad, 1.0]), tf.constant(1.0)])
        assert all(np.isnan(part).all() for part in e)


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
    before = weights_of(model)
    assert np.isfinite(fit(model)["loss"]).all()
    assert any(np.any(a != b) for a, b in zip(before, weights_of(model)))


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
