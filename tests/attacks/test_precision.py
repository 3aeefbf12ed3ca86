"""A network in half precision is attacked as hard as in float32, and nothing of epsilon is lost."""

import daily
import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf import attacks

LOSS_SCALES = {"mixed_bfloat16": 1.0, "mixed_float16": 128.0}
EPSILON = 24 / 255
CASES = [
    (name, policy, activation)
    for name in ("fgsm", "pgd-10", "apgd-ce")
    for policy in LOSS_SCALES
    for activation in ("relu", "swish")
]


def found(name, logits_fn, images, labels, **form):
    attack = tf.function(attacks.create(name, epsilon=EPSILON, **form), autograph=False)
    seeds = tf.stack([tf.range(len(images)), tf.zeros(len(images), tf.int32)], axis=-1)
    return attack(logits_fn, images, labels, seeds)


@pytest.mark.parametrize(
    "case", daily.only([("pgd-10", "mixed_bfloat16", "swish")], CASES), ids=" ".join
)
def test_as_many_are_broken_as_in_float32(case):
    name, policy, activation = case
    whole = tiny.trained(activation)
    images, labels = tiny.examples(1024, seed=3)
    # Those near the border: of these an attack that is a little weaker breaks fewer.
    margins = np.sort(tf.nn.softmax(whole(images)).numpy(), -1)
    near = np.argsort(margins[:, -1] - margins[:, -2])[:800]
    images, labels = images[near], labels[near]
    theirs = found(name, whole, images, labels)
    half = tiny.trained(activation, policy)
    ours = found(name, half, images, labels, loss_scale=LOSS_SCALES[policy])
    assert ours.dtype == tf.float32
    change = np.abs(ours.numpy() - images)
    assert EPSILON - 1e-7 < change.max() <= EPSILON + 1e-7

    def broken(logits_fn, adversarial):
        return np.mean(np.argmax(logits_fn(adversarial), -1) != labels)

    assert 0.1 < broken(whole, theirs) < 0.9
    assert broken(whole, theirs) - broken(half, ours) < 0.01
