"""Self-checks before an attack, each on a network built to fail it and on sound ones."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf import models
from sat_tf.attacks import NORMS, ThreatModel, pgd
from sat_tf.errors import NonFinite, NotTrustworthy, RunFailure, UserError
from sat_tf.evaluation.checks import network as self_checks
from sat_tf.evaluation.checks.network import CHECKS, check_inside, examine

IMAGES, LABELS = tiny.examples(32, seed=1)
PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()


def names(logits_fn, **settings):
    findings = examine(logits_fn, IMAGES, LABELS, **settings)
    for finding in findings:
        assert "\n" not in finding.text and re.search(r"\d", finding.text)
    return [finding.name for finding in findings]


def refusal(logits_fn, **settings):
    with pytest.raises(NotTrustworthy) as caught:
        examine(logits_fn, IMAGES, LABELS, **settings)
    assert caught.value.check in CHECKS
    assert str(caught.value).startswith(caught.value.check.replace("_", " ") + ": ")
    assert isinstance(caught.value, RunFailure)
    return caught.value


# Sound networks


@pytest.mark.smoke
@pytest.mark.parametrize(
    "activation, policy",
    [
        ("relu", "float32"),
        ("swish", "float32"),
        ("mish", "float32"),
        ("relu", "mixed_float16"),
        ("mish", "mixed_float16"),
        ("swish", "float16"),
        ("relu", "mixed_bfloat16"),
        ("swish", "mixed_bfloat16"),
        ("mish", "bfloat16"),
    ],
)
def test_nothing_is_found_on_a_sound_network(activation, policy):
    logits_fn = tiny.trained(activation, policy)
    accuracy = np.mean(np.argmax(logits_fn(IMAGES), -1) == LABELS)
    assert accuracy == 1 or policy == "bfloat16"  # whose batch norm is that imprecise
    assert names(logits_fn, loss_scale=128.0 if policy == "mixed_float16" else 1.0) == []


def test_nothing_is_found_on_an_untrained_network():
    network = models.create("resnet20", num_classes=10, image_size=8, activation="swish")
    assert names(lambda images: network(images, training=False)) == []


@pytest.mark.parametrize("scale, offset", [(1e-6, 0.0), (1.0, 1e4), (10.0, -100.0)])
def test_the_scale_of_logits_does_not_matter(scale, offset):
    logits_fn = tiny.trained()
    assert names(lambda images: scale * logits_fn(images) + offset) == []


def test_the_pixel_range_does_not_matter():
    logits_fn = tiny.trained("swish")
    wide = lambda images: logits_fn((images + 100.0) / 355.0)
    images, bounds = IMAGES * 355 - 100, (-100.0, 255.0)
    assert examine(wide, images, LABELS, bounds=bounds) == []
    with pytest.raises(NotTrustworthy, match="gradient mismatch"):
        examine(quantised(wide, 5, low=-100.0, width=355.0), images, LABELS, bounds=bounds)


@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_batches_may_be_small_or_odd(count):
    logits_fn = tiny.trained()
    assert examine(logits_fn, IMAGES[:count], LABELS[:count]) == []
    stopped = lambda images: logits_fn(2 * tf.stop_gradient(images) - images)
    with pytest.raises(NotTrustworthy, match="gradient mismatch"):
        examine(stopped, IMAGES[:count], LABELS[:count])
    if count > 1:
        network = logits_fn.network
        with pytest.raises(NotTrustworthy, match="batch dependence"):
            examine(lambda images: network(images, training=True), IMAGES[:count], LABELS[:count])


def test_only_two_graphs_are_traced():
    logits_fn, calls = tiny.trained(), []

    def counting(images):
        calls.append(images.shape)
        return logits_fn(images)

    images, labels = tiny.examples(100)
    assert examine(counting, images, labels) == []
    assert calls == [(64, 8, 8, 3)] * 2


# Networks that answer in an unfit way


@pytest.mark.smoke
def test_a_randomised_model_is_found():
    logits_fn = tiny.trained()
    assert names(lambda images: logits_fn(tf.nn.dropout(images, 0.2))) == ["randomised_model"]
    slightly = lambda images: logits_fn(images + tf.random.normal(tf.shape(images), stddev=1e-3))
    assert names(slightly) == ["randomised_model"]


def test_probabilities_are_found():
    logits_fn = tiny.trained()
    assert names(lambda images: tf.nn.softmax(logits_fn(images))) == ["probabilities_as_logits"]
    half = tiny.trained(policy="mixed_bfloat16")
    assert "probabilities_as_logits" in names(
        lambda images: tf.nn.softmax(tf.cast(half(images), tf.bfloat16))
    )
    assert names(lambda images: tf.sigmoid(logits_fn(images))) == []  # their sum is not 1


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_too_few_classes_are_found(classes):
    logits_fn = tiny.trained()
    found = names(lambda images: logits_fn(images)[:, :classes])
    assert "too_few_classes" in found
    assert found == ["too_few_classes"] or classes == 1  # of one class there is no loss to climb


def test_zero_gradients_are_found():
    logits_fn = tiny.trained()
    [finding] = examine(lambda images: 1e6 * logits_fn(images), IMAGES, LABELS)
    assert finding.name == "zero_gradients"
    assert "32 correctly" in finding.text
    assert "cross-entropy on 100%" in finding.text and "DLR on 0%" in finding.text
    [finding] = examine(lambda images: tf.tanh(30 * logits_fn(images)), IMAGES, LABELS)
    assert finding.name == "zero_gradients" and "DLR on 100%" in finding.text
    assert names(lambda images: tf.sign(logits_fn(images))) == ["zero_gradients"]


@pytest.mark.parametrize("dead, expected", [(1, []), (2, ["zero_gradients"])])
def test_from_a_twentieth_of_the_examples_zero_gradients_count(dead, expected):
    logits_fn = tiny.trained()
    alive = tf.constant(np.arange(32) >= dead)[:, None]  # 1 / 32 and 2 / 32

    def partly(images):
        logits = logits_fn(images)
        return tf.where(alive, logits, tf.stop_gradient(logits))

    images, labels = tf.constant(IMAGES), LABELS
    network = self_checks.gradients_of.Network(partly)
    found = self_checks._look_at_gradients(network, images.numpy(), labels, network.logits(images))
    assert [finding.name for finding in found] == expected


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(value):
    logits_fn = tiny.trained()
    some = tf.constant(np.where(np.arange(32) < 3, value, 0.0), tf.float32)[:, None]
    with pytest.raises(NonFinite, match="3 of 32"):
        examine(lambda images: logits_fn(images) + some, IMAGES, LABELS)


# Networks whose numbers would mean nothing


@pytest.mark.smoke
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_prediction_that_depends_on_its_neighbours_is_refused(policy):
    network = tiny.trained(policy=policy).network
    error = refusal(lambda images: network(images, training=True))
    assert error.check == "batch_dependence" and "training=False" in str(error)


def test_a_prediction_that_depends_on_its_place_is_refused():
    logits_fn = tiny.trained()
    ramp = tf.range(32.0)[:, None]
    assert refusal(lambda images: logits_fn(images) * (1 + 0.01 * ramp)).check == "batch_dependence"


def quantised(logits_fn, levels, *, low=0.0, width=1.0):
    def function(images):
        rounded = tf.round((images - low) / width * levels) / levels * width + low
        return logits_fn(images + tf.stop_gradient(rounded - images))

    return function


@tf.custom_gradient
def median_filter(images):
    """Of three neighbours in a row, with the identity's gradient."""
    three = tf.stack([images, tf.roll(images, 1, 2), tf.roll(images, -1, 2)])
    return tf.sort(three, axis=0)[1], lambda upstream: upstream


def scrambled(images):
    order = np.random.default_rng(0).permutation(64)
    return tf.gather(tf.reshape(images, [-1, 64, 3]), order, axis=1)


MADE_UP = {
    "1 bit": lambda f: quantised(f, 1),
    "2 bits": lambda f: quantised(f, 3),
    "4 bits": lambda f: quantised(f, 15),
    "6 bits": lambda f: quantised(f, 63),
    "half stopped": lambda f: lambda images: 0.5 * f(images) + tf.stop_gradient(0.5 * f(images)),
    "other channel stopped": lambda f: (
        lambda images: f(images * [1.0, 1.0, 0.0]) + tf.stop_gradient(f(images * [0.0, 0.0, 1.0]))
    ),
    "opposite": lambda f: lambda images: f(2 * tf.stop_gradient(images) - images),
    "twice": lambda f: lambda images: f(2 * images - tf.stop_gradient(images)),
    "noise": lambda f: (
        lambda images: (
            f(tf.stop_gradient(images))
            + 0.1 * (scrambled(images)[:, :4, 0] - tf.stop_gradient(scrambled(images)[:, :4, 0]))
        )
    ),
    "median filter": lambda f: lambda images: f(median_filter(images)),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", MADE_UP)
def test_a_gradient_that_differences_contradict_is_refused(name):
    error = refusal(MADE_UP[name](tiny.trained("swish")))
    assert error.check == "gradient_mismatch" and "square" in str(error)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_coarse_arithmetic_does_not_hide_a_wrong_gradient(policy):
    logits_fn = tiny.trained("swish", policy)
    assert refusal(MADE_UP["opposite"](lambda images: 5 * logits_fn(images))).check == (
        "gradient_mismatch"
    )


def test_a_randomised_model_is_not_asked_for_its_gradient():
    logits_fn = tiny.trained()
    assert names(
        lambda images: logits_fn(
            2 * tf.stop_gradient(images) - images + tf.random.normal(tf.shape(images), stddev=0.01)
        )
    ) == ["randomised_model"]


@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_steep_functions_are_no_mismatch(activation):
    logits_fn = tiny.trained(activation)
    assert names(lambda images: logits_fn(images) + 0.5 * tf.sin(100 * logits_fn(images))) == []


def test_a_kink_at_the_pixels_themselves_is_no_mismatch():
    images = np.round(IMAGES * 4) / 4  # every pixel on a kink, and many on the bounds
    weights = np.random.default_rng(0).normal(size=(192, 4)).astype("float32")

    def logits_fn(images):
        folded = sum(tf.nn.relu(images - level / 4) * (-1.0) ** level for level in range(5))
        return tf.reshape(folded, [-1, 192]) @ weights

    assert examine(logits_fn, images, LABELS) == []


def test_a_gradient_that_is_not_finite_is_refused():
    logits_fn = tiny.trained()
    error = refusal(lambda images: logits_fn(tf.sqrt(tf.nn.relu(images - 0.3))))
    assert error.check == "gradient_mismatch" and "NaN" in str(error) and "32 of 32" in str(error)


def test_without_a_gradient_only_black_box_attacks_are_left():
    logits_fn = tiny.trained()
    rounded = lambda images: logits_fn(tf.cast(tf.cast(images * 255, tf.uint8), tf.float32) / 255)
    with pytest.raises(UserError, match="not differentiable with respect to its images.*square"):
        examine(rounded, IMAGES, LABELS)
    assert names(rounded, differentiable=False) == []
    with pytest.raises(NotTrustworthy, match="batch dependence"):  # what else is checked, still is
        examine(
            lambda images: rounded(images) - tf.reduce_mean(images),
            IMAGES,
            LABELS,
            differentiable=False,
        )


# Images outside the ball


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_what_attacks_return_is_inside(norm, bounds):
    low, high = bounds
    images = low + (high - low) * IMAGES
    radius = 0.05 if norm == "linf" else 1.0
    threat = ThreatModel(norm, epsilon=(high - low) * radius, bounds=bounds)
    weights = tf.random.stateless_normal([3, 4], [0, 1])
    linear = lambda images: tf.reduce_mean(images, [1, 2]) @ weights
    adversarial = pgd(
        linear, images, LABELS, 0, epsilon=threat.epsilon, num_steps=3, norm=norm, bounds=bounds
    )
    check_inside(threat, images, adversarial)
    check_inside(threat, images, images)


@pytest.mark.parametrize("norm", NORMS)
def test_images_outside_the_ball_are_refused_with_how_many_and_by_how_much(norm):
    threat = ThreatModel(norm, epsilon=0.05)
    adversarial = IMAGES.copy()
    adversarial[[3, 7], 0, 0, 0] = (
        np.where(IMAGES[[3, 7], 0, 0, 0] > 0.5, -0.0501, 0.0501) + (IMAGES[[3, 7], 0, 0, 0])
    )
    message = "outside ball: 2 of 32 .*epsilon=0.05 .*at most 0.0501"
    with pytest.raises(NotTrustworthy, match=message):
        check_inside(threat, IMAGES, adversarial)
    within = IMAGES.copy()
    within[3, 0, 0, 0] += 0.05 * (1 + 2e-6)
    check_inside(threat, IMAGES, within)


@pytest.mark.parametrize("norm", NORMS)
def test_images_outside_the_pixel_range_are_refused(norm):
    threat = ThreatModel(norm, epsilon=0.1)
    images = np.zeros([4, 2, 2, 3], np.float32)
    adversarial = images.copy()
    adversarial[1, 0, 0, 0] = -0.02
    with pytest.raises(NotTrustworthy, match=r"1 of 4 .*1 with pixels outside \[0, 1\].*0.02"):
        check_inside(threat, images, adversarial)
    adversarial[1, 0, 0, 0] = np.nan
    with pytest.raises(NotTrustworthy, match="1 of 4"):
        check_inside(threat, images, adversarial)


def test_rounding_to_half_precision_is_more_than_rounding():
    adversarial = (IMAGES + np.float32(8 / 255)).astype(np.float16)
    with pytest.raises(NotTrustworthy, match="by more than epsilon"):
        check_inside(ThreatModel(epsilon=8 / 255), IMAGES, adversarial)


# The page


def test_the_page_explains_every_check_under_its_name():
    assert set(re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE)) == set(CHECKS)
    for section in PAGE.split("\n### ")[1:]:
        assert "**Measured:**" in section and "**Then:**" in section, section[:40]


def test_the_page_and_the_code_name_the_same_refusals():
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (warning|refusal) \|", PAGE, re.MULTILINE))
    assert set(rows) == set(CHECKS)
    assert {name for name, kind in rows.items() if kind == "refusal"} == {
        "batch_dependence",
        "gradient_mismatch",
        "outside_ball",
    }
