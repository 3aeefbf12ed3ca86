"""Runs that keep their best checkpoint, and end where patience does."""

import numpy as np
import pytest
import tensorflow as tf
import written
from command_line import newest, state, tags
from watched_runs import held_out, network, run

import main
from sat_tf import data


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr("sat_tf.models.build", network)


@pytest.mark.slow
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
    assert tags(tmp_path, "validation") == {
        "clean_accuracy",
        "adversarial_accuracy",
        "robust_accuracy/pgd_10",
        "robust_accuracy/pgd_10/softplus",
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


@pytest.mark.slow
def test_patience_is_said_to_have_ended_only_what_it_has(tmp_path, monkeypatch, capsys):
    held_out(monkeypatch, 3, 2)
    assert run(tmp_path, "--validation_examples=8", "--epochs=2", "--patience=1") == 0
    assert "stopped" not in capsys.readouterr().out and "stopped" not in written.results(tmp_path)
    applied = ("main.py", "--mode=eval", f"--model_dir={tmp_path}", "--patience=1", "--epochs=9")
    assert main.main(applied) == 0 and "stopped" not in written.results(tmp_path)
