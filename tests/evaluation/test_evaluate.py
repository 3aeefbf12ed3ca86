"""One call from a model and its data to numbers that were checked."""

import functools
import json
import re
import warnings

import greys
import numpy as np
import pytest
import tensorflow as tf
import tiny

import sat_tf
from sat_tf import attacks, evaluation, training
from sat_tf.errors import NonFinite, NotTrustworthy, UserError
from sat_tf.evaluation import table

pytestmark = pytest.mark.smoke

DATA = tiny.examples(32, seed=1)


def evaluate(model=greys.threshold, data=(greys.IMAGES, greys.LABELS), attacks="fgsm", **settings):
    """As `sat_tf.evaluate`, silent, with a radius where one has to be, and without checks."""
    settings = {"epsilon": greys.EPSILON, "checks": False, "verbose": 0, **settings}
    return sat_tf.evaluate(model, data, attacks, **settings)


def names(result):
    return [finding.name for finding in result.findings]


def test_the_counts_are_those_of_the_engine_for_names_attacks_and_functions():
    mine = lambda logits_fn, images, labels, seed: tf.clip_by_value(images + 0.09, 0.0, 1.0)
    asked = {"fgsm": attacks.create("fgsm", epsilon=greys.EPSILON), "named": "fgsm", "mine": mine}
    result = evaluate(attacks=asked, batch_size=4)
    assert result.correct == {
        "clean": greys.CLEAN,
        "fgsm": greys.ROBUST,
        "named": greys.ROBUST,
        "mine": 6,  # of the two below 1/2 that are near it
    }
    assert (result.epsilon, result.norm) == (greys.EPSILON, "linf")
    assert evaluate(attacks="clean", epsilon=None).correct == {"clean": greys.CLEAN}


@pytest.mark.slow
def test_batches_replicas_and_kinds_of_data_change_nothing(mirrored):
    data = tf.data.Dataset.from_tensor_slices((greys.IMAGES, greys.LABELS))
    results = [
        evaluate(attacks="pgd-2"),
        evaluate(attacks="pgd-2", batch_size=3, strategy=mirrored),
        evaluate(data=data, attacks="pgd-2", batch_size=3),
        evaluate(data=greys.padded_batches(), attacks="pgd-2"),
    ]
    assert all(result == results[0] for result in results)


def test_a_sound_network_is_checked_and_nothing_is_found():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        result = evaluate(tiny.trained().network, DATA, "pgd-10", epsilon=0.05, checks=True)
    assert result.checked and result.findings == ()
    assert result.clean_accuracy == 1 and "no self-checks" not in str(result)
    assert result.to_dict()["warnings"] == []


def test_findings_are_on_the_result_in_its_table_and_warned_of():
    logits_fn = tiny.trained()
    with pytest.warns(UserWarning, match="probabilities_as_logits: all outputs of 32") as caught:
        result = evaluate(lambda x: tf.nn.softmax(logits_fn(x)), DATA, checks=True)
    assert caught[0].filename == __file__
    assert names(result) == ["probabilities_as_logits"]
    assert "\nwarning: probabilities_as_logits: all outputs" in str(result)
    assert result.to_dict()["warnings"][0]["name"] == "probabilities_as_logits"


@pytest.mark.slow
def test_outcomes_are_reviewed_and_probed():
    logits_fn = tiny.trained()
    large = lambda images: 1e6 * logits_fn(images)
    with pytest.warns(UserWarning) as caught:
        result = evaluate(large, DATA, "apgd-ce-5,square-30", epsilon=0.15, checks=True)
    assert names(result) == [str(one.message).split(":")[0] for one in caught]
    assert {"zero_gradients", "square_beats_white_box", "robust_at_any_epsilon"} <= {*names(result)}
    assert len(set(names(result))) == len(names(result))


REFUSED = {
    "training mode": (lambda fn: lambda x: fn.network(x, training=True), "batch dependence"),
    "another gradient": (lambda fn: lambda x: fn(2 * tf.stop_gradient(x) - x), "gradient mismatch"),
    "rounded": (lambda fn: lambda x: fn(x + tf.stop_gradient(tf.round(4 * x) / 4 - x)), "mismatch"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("attack", ["fgsm", lambda logits_fn, images, labels, seed: images])
def test_what_makes_every_number_meaningless_is_refused_unless_nobody_checks(what, attack):
    transform, message = REFUSED[what]
    logits_fn = transform(tiny.trained())
    with pytest.raises(NotTrustworthy, match=message):
        evaluate(logits_fn, DATA, attack, checks=True)
    result = evaluate(logits_fn, DATA, attack, checks=False)
    assert not result.checked and "warnings" not in result.to_dict()
    assert str(result).endswith("\nno self-checks were made (checks=False)")


def test_a_network_with_noise_is_found():
    logits_fn = tiny.trained()
    noisy = lambda images: logits_fn(images + tf.random.normal(tf.shape(images), stddev=0.1))
    with pytest.warns(UserWarning, match="randomised_model"):
        assert "randomised_model" in names(evaluate(noisy, DATA, checks=True))


def test_a_network_without_gradients_has_black_box_attacks_of_ours_and_of_others():
    logits_fn = tiny.trained()
    without = lambda images: tf.stop_gradient(logits_fn(images))
    mine = lambda logits_fn, images, labels, seed: images
    result = evaluate(without, DATA, {"square-5": "square-5", "mine": mine}, checks=True)
    assert result.correct["square-5"] < result.correct["mine"] == result.correct["clean"] == 32
    assert result.checked and result.findings == ()  # no gradients that could be masked
    with pytest.raises(UserError, match="only black-box attacks, such as square"):
        evaluate(without, DATA, "pgd-2", checks=True)


@pytest.mark.parametrize(
    "attack",
    [
        attacks.create("pgd-2", epsilon=0.05, targeted=True),
        functools.partial(attacks.pgd, epsilon=0.05, num_steps=2, targeted=True),
    ],
)
def test_targeted_attacks_would_go_towards_the_true_class_and_are_refused(attack):
    with pytest.raises(UserError, match="is targeted, towards the classes .* leave out targeted"):
        evaluate(tiny.network(), DATA, attack, epsilon=0.05)


def test_an_adversarial_model_is_measured_with_its_averaged_weights():
    trained = tiny.trained().network
    classifier = tf.keras.models.clone_model(trained)  # others use the trained one
    classifier.set_weights(trained.get_weights())
    method = training.create("pgd", epsilon=0.05, num_steps=1)
    model = sat_tf.AdversarialModel(classifier, method, ema_decay=0.999)
    model.compile("sgd")
    good = evaluate(classifier, DATA, epsilon=0.05)
    for variable in classifier.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    model.global_step.assign_add(1)  # as a step of training would have done both
    assert evaluate(classifier, DATA, epsilon=0.05).clean_accuracy < 0.5
    assert evaluate(model, DATA, epsilon=0.05) == good
    assert not np.any(classifier.trainable_variables[0])  # they are back


def test_attacks_of_ones_own_stay_in_the_ball_and_in_the_pixels():
    moved = lambda logits_fn, images, labels, seed: images + 0.21
    with pytest.raises(NotTrustworthy, match="outside ball: .* by more than epsilon=0.1"):
        evaluate(attacks=moved)
    with pytest.raises(NotTrustworthy, match=r"outside ball: .* pixels outside \[0, 1\]"):
        evaluate(attacks=moved, epsilon=None)
    inside = lambda *given: tf.clip_by_value(moved(*given), 0.0, 1.0)
    result = evaluate(attacks={"mine": inside}, epsilon=None)
    assert result.correct["mine"] == 5 and result.epsilon is None
    assert str(result).startswith("accuracy on 10 examples\nclean ")


def test_pixels_may_be_of_another_range():
    wide = lambda images: greys.threshold((images + 1) / 2)
    data = (2 * greys.IMAGES - 1, greys.LABELS)
    moved = lambda logits_fn, images, labels, seed: tf.clip_by_value(images + 0.18, -1.0, 1.0)
    settings = dict(attacks={"mine": moved}, epsilon=0.2, bounds=(-1.0, 1.0))
    assert evaluate(wide, data, **settings).correct == {"clean": greys.CLEAN, "mine": 6}
    with pytest.raises(UserError, match=r"images must be within \(0, 1\); found -1 to 1"):
        evaluate(wide, data)


def test_a_shuffled_data_set_is_refused():
    data = tf.data.Dataset.from_tensor_slices((greys.IMAGES, greys.LABELS))
    with pytest.raises(UserError, match="another one when the data is read again.*shuffle=False"):
        evaluate(data=data.shuffle(10, seed=1).batch(4))


def test_a_data_set_of_a_generator_that_goes_on_where_it_was_is_refused():
    rows = iter(list(zip(greys.IMAGES, greys.LABELS)) * 9)
    spec = (tf.TensorSpec((2, 2, 3)), tf.TensorSpec((), tf.int32))
    data = tf.data.Dataset.from_generator(lambda: rows, output_signature=spec).take(7)
    with pytest.raises(UserError, match="example 0 is another one when the data is read again"):
        evaluate(data=data, attacks="clean")


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(epsilon=None), "epsilon: 'fgsm' needs a radius, .* as epsilon=8/255"),
        (dict(epsilon=4), "epsilon=4: wider than .* epsilon=4/255"),
        (dict(norm="l1"), "norm='l1': give one of 'linf', 'l2'"),
        (dict(batch_size=0), "batch_size=0: give an integer of at least 1"),
        (dict(batch_size=2.5), "batch_size=2.5: give an integer"),
        (dict(seed=None), "seed=None: give an integer"),
        (dict(bounds=1.0), r"bounds=1.0: give \(low, high\)"),
        (dict(checks="full"), "checks='full': give True or False"),
        (dict(verbose=3), "verbose=3: give 0, 1 or 2"),
        (dict(attacks="pdg"), "unknown attack 'pdg'"),
        (dict(data=(greys.IMAGES[:0], greys.LABELS[:0])), "data: no examples to evaluate"),
        (dict(data=(greys.IMAGES, greys.LABELS + 1)), "labels: 2 is no class of 2 logits"),
        (dict(model=lambda x: (x, x)), "model_or_function returns a tuple of 2"),
    ],
)
def test_mistakes_are_refused_in_a_line_before_anything_runs(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        evaluate(**settings)
    assert "\n" not in str(caught.value)


def test_logits_that_are_not_finite_are_refused():
    broken = lambda images: greys.threshold(images) / tf.reduce_mean(images, [1, 2, 3])[:, None]
    for checks in (True, False):  # before an attack, or while images are counted
        with pytest.raises(NonFinite, match="logits of 1 of 10 examples are not finite"):
            evaluate(lambda x: broken(x) + broken(x[:, ::-1]), checks=checks)


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_progress_is_told_as_keras_tells_it(capsys, verbose):
    evaluate(attacks="fgsm,pgd-2", verbose=verbose)
    lines = capsys.readouterr().out.replace("\r", "\n").splitlines()
    if verbose == 0:
        assert lines == []
    elif verbose == 1:
        assert [line for line in lines if line in ("clean", "fgsm", "pgd-2")] == [
            *("clean", "fgsm", "pgd-2")
        ]
        assert any(re.match(r"\x08*10/10 \[=+\] - \S+ .*/example", line) for line in lines)
    else:
        shown = [re.sub(r"[\d.]+ s$", "- s", line) for line in lines]
        assert shown == [
            "clean: 10 examples in - s",
            "fgsm: 8 examples in - s",
            "pgd-2: 8 examples in - s",
        ]


@pytest.fixture(scope="module")
def of_two():
    """A result with an ensemble in it."""
    made = {
        name: attacks.create(name, epsilon=greys.EPSILON, step_size=2 * greys.EPSILON)
        for name in ("fgsm", "pgd-2")
    }
    both = {"fgsm": "fgsm", "both": attacks.Ensemble(made)}
    return evaluate(attacks=both)


def test_a_result_shows_itself_as_the_command_line_does(of_two):
    assert repr(of_two) == "Result(10 examples, clean: 0.8, fgsm: 0.4, both: 0.4)"
    lines = str(of_two).splitlines()
    assert lines[0] == "accuracy on 10 examples, Linf epsilon 0.1 (25.5/255)"
    assert [re.sub(r"in [\d.]+ s", "in - s", " ".join(line.split())) for line in lines[1:]] == [
        "clean 80.00 %",
        "fgsm 40.00 % broke 4 of 8 in - s",
        "both 40.00 % broke 4 of 8 in - s",
        "fgsm 40.00 % broke 4 of 8 in - s",
        "pgd-2 40.00 % broke 0 of 4 in - s",
        "worst case 40.00 %",
        "no self-checks were made (checks=False)",
    ]
    assert str(of_two).startswith(table.format_table(of_two.to_dict()))


def test_a_result_is_a_dictionary_as_results_json_has_it(of_two):
    found = json.loads(json.dumps(of_two.to_dict()))
    attacks_found = found.pop("attacks")
    assert found == {
        "clean_accuracy": 0.8,
        "robust_accuracy": {"fgsm": 0.4, "both": 0.4},
        "worst_case_accuracy": 0.4,
        "examples": 10,
        "epsilon": 0.1,
        "norm": "linf",
        "checked": False,
    }
    assert (attacks_found["fgsm"]["attacked"], attacks_found["fgsm"]["broken"]) == (8, 4)
    assert [stage["accuracy"] for stage in attacks_found["both"]["stages"].values()] == [0.4, 0.4]


def test_a_result_draws_itself_without_pyplot(of_two, tmp_path):
    figure = of_two.plot()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("clean", "fgsm", "both", "worst case")
    ]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([80, 40, 40, 40])
    assert axes.texts[0].get_text() == "80.00 % (8 of 10)"
    figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_intervals_are_wilsons():
    assert evaluation.plot.interval(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert evaluation.plot.interval(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)
    assert evaluation.plot.interval(10, 10)[1] == 1.0
