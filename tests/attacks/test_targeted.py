"""Attacks towards classes that are given: what they reach, what counts, and which there are."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from attacked import EPSILON, IMAGES, TEMPLATES, linear, logits_fn

from sat_tf import attacks

pytestmark = pytest.mark.smoke

NAMES = ["fgsm", "pgd-5", "pgd-3x2", "cw-5", "apgd-ce-5", "apgd-dlr-5", "apgd-ce-3x2-eot2"]
WITHOUT = ["clean", "fab-5", "fab-t-5", "square-5", "apgd-t-5", "autoattack"]
TARGETS = ((linear(IMAGES).numpy().argmax(-1) + 1) % 4).astype("int32")


def predicted(images):
    return linear(images).numpy().argmax(-1)


def test_every_attack_of_the_table_is_in_one_of_the_lists():
    rows = {name.split("[")[0].split("-N")[0] for name in attacks.ATTACKS}
    tried = {row for row in rows for name in NAMES + WITHOUT if name.startswith(row)}
    assert tried == rows


@pytest.mark.parametrize("norm, epsilon", [("linf", EPSILON), ("l2", 0.5)])
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_the_target_falls(name, norm, epsilon):
    search = attacks.create(name, epsilon=epsilon, norm=norm, targeted=True)
    assert search.targeted
    found = search(linear, IMAGES, TARGETS, 0)
    loss = attacks.margin if "cw" in name or "dlr" in name else attacks.cross_entropy
    before, after = (loss(linear(images), TARGETS).numpy() for images in (IMAGES, found))
    assert (after < before).all()
    size = attacks.ThreatModel(norm, epsilon=epsilon).size(tf.constant(IMAGES), found)
    assert size.numpy().max() <= epsilon + 1e-5
    assert (predicted(found) == TARGETS).any()


def test_one_step_is_the_opposite_of_one_away_from_the_class():
    grey = np.full_like(IMAGES, 0.5)
    towards, away = (
        attacks.fgsm(linear, grey, TARGETS, epsilon=EPSILON, targeted=targeted).numpy() - 0.5
        for targeted in (True, False)
    )
    np.testing.assert_allclose(towards, -away, atol=1e-6)


def test_of_two_classes_it_has_the_closed_form():
    pair = TEMPLATES[:, :2]
    sign = np.sign(pair[:, 1] - pair[:, 0]).reshape(8, 8, 3)
    for name in ("pgd-20", "cw-20"):
        attack = attacks.create(name, epsilon=EPSILON, targeted=True)
        found = attack(lambda x: tf.reshape(x, [-1, 192]) @ pair, IMAGES, [1] * 6, 0)
        np.testing.assert_allclose(found, np.clip(IMAGES + EPSILON * sign, 0, 1), atol=1e-6)


# What counts: an example is broken once it is classified as the target.


@pytest.mark.parametrize(
    "search",
    [
        functools.partial(attacks.pgd_search, robust_if="any_iterate", random_start=False),
        functools.partial(attacks.apgd_search, "ce"),
    ],
)
def test_a_run_stops_at_the_target_and_not_at_another_class(search):
    """Along the grey scale the classes are 0, 1 and 2; the attack goes up from 0 to 2."""

    def bands(images):
        grey = tf.reduce_mean(images, [1, 2, 3])
        return 40 * tf.stack([0.45 - grey, tf.zeros_like(grey), grey - 0.55], -1)

    images = np.full([2, 2, 2, 3], 0.4, "float32")
    attack = search(epsilon=0.3, num_steps=8, targeted=True, **_small_step(search))
    found = attack(bands, images, [2, 1], 0).numpy()
    assert bands(found).numpy().argmax(-1).tolist() == [2, 1]
    untargeted = search(epsilon=0.3, num_steps=8, **_small_step(search))
    assert bands(untargeted(bands, images, [0, 0], 0)).numpy().argmax(-1).tolist() != [0, 0]


def _small_step(search):
    return {"step_size": 0.08} if search.func is attacks.pgd_search else {}


def test_what_is_classified_as_the_target_already_is_left_alone():
    attack = attacks.create("apgd-ce-5", epsilon=0.0, targeted=True)
    state = attack.begin(
        linear, tf.constant(IMAGES), TARGETS, tf.constant([0, 1]), tf.zeros([6], tf.int32)
    )
    labels = tf.constant(np.where(np.arange(6) < 3, predicted(IMAGES), TARGETS), tf.int32)
    after, index = attack.advance(
        linear, tf.constant(IMAGES), labels, state, tf.zeros([6], tf.int32), 5
    )
    assert after["broken"].numpy().tolist() == [True] * 3 + [False] * 3
    assert index.numpy().tolist() == [1] * 3 + [5] * 3


def test_of_several_runs_the_result_is_one_that_reached_the_target_else_the_closest():
    attack = functools.partial(
        attacks.pgd,
        linear,
        IMAGES,
        TARGETS,
        0,
        epsilon=EPSILON,
        num_steps=1,
        step_size=1 / 255,
        targeted=True,
    )
    reached, loss = np.zeros(6, bool), np.full(6, np.inf)
    for restarts in (1, 2, 4):
        found = attack(restarts=restarts)
        now = predicted(found) == TARGETS
        value = attacks.cross_entropy(linear(found), TARGETS).numpy()
        assert (now | ~reached).all()
        assert (reached | now | (value <= loss)).all()
        reached, loss = now, value


def test_a_verdict_on_targets():
    labels = np.where(np.arange(6) < 3, predicted(IMAGES), TARGETS)
    verdict = attacks.judge(linear, IMAGES, labels, targeted=True)
    assert verdict.broken.numpy().tolist() == [True] * 3 + [False] * 3
    plain = attacks.judge(linear, IMAGES, labels)
    np.testing.assert_array_equal(plain.broken, ~verdict.broken.numpy())


@pytest.mark.parametrize("compiled", ["step", "loop"])
def test_compiled_forms_reach_the_same(compiled):
    none, other = (
        attacks.pgd(
            logits_fn,
            IMAGES,
            TARGETS,
            0,
            epsilon=EPSILON,
            num_steps=3,
            targeted=True,
            compiled=form,
        )
        for form in ("none", compiled)
    )
    losses = [attacks.cross_entropy(logits_fn(images), TARGETS) for images in (none, other)]
    np.testing.assert_allclose(*losses, rtol=1e-3)


# What it refuses.


@pytest.mark.parametrize("name", WITHOUT)
def test_attacks_without_such_a_form_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"targeted=True: '{name}' has no form towards given cla"):
        attacks.create(name, epsilon=EPSILON, targeted=True)
    assert not getattr(attacks.create(name, epsilon=EPSILON), "targeted", False)


def test_a_loss_that_chooses_its_own_targets_is_refused():
    with pytest.raises(ValueError, match="targeted=True: loss='dlr-targeted' chooses its targets"):
        attacks.apgd_search("dlr-targeted", epsilon=EPSILON, targeted=True)


def test_an_ensemble_of_what_is_not_misclassified_is_refused():
    with pytest.raises(ValueError, match="stage 'one' is targeted: call it by itself"):
        attacks.Ensemble({"one": attacks.create("pgd-2", epsilon=EPSILON, targeted=True)})
