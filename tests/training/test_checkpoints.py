"""Six steps equal three, a restore, and three: bit for bit; and what does not fit is refused."""

import os

import daily
import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf import data, errors, models
from sat_tf.runs import weights
from sat_tf.training import AdversarialModel, Schedule, checkpoints, create, create_optimizer

pytestmark = pytest.mark.smoke


def _model(strategy, optimizer):
    """A network with everything that has state: statistics, stochastic layers, slots, average."""
    with strategy.scope():
        tf.keras.utils.set_random_seed(1)
        network = tiny.stochastic_network()
        model = AdversarialModel(
            network,
            create("pgd", epsilon=0.1, num_steps=2, clean_start_probability=0.5),
            seed=5,
            ema_decay=0.9,
            weight_decay=1e-4,
        )
        model.compile(
            create_optimizer(
                optimizer,
                Schedule(
                    "cosine", learning_rate=0.05, total_steps=6, steps_per_epoch=3, warmup_steps=2
                ),
            )
        )
    return model


def _fit(model, steps, start=0):
    batches = data.training_batches(
        data.load("digits"), batch_size=16, image_size=8, augment="basic", seed=5, start_step=start
    )
    model.fit(batches, steps_per_epoch=steps, verbose=0)


def _state(model):
    variables = (
        [
            *model.classifier.weights,
            *model.optimizer.variables(),
            *model.average.averages,
            model.global_step,
        ]
        if callable(model.optimizer.variables)
        else [
            *model.classifier.weights,
            *model.optimizer.variables,
            *model.average.averages,
            model.global_step,
        ]
    )
    return [v.numpy() for v in variables]


@pytest.mark.parametrize("optimizer", daily.only(["sgd"], ["sgd", "rmsprop"]))
@pytest.mark.parametrize("strategy_name", daily.only(["one_device"], ["one_device", "mirrored"]))
def test_six_steps_are_three_and_three(strategy_name, optimizer, tmp_path, request):
    strategy = request.getfixturevalue(strategy_name)
    whole = _model(strategy, optimizer)
    _fit(whole, 6)
    first = _model(strategy, optimizer)
    _fit(first, 3)
    checkpoints.Checkpoints(first.training_state, str(tmp_path)).save(3)
    tf.keras.backend.clear_session()
    second = _model(strategy, optimizer)
    assert checkpoints.Checkpoints(second.training_state, str(tmp_path)).restore()
    _fit(second, 3, start=3)
    for expected, value in zip(_state(whole), _state(second)):
        np.testing.assert_array_equal(expected, value)


def test_keeps_two_and_saves_a_step_once(tmp_path, one_device):
    model = _model(one_device, "sgd")
    saved = checkpoints.Checkpoints(model.training_state, str(tmp_path))
    assert not saved.restore()
    for step in (1, 2, 3, 3):
        saved.save(step)
    steps = sorted(f for f in os.listdir(tmp_path) if f.endswith(".index"))
    assert steps == ["checkpoint-at-step-2.index", "checkpoint-at-step-3.index"]
    assert checkpoints.step_of(saved.latest) == 3


def test_the_average_is_what_is_evaluated(tmp_path, one_device):
    model = _model(one_device, "sgd")
    _fit(model, 2)
    prefix = checkpoints.Checkpoints(model.training_state, str(tmp_path)).save(2)
    bare = tiny.stochastic_network()
    weights.load_classifier(bare, prefix)
    floats = [w for w in bare.weights if w.dtype.is_floating]
    for average, weight in zip(model.average.averages, floats):
        np.testing.assert_array_equal(average.numpy(), weight.numpy())


def test_a_checkpoint_of_another_model_is_refused_by_its_shapes(tmp_path, one_device):
    model = _model(one_device, "sgd")
    prefix = checkpoints.Checkpoints(model.training_state, str(tmp_path)).save(0)
    with pytest.raises(errors.UserError, match=r"of another model.*only there: .*only here: "):
        weights.load_classifier(models.create("resnet20", num_classes=10, image_size=8), prefix)


def test_a_foreign_checkpoint_is_refused(tmp_path):
    prefix = tf.train.Checkpoint(x=tf.Variable(1.0)).write(str(tmp_path / "foreign"))
    with pytest.raises(errors.UserError, match="not a checkpoint of a sat_tf run, nor of the orig"):
        weights.load_classifier(tiny.network(), prefix)


@pytest.mark.parametrize(
    "settings, flag",
    [
        ({"channels": "rgb"}, "--checkpoint_channels=rgb"),
        ({"averaged": True}, "--checkpoint_ema=true"),
    ],
)
def test_flags_for_the_release_are_refused_with_a_checkpoint_of_ours(
    settings, flag, tmp_path, one_device
):
    prefix = checkpoints.Checkpoints(_model(one_device, "sgd").training_state, str(tmp_path)).save(
        0
    )
    with pytest.raises(errors.UserError, match=f"{flag}: .* is of a sat_tf run.*leave it out"):
        weights.load_classifier(tiny.stochastic_network(), prefix, **settings)


def test_a_truncated_checkpoint_is_refused(tmp_path, one_device):
    model = _model(one_device, "sgd")
    saved = checkpoints.Checkpoints(model.training_state, str(tmp_path))
    prefix = saved.save(1)
    with open(prefix + ".data-00000-of-00001", "r+b") as file:
        file.truncate(100)
    with pytest.raises(errors.UserError, match="cannot be restored"):
        saved.restore()


def _damage(prefix, how):
    data, index = prefix + ".data-00000-of-00001", prefix + ".index"
    if how == "truncated":
        os.truncate(data, os.path.getsize(data) // 2)
    elif how == "changed":
        with open(data, "r+b") as file:
            file.seek(os.path.getsize(data) // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
    elif how == "index":
        os.truncate(index, os.path.getsize(index) // 2)
    else:
        os.unlink({"no data": data, "no index": index}[how])


DAMAGES = ("truncated", "changed", "index", "no data", "no index")


@pytest.mark.parametrize("how", DAMAGES)
def test_where_the_newest_is_damaged_the_one_before_is_used_and_said(how, tmp_path, capsys):
    value = tf.Variable(tf.range(100.0))
    saved = checkpoints.Checkpoints(tf.train.Checkpoint(x=value), str(tmp_path), keep=3)
    for step in (4, 8, 12):
        value.assign(tf.fill([100], float(step)))
        saved.save(step)
    _damage(saved.latest, how)
    assert checkpoints.latest_in(str(tmp_path)) == f"{tmp_path}/checkpoint-at-step-8"
    again = checkpoints.Checkpoints(tf.train.Checkpoint(x=value), str(tmp_path), keep=3)
    assert again.restore() and value.numpy()[0] == 8
    error = capsys.readouterr().err
    assert error == (
        f"note: the checkpoint {tmp_path}/checkpoint-at-step-12 is damaged; "
        f"{tmp_path}/checkpoint-at-step-8, which was saved before it, is used\n"
    )
    assert again.latest == f"{tmp_path}/checkpoint-at-step-8"
    again.save(12)  # in its place
    assert checkpoints.latest_in(str(tmp_path)) == f"{tmp_path}/checkpoint-at-step-12"
    assert _names(tmp_path) == [f"checkpoint-at-step-{step}" for step in (12, 4, 8)]


@pytest.mark.parametrize("how", DAMAGES)
def test_where_all_are_damaged_nothing_is_begun_anew(how, tmp_path):
    saved = checkpoints.Checkpoints(tf.train.Checkpoint(x=tf.Variable([1.0] * 9)), str(tmp_path))
    for step in (4, 8):
        _damage(saved.save(step), how)
    assert checkpoints.latest_in(str(tmp_path)) == f"{tmp_path}/checkpoint-at-step-8"
    with pytest.raises(errors.UserError, match="cannot be restored"):
        saved.restore()


def test_as_many_as_asked_for_are_kept_and_that_to_go_back_to_among_them(tmp_path):
    saved = checkpoints.Checkpoints(tf.train.Checkpoint(x=tf.Variable(1.0)), str(tmp_path), keep=3)
    for step, keep in ((1, None), (2, None), (3, None), (4, None), (5, 2), (6, 2)):
        saved.save(step, keep=keep)
    assert _names(tmp_path) == [f"checkpoint-at-step-{step}" for step in (2, 5, 6)]
    for step in (7, 8):
        saved.save(step)
    assert _names(tmp_path) == [f"checkpoint-at-step-{step}" for step in (6, 7, 8)]


def _names(folder):
    return sorted(
        name.removesuffix(".index") for name in os.listdir(folder) if name.endswith(".index")
    )


def test_the_step_to_go_back_to_is_kept_over_any_number_of_interruptions(tmp_path):
    saved = checkpoints.Checkpoints(tf.train.Checkpoint(x=tf.Variable(1.0)), str(tmp_path))
    for step, keep in ((4, None), (8, None), (9, 8), (10, 8), (11, 8)):
        saved.save(step, keep=keep)
    assert _names(tmp_path) == ["checkpoint-at-step-11", "checkpoint-at-step-8"]
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)  # the list in the folder goes by relative names
    saved = checkpoints.Checkpoints(tf.train.Checkpoint(x=tf.Variable(0.0)), str(moved))
    assert saved.restore(8) and not saved.restore(9)
    saved.save(8, name=checkpoints.STOPPED, keep=8)
    assert _names(moved) == ["checkpoint-at-step-8", "checkpoint-stopped-at-step-8"]
    assert tf.train.latest_checkpoint(str(moved)).endswith("checkpoint-stopped-at-step-8")
    assert checkpoints.step_of(saved.latest) == 8


def test_later_checkpoints_are_forgotten(tmp_path):
    saved = checkpoints.Checkpoints(tf.train.Checkpoint(x=tf.Variable(1.0)), str(tmp_path))
    for step in (4, 8):
        saved.save(step)
    saved.forget_after(7)
    assert _names(tmp_path) == ["checkpoint-at-step-4"] and saved.latest.endswith("-4")
    saved.forget_after(3)
    assert saved.latest is None and os.listdir(tmp_path) == []
    assert saved.save(5).endswith("-5")
