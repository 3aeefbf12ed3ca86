"""What is measured, and under which derivative, on a network that masks its gradient."""

import types

import numpy as np
import pytest
import tensorflow as tf

from flags import definitions, to_config
from sat_tf import activations, data, distribution
from sat_tf.data.in_memory import Examples
from sat_tf.runs.measurement import Measurement, exhibits
from sat_tf.runs.training_measurement import TrainingMeasurement

pytestmark = pytest.mark.smoke

# An image is one grey level g, and class 0 where g < 0.5: relu is flat there, so that its
# derivative shows the attack no way up, while the others do.
GREYS = np.array([0.1, 0.2, 0.3, 0.44, 0.45, 0.46, 0.47, 0.48])


def masked(images):
    relu = activations.create("relu")()
    score = relu(20.0 * (tf.reduce_mean(images, [1, 2, 3]) - 0.5))
    return tf.stack([tf.fill(tf.shape(score), 1e-3), score], -1)


def source():
    pixels = np.rint(255 * GREYS).astype(np.uint8)[:, None, None, None]
    images = np.broadcast_to(pixels, [len(GREYS), 8, 8, 3]).copy()
    examples = Examples(images, np.zeros(len(GREYS), np.int32))
    return data.Source(data.describe("digits"), None, examples)


def resolve(*arguments):
    flags = definitions.define()
    definitions.parse(flags, ["main.py", "--epsilon=0.1", "--eval_examples=8", *arguments])
    return to_config.to_config(flags)


def _network(logits_fn):
    return types.SimpleNamespace(logits_fn=logits_fn, differentiable=True)


def measurement(*arguments):
    return Measurement(
        resolve(*arguments), distribution.create("one_device"), source(), _network(masked)
    )


def test_without_replacement_every_attack_is_measured_once():
    result = measurement("--eval_attacks=clean,fgsm").accuracies()
    assert result.correct == {"clean": 8, "fgsm": 8}


@pytest.mark.slow
def test_every_attack_is_measured_under_each_derivative_on_the_same_network():
    measured = measurement(
        "--eval_attacks=clean,fgsm,pgd-3x2",
        "--activation=relu",
        "--attack_gradient=parametric_softplus",
        "--update_gradient=swish",
    )
    correct = measured.accuracies().correct
    assert list(correct) == [
        "clean",
        "fgsm",
        "pgd-3x2",
        "fgsm:parametric_softplus",
        "pgd-3x2:parametric_softplus",
        "fgsm:swish",
        "pgd-3x2:swish",
    ]
    assert correct["clean"] == correct["fgsm"] == 8
    assert correct["fgsm:parametric_softplus"] == correct["pgd-3x2:parametric_softplus"] == 3
    assert correct["pgd-3x2:swish"] == 3


def test_a_derivative_that_both_use_is_measured_once_and_the_gallery_is_of_the_last():
    measured = measurement(
        "--eval_attacks=fgsm",
        "--activation=relu",
        "--attack_gradient=sigmoid",
        "--update_gradient=sigmoid",
    )
    assert list(measured.accuracies().correct) == ["clean", "fgsm", "fgsm:sigmoid"]
    images, adversarial, *_ = exhibits(measured.accuracies())
    assert (images != adversarial).any()  # of the last attack


@pytest.mark.slow
def test_attacks_made_on_another_network_are_carried_over():
    smooth = activations.differentiated_as("parametric_softplus", masked)
    measured = Measurement(
        resolve("--eval_attacks=fgsm,autoattack", "--autoattack_version=pgd-2,square-5"),
        distribution.create("one_device"),
        source(),
        _network(masked),
        surrogates={"transfer": smooth},
    )
    result = measured.accuracies()
    assert list(result.correct) == [
        "clean",
        "fgsm",
        "autoattack",
        "fgsm:transfer",
        "autoattack:transfer",
    ]
    assert result.correct["fgsm"] == 8 and result.correct["fgsm:transfer"] == 3
    assert "pgd-2:transfer" in result.outcomes["autoattack:transfer"].stages
    assert "transfer_beats_white_box" in [finding.name for finding in measured.review(result)]


def test_examples_held_out_are_measured_under_each_derivative_too():
    """In steps of their own: --eval_step_size is not theirs, and at 0 would leave all 8 correct."""
    config = resolve(
        "--activation=relu",
        "--update_gradient=parametric_softplus",
        "--eval_step_size=0",
        "--train_examples=16",
        "--validation_examples=8",
        "--batch_size=8",
    )
    grey = Examples(np.full([16, 8, 8, 3], 119, np.uint8), np.zeros(16, np.int32))
    measured = TrainingMeasurement(
        config,
        distribution.create("one_device"),
        data.Source(data.describe("digits"), grey, grey),
        masked,
        training_batches=None,
    )
    assert measured.held_out().correct == {"clean": 8, "pgd-10": 8, "pgd-10:parametric_softplus": 0}
