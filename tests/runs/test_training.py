"""Watched runs from the command line, on a network small enough to make many of them."""

import glob
import shutil

import numpy as np
import pytest
import tensorflow as tf
import written

import main
from sat_tf import data, evaluation
from sat_tf.interruption import Interrupted
from sat_tf.runs import epoch_end
from sat_tf.runs.training_measurement import TrainingMeasurement
from sat_tf.training import callbacks

SHORT = (
    "--train_examples=72",
    "--batch_size=16",
    "--num_steps=1",
    "--eval_examples=20",
    "--eval_batch_size=16",
    "--eval_attacks=clean,fgsm",
    "--clean_epochs=0",
)
STEPS = 4  # an epoch's, of what is left when 8 examples are held out, or with 72 of them


def _network(config, seed):
    del config, seed
    inputs = tf.keras.Input((8, 8, 3))
    features = tf.keras.layers.Conv2D(
        8, 3, strides=2, kernel_initializer=tf.keras.initializers.GlorotUniform(1)
    )(inputs)
    features = tf.keras.layers.BatchNormalization(synchronized=True)(features)
    features = tf.keras.layers.Flatten()(tf.keras.layers.Activation("swish")(features))
    return tf.keras.Model(
        inputs,
        tf.keras.layers.Dense(10, kernel_initializer=tf.keras.initializers.GlorotUniform(2))(
            features
        ),
    )


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr("sat_tf.models.build", _network)


def run(folder, *arguments):
    return main.main(["main.py", *SHORT, f"--model_dir={folder}", *arguments])


def state(prefix):
    """Returns {name: value} of a checkpoint, but for what counts saves."""
    reader = tf.train.load_checkpoint(str(prefix))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if "CHECKPOINTABLE" not in name and "save_counter" not in name
    }


def newest(folder):
    return tf.train.latest_checkpoint(str(folder / "checkpoints"))


def assert_same(one, other, but=()):
    assert set(one) == set(other)
    for name, value in one.items():
        if name.split("/")[:2][-1] not in but:
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def interrupt_at(monkeypatch, *steps):
    """A signal seems to have come at the end of those steps, once each."""
    left = list(steps)

    def check(self, batch, logs=None):
        if int(self.model.global_step.numpy()) in left:
            left.remove(int(self.model.global_step.numpy()))
            raise Interrupted(2)

    monkeypatch.setattr(callbacks.CheckInterruption, "on_train_batch_end", check)


def held_out(monkeypatch, *robust):
    """The lower of the measured numbers of robust examples, of ten, one an epoch.

    The other is that of the exact derivative, which is always high.
    """
    left = list(robust)
    monkeypatch.setattr(
        TrainingMeasurement,
        "held_out",
        lambda self, on_batch: evaluation.Result(
            10, {"clean": 10, "pgd-10": 9, "pgd-10:softplus": left.pop(0)}
        ),
    )


def first_batch(monkeypatch, *accuracies):
    left = list(accuracies)
    monkeypatch.setattr(TrainingMeasurement, "first_batch", lambda self: left.pop(0))


def test_a_collapse_is_undone_bit_for_bit_and_ends_the_run(tmp_path, monkeypatch, capsys):
    """In the fourth epoch, which two interruptions have cut before."""
    first_batch(monkeypatch, 0.1, 0.9, 0.75, 0.5)
    interrupt_at(monkeypatch, 13, 14)
    command = ("--method=fast", "--epochs=6", "--ema_decay=0.9")
    assert run(tmp_path, *command) == run(tmp_path, *command) == 130
    assert run(tmp_path, *command) == 0
    text, folder = capsys.readouterr().out, tmp_path / "checkpoints"
    assert "stopped at step 12 by --catastrophic_drop" in text
    remedy = (
        f"--init_checkpoint={folder}/checkpoint-stopped-at-step-12",
        "--model_dir=NEW",
        "--catastrophic_drop=0",
    )
    assert f"to train on from there: {' '.join(remedy)}\n" in text
    assert sorted(path.name for path in folder.glob("*.index")) == [
        "checkpoint-at-step-12.index",
        "checkpoint-stopped-at-step-12.index",
    ]
    before, after = state(folder / "checkpoint-at-step-12"), state(newest(tmp_path))
    assert_same(before, after, but=["collapsed_to"])
    assert after["watch/collapsed_to/.ATTRIBUTES/VARIABLE_VALUE"] == 0.5
    assert before["step/.ATTRIBUTES/VARIABLE_VALUE"] == 12
    assert [
        (row["step"], row["first_batch_robust_accuracy"]) for row in written.rows(tmp_path, "train")
    ] == [(4, 0.1), (8, 0.9), (12, 0.75)]
    (stopped,) = written.rows(tmp_path, "stopped")
    assert stopped["step"] == 12 and "from 75.0 % to 50.0 %" in stopped["reason"]
    assert written.results(tmp_path)["step"] == 12
    assert written.results(tmp_path)["stopped"] == {key: stopped[key] for key in ("by", "reason")}
    assert (tmp_path / "saved_model" / "saved_model.pb").exists()

    assert run(tmp_path, *command, "--mode=train") == 0  # nothing is left of the made accuracies
    assert "stopped at step 12" in capsys.readouterr().out
    assert len(written.rows(tmp_path, "train")) == 3
    assert written.rows(tmp_path, "stopped")[0]["step"] == 12
    assert_same(after, state(newest(tmp_path)))
    new = tmp_path / "new"
    assert run(new, "--method=fast", "--train_steps=1", "--mode=train", *remedy[::2]) == 0
    assert newest(new).endswith("step-1") and "stopped-at-step-12" in capsys.readouterr().out


def test_the_best_is_used_and_both_are_reported(tmp_path, monkeypatch, capsys):
    held_out(monkeypatch, 3, 5, 5, 2, 1, 1, 1)
    command = ("--validation_examples=8", "--epochs=8", "--patience=3", "--eval_every=5")
    assert run(tmp_path, *command) == 0
    text = capsys.readouterr().out
    assert "stopped at step 20 by --patience: 3 epochs" in text
    assert "pgd-10 90.0 %  pgd-10:softplus 50.0 % (the highest so far)" in text
    assert "best (step 8)" in text and "last (step 20)" in text
    measured = written.results(tmp_path)
    both = measured.pop("checkpoints")
    assert measured.pop("stopped")["by"] == "patience"
    assert measured == both["best"] and list(both) == ["best", "last"]
    assert (both["best"]["step"], both["last"]["step"]) == (8, 20)
    assert both["best"]["checkpoint"] == str(tmp_path / "checkpoints/best/checkpoint-at-step-8")
    assert both["best"]["clean_accuracy"] != both["last"]["clean_accuracy"]
    judged = written.rows(tmp_path, "validation")
    assert [
        (row["step"], row["robust_accuracy"]["pgd-10:softplus"], row["best_step"]) for row in judged
    ] == [(4, 0.3, 4), (8, 0.5, 8), (12, 0.5, 8), (16, 0.2, 8), (20, 0.1, 8)]
    assert {row["robust_accuracy"]["pgd-10"] for row in judged} == {0.9}
    tags = {
        value.tag
        for file in glob.glob(f"{tmp_path}/tensorboard/validation/*")
        for event in tf.compat.v1.train.summary_iterator(file)
        for value in event.summary.value
    }
    assert tags == {
        "validation/clean_accuracy",
        "validation/robust_accuracy/pgd_10",
        "validation/robust_accuracy/pgd_10/softplus",
    }

    def exported_accuracy():
        exported = tf.saved_model.load(str(tmp_path / "saved_model"))
        examples = data.load("digits").eval
        classes = exported.signatures["serving_default"](images=tf.constant(examples.images[:20]))[
            "classes"
        ].numpy()
        return np.mean(classes == examples.labels[:20])

    assert exported_accuracy() == both["best"]["clean_accuracy"]
    assert (
        main.main(["main.py", "--mode=export", f"--model_dir={tmp_path}", "--eval_checkpoint=last"])
        == 0
    )
    assert exported_accuracy() == both["last"]["clean_accuracy"]
    assert (
        main.main(["main.py", "--mode=eval", f"--model_dir={tmp_path}", "--eval_checkpoint=last"])
        == 0
    )
    assert (
        written.results(tmp_path)["step"] == 20 and written.results(tmp_path)["checkpoints"] == both
    )
    assert written.results(tmp_path)["stopped"]["by"] == "patience"
    other = tmp_path / "other"
    assert (
        main.main(
            [
                "main.py",
                "--mode=eval",
                f"--model_dir={other}",
                f"--init_checkpoint={tmp_path}/checkpoints/best",
            ]
        )
        == 0
    )
    assert {**written.results(other), "stopped": None} == {**both["best"], "stopped": None}
    capsys.readouterr()
    assert (
        run(
            tmp_path / "new",
            "--mode=train",
            "--train_steps=1",
            "--learning_rate=0",
            f"--init_checkpoint={tmp_path}",
        )
        == 0
    )
    best = tmp_path / "checkpoints/best/checkpoint-at-step-8"
    assert f"began with the weights of {best}\n" in capsys.readouterr().out
    kernel = "classifier/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    np.testing.assert_array_equal(state(newest(tmp_path / "new"))[kernel], state(best)[kernel])

    assert run(tmp_path, *command, "--mode=train") == 0
    assert len(written.rows(tmp_path, "train")) == 5 and len(written.rows(tmp_path, "stopped")) == 1
    assert run(tmp_path, *command[:2], "--patience=5", "--mode=train") == 0  # more patience goes on
    assert len(written.rows(tmp_path, "train")) == 7
    assert written.rows(tmp_path, "stopped")[0]["step"] == 28


def test_patience_is_said_to_have_ended_only_what_it_has(tmp_path, monkeypatch, capsys):
    held_out(monkeypatch, 3, 2)
    assert run(tmp_path, "--validation_examples=8", "--epochs=2", "--patience=1") == 0
    assert "stopped" not in capsys.readouterr().out and "stopped" not in written.results(tmp_path)
    applied = ("main.py", "--mode=eval", f"--model_dir={tmp_path}", "--patience=1", "--epochs=9")
    assert main.main(applied) == 0 and "stopped" not in written.results(tmp_path)


class _Killed(Exception):
    pass


@pytest.mark.smoke
def test_a_run_cut_anywhere_decides_as_a_whole_one(tmp_path, monkeypatch, capsys):
    """On two replicas, with what is really measured."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command = (
        "--validation_examples=8",
        "--epochs=4",
        "--catastrophic_drop=0.9",
        "--ema_decay=0.9",
        "--strategy=mirrored",
        "--validation_attack=pgd-2",
        "--learning_rate=0.3",
        "--epsilon=8/255",
    )
    assert run(whole, *command, "--mode=train") == 0

    interrupt_at(monkeypatch, 2, 12)  # in the first epoch, and as the third ends
    assert run(cut, *command, "--mode=train") == 130
    assert main.main(["main.py", "--mode=eval", f"--model_dir={cut}"]) == 2
    assert "--eval_checkpoint=best: " in capsys.readouterr().err
    ended = shutil.copytree(cut, tmp_path / "ended")
    for _ in range(2):  # the end is where it was cut, and is judged once
        assert run(ended, *command, "--mode=train", "--train_steps=2") == 0
    assert newest(ended).endswith("checkpoint-at-step-2")
    assert [(row["step"], row["best_step"]) for row in written.rows(ended, "validation")] == [
        (2, 2)
    ]
    with monkeypatch.context() as patched:  # after the best is kept, before the state that says so
        patched.setattr(callbacks.SaveState, "on_epoch_end", _kill)
        with pytest.raises(_Killed):
            run(cut, *command, "--mode=train")
    with monkeypatch.context() as patched:
        patched.setattr(TrainingMeasurement, "held_out", _interrupted)
        assert run(cut, *command, "--mode=train") == 143
    assert newest(cut).endswith("checkpoint-undecided-at-step-4")
    assert run(cut, *command, "--mode=train") == 130
    assert newest(cut).endswith("checkpoint-undecided-at-step-12")
    assert run(cut, *command, "--mode=train") == 0

    assert_same(state(newest(whole)), state(newest(cut)))
    judged = ("step", "clean_accuracy", "robust_accuracy", "best_step", "examples")
    expected, found = (
        [[row[key] for key in judged] for row in written.rows(folder, "validation")]
        for folder in (whole, cut)
    )
    assert expected == found and [row[0] for row in found] == [4, 8, 12, 16]
    assert found[-1][-1] == 8 and len({row[2]["pgd-2"] for row in found}) > 1
    best = f"checkpoints/best/checkpoint-at-step-{found[-1][3]}"
    assert_same(state(whole / best), state(cut / best))


def _kill(self, epoch, logs=None):
    raise _Killed


def _interrupted(self, on_batch):
    raise Interrupted(15)


def test_an_unwatched_state_has_nothing_of_it(tmp_path):
    assert run(tmp_path, "--train_steps=1", "--mode=train") == 0
    assert not [name for name in state(newest(tmp_path)) if name.startswith("watch")]
    assert not (tmp_path / "checkpoints" / "best").exists()


def test_the_first_batch_and_the_held_out_are_counted_as_they_are(monkeypatch, tmp_path):
    """With epsilon 0, accuracy under attack is clean accuracy, which is easily counted."""
    measured = {}
    validate = epoch_end.EpochEnd.validate

    def compare(self, epoch, logs):
        images, labels = self._measurement._training_batches().take(1).get_single_element()
        measured["first"] = self._measurement.first_batch(), _accuracy(self._model, images, labels)
        result = self._measurement.held_out()
        images, labels, mask = data.validation_batches(
            self._measurement._source,
            batch_size=16,
            image_size=8,
            seed=0,
            held_out=8,
            num_examples=72,
        ).get_single_element()
        with self._model.evaluated_weights():
            measured["held out"] = (
                self._measurement.held_out().robust_accuracy["pgd-10"],
                _accuracy(self._model, images[mask], labels[mask]),
            )
        assert result.examples == 8
        validate(self, epoch, logs)

    monkeypatch.setattr(epoch_end.EpochEnd, "validate", compare)
    assert (
        run(
            tmp_path,
            "--validation_examples=8",
            "--epochs=1",
            "--mode=train",
            "--epsilon=0",
            "--ema_decay=0.9",
            "--augment=basic",
        )
        == 0
    )
    for found, expected in measured.values():
        assert found == pytest.approx(expected)


def _accuracy(model, images, labels):
    return np.mean(np.argmax(model.logits(images), -1) == labels)
