"""Probing attacks, on networks built to resist them for the wrong reasons and on sound ones."""

import networks
import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf import models
from sat_tf.attacks import ThreatModel
from sat_tf.evaluation.checks.probes import Prober, probe

IMAGES, LABELS = tiny.examples(64, seed=1)
THREAT = ThreatModel(epsilon=0.1)
RADIUS = {"linf": 0.1, "l2": 0.5}


def names(logits_fn, *, images=IMAGES, labels=LABELS, threat=THREAT, **settings):
    findings = probe(logits_fn, images, labels, 0, threat=threat, **settings)
    return [finding.name for finding in findings]


@pytest.mark.smoke
@pytest.mark.parametrize(
    "activation, policy, norm",
    [
        ("relu", "float32", "linf"),
        ("swish", "float32", "l2"),
        pytest.param("mish", "float32", "linf", marks=pytest.mark.slow),
        ("swish", "mixed_float16", "linf"),
        pytest.param("relu", "mixed_bfloat16", "linf", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_found_on_a_sound_network(activation, policy, norm):
    logits_fn = tiny.trained(activation, policy)
    assert (
        names(
            logits_fn,
            threat=ThreatModel(norm, epsilon=RADIUS[norm]),
            loss_scale=128.0 if policy == "mixed_float16" else 1.0,
        )
        == []
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "builder",
    [
        networks.SMALL["resnet"],
        pytest.param(models.MODELS["resnet20"].builder, marks=pytest.mark.slow),
    ],
    ids=["small", "resnet20"],
)
def test_nothing_is_found_on_an_untrained_network(builder):
    network = networks.small(builder, num_classes=10, image_size=8, activation="relu")
    logits_fn = lambda images: network(images, training=False)
    assert names(logits_fn, labels=np.argmax(logits_fn(IMAGES), -1)) == []


def test_a_radius_may_be_0():
    assert names(tiny.trained(), threat=ThreatModel(epsilon=0.0)) == []


@pytest.mark.parametrize(
    "norm, build",
    [
        ("linf", lambda f: lambda images: f(IMAGES) + 0 * f(images)),  # ignores its images
        pytest.param(
            "linf", lambda f: lambda images: tf.tanh(30 * f(images)), marks=pytest.mark.slow
        ),  # saturated
        ("l2", lambda f: lambda images: tf.tanh(30 * f(images))),
        (
            "linf",
            lambda f: lambda images: f(2 * tf.stop_gradient(images) - images),
        ),  # the wrong way
    ],
)
def test_a_model_robust_at_any_epsilon_is_found(norm, build):
    threat = ThreatModel(norm, epsilon=RADIUS[norm] / 10)
    [finding] = probe(build(tiny.trained()), IMAGES, LABELS, 0, threat=threat)
    assert finding.name == "robust_at_any_epsilon"
    assert finding.text.startswith("64 of 64 correctly classified examples (100%)")


@pytest.mark.smoke
def test_more_steps_that_make_an_attack_weaker_are_found():
    logits_fn = tiny.trained("swish")
    found = names(lambda images: logits_fn(images) + 0.5 * tf.sin(100 * logits_fn(images)))
    assert found[:2] == ["single_step_beats_many", "more_steps_do_not_help"]


def test_nothing_is_said_of_a_model_that_is_right_about_nothing():
    ignores = lambda images: tf.one_hot((LABELS + 1) % 4, 4) + 0 * images[:, 0, 0, :1]
    assert names(ignores) == []


@pytest.mark.parametrize("form", ["none", "step"])
def test_five_graphs_are_traced_once(form):
    logits_fn, calls = tiny.trained(), []

    def counting(images):
        calls.append(1)
        return logits_fn(images)

    prober = Prober(counting, threat=THREAT, num_steps=8, compiled=form)
    assert prober(IMAGES[:16], LABELS[:16], 0) == []
    traced = len(calls)
    assert traced == 5 or form != "none"
    assert prober(IMAGES[16:32], LABELS[16:32], 1) == []
    assert len(calls) == traced


def test_a_quarter_of_few_steps_is_refused():
    with pytest.raises(ValueError, match="num_steps=7: give at least 8"):
        Prober(tiny.trained(), threat=THREAT, num_steps=7)
