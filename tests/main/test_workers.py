"""Two workers on one run: two processes of main.py on this machine."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import written
from command_line import ROOT, SHORT, newest, run, tags, weights
from loopback import free_addresses

pytestmark = pytest.mark.slow  # what they tell each other is tried every day

TRAIN = (*SHORT, "--epochs=2", "--seed=3")


class Workers:
    """The processes; `options` are of all of them, `own` of the last alone."""

    def __init__(self, folder, *options, own=(), count=2, patient=False):
        self._addresses = free_addresses(count)
        self.all = []
        for index in range(count):
            self.start(index, f"--model_dir={folder}", *options, *(own if index else ()))
            if patient:
                return

    def start(self, index, *options):
        command = [sys.executable, "tests/command_line.py", *options, "--strategy=multi_worker"]
        command += [f"--workers={','.join(self._addresses)}", f"--worker_index={index}"]
        self.all.append(
            subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )

    def ended(self):
        """Returns (exit status, standard output, standard error) of each."""
        texts = [worker.communicate(timeout=150) for worker in self.all]
        return [(worker.returncode, *text) for worker, text in zip(self.all, texts)]

    def wait_for(self, folder, pattern):
        """Returns once the chief has a checkpoint of that name."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                if any(re.search(pattern, name) for name in os.listdir(folder / "checkpoints")):
                    return
            time.sleep(0.1)
        raise AssertionError(f"no {pattern}")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "run"
    return folder, Workers(folder, *TRAIN).ended()


def test_they_train_measure_and_export_what_two_replicas_of_one_process_do(
    two, small_networks, tmp_path
):
    folder, ended = two
    assert [status for status, *_ in ended] == [0, 0], ended
    assert run(*TRAIN, "--strategy=mirrored", f"--model_dir={tmp_path}") == 0
    ours, theirs = weights(folder), weights(tmp_path)
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, atol=1e-6, err_msg=name)
    ours, theirs = written.results(folder), written.results(tmp_path)
    for name in ("clean_accuracy", "robust_accuracy", "worst_case_accuracy", "examples", "step"):
        assert ours[name] == theirs[name], name
    assert tags(folder, "train") == tags(tmp_path, "train")
    assert len(list((folder / "train").glob("events*"))) == 1
    rows = [row["step"] for row in written.rows(folder, "train")]
    assert rows == [4, 8] and (folder / "saved_model/saved_model.pb").exists()
    left = {path.name for path in tmp_path.iterdir()} - {path.name for path in folder.iterdir()}
    assert not {name for name in left if "tfevents" not in name}


def test_the_chief_speaks_for_both(two):
    (_, chief, chiefs_errors), (_, worker, workers_errors) = two[1]
    assert "2 workers, each with 1 CPU" in chief and "MultiWorkerMirroredStrategy" in chief
    assert "epoch 2/2" in chief and "exported" in chief
    assert worker == "" and workers_errors == "" and "error" not in chiefs_errors


def test_a_run_of_two_is_gone_on_with_bitwise_and_measured(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    constant = (*TRAIN, "--schedule=constant", "--ema_decay=0.9")
    assert [status for status, *_ in Workers(whole, *constant, "--epochs=3").ended()] == [0, 0]
    ended = Workers(parts, *constant, "--train_steps=6", "--mode=train").ended()
    assert [status for status, *_ in ended] == [0, 0]
    ended = Workers(parts, *constant, "--epochs=3", "--mode=train").ended()
    assert "continuing from" in ended[0][1]
    for name, value in weights(whole).items():
        np.testing.assert_array_equal(weights(parts)[name], value, err_msg=name)
    options = ("--mode=eval", "--eval_attacks=clean,fgsm")
    assert [status for status, *_ in Workers(parts, *options).ended()] == [0, 0]
    assert written.results(parts)["clean_accuracy"] == written.results(whole)["clean_accuracy"]


def test_one_that_is_killed_ends_the_others_with_its_name_and_the_run_goes_on(tmp_path):
    folder = tmp_path / "run"
    long = (*TRAIN, "--epochs=4000", "--mode=train")
    workers = Workers(folder, *long)
    workers.wait_for(folder, r"step-8\.index")
    start = time.monotonic()
    workers.all[1].kill()
    (status, _, error), _ = workers.ended()
    assert status == 1 and time.monotonic() - start < 60
    assert error.startswith("error: worker 1 is gone (") and error.count("\n") == 1
    assert "the same command on all workers goes on from the last checkpoint" in error
    saved = newest(folder)
    workers = Workers(folder, *long)
    workers.wait_for(folder, rf"step-{int(saved.rpartition('-')[2]) + 4}\.index")
    workers.all[0].kill()
    (_, out, _), (status, _, error) = workers.ended()
    assert f"continuing from {saved}" in out
    assert status == 1 and error.startswith("error: worker 0 is gone (")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_for_one_saves_and_ends_both(signum, tmp_path):
    folder = tmp_path / "run"
    workers = Workers(folder, *TRAIN, "--epochs=4000", "--mode=train")
    workers.wait_for(folder, r"step-8\.index")
    workers.all[1].send_signal(signum)
    (status, _, chief), (own_status, _, worker) = workers.ended()
    assert status == own_status == 128 + signum
    assert "the same command goes on from there" in chief and "saved" in chief
    assert worker.startswith(f"{signum.name}: saving after the step under way")
    assert worker.count("\n") == 1  # the chief has said what was saved


def test_one_with_other_flags_and_one_without_the_folder_are_named(tmp_path):
    ended = Workers(tmp_path / "run", *TRAIN, own=("--epsilon=0.1",)).ended()
    for status, _, error in ended:
        assert status == 2 and error.count("\n") == 1
        assert error.startswith("error: --worker_index=1: worker 1 was started with other settings")
        assert "--epsilon (0.1 there, 0.2 for worker 0)" in error
    assert not (tmp_path / "run").exists()
    assert Workers(tmp_path / "run", *TRAIN, "--mode=train").ended()[0][0] == 0
    elsewhere = (f"--model_dir={tmp_path / 'elsewhere'}",)
    ended = Workers(tmp_path / "run", *TRAIN, "--epochs=3", own=elsewhere).ended()
    for status, _, error in ended:
        assert status == 2 and error.count("\n") == 1
        assert "worker 1 finds a run at step 0 there, worker 0 a run at step 8" in error


def test_one_that_starts_late_is_named_and_waited_for(tmp_path):
    workers = Workers(tmp_path, *TRAIN, "--mode=train", patient=True)
    said = workers.all[0].stdout.readline()
    assert re.fullmatch(r"waiting for worker 1 \(127\.0\.0\.1:\d+\) \.\.\. \d+ s so far\n", said)
    workers.start(1, f"--model_dir={tmp_path}", *TRAIN, "--mode=train")
    assert [status for status, *_ in workers.ended()] == [0, 0]


def test_each_replica_may_normalise_its_own_share(tmp_path):
    options = (*TRAIN, "--sync_batch_norm=false")
    assert [status for status, *_ in Workers(tmp_path / "run", *options).ended()] == [0, 0]
    assert written.results(tmp_path / "run")["examples"] == 20
