"""Runs that end where accuracy under attack collapses."""

import numpy as np
import pytest
import written
from command_line import newest, state
from watched_runs import assert_same, first_batch, interrupt_at, network, run

from sat_tf import data
from sat_tf.runs import epoch_end


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr("sat_tf.models.build", network)


@pytest.mark.slow
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


@pytest.mark.slow
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
