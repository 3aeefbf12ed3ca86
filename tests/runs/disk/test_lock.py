"""One process at a time in a run's folder."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from sat_tf.errors import UserError
from sat_tf.runs.disk import lock

HOLD = """
import sys, time
from sat_tf.runs.disk import lock
with lock.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of tmp_path / "run"."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path, holder):
    folder = str(tmp_path / "run")
    with pytest.raises(UserError) as refusal:
        with lock.held(folder):
            pass
    text = str(refusal.value)
    assert text.startswith(f"--model_dir={folder}: process {holder.pid} on ")
    assert "is at work there; wait for its end, or give another --model_dir" in text
    holder.send_signal(signal.SIGKILL)  # nothing of it is left to take the lock away
    holder.wait()
    with lock.held(folder):
        assert json.load(open(f"{folder}/.lock"))["pid"] == os.getpid()
    assert os.listdir(tmp_path) == ["run"]  # which is not this block's to remove


def test_one_process_does_not_hold_it_twice(tmp_path):
    with lock.held(str(tmp_path)):
        with pytest.raises(UserError, match=f"process {os.getpid()} on"):
            with lock.held(str(tmp_path)):
                pass
    with lock.held(str(tmp_path)):
        pass
    assert os.listdir(tmp_path) == []


def test_folders_that_stay_empty_go_again(tmp_path):
    with pytest.raises(KeyError):
        with lock.held(str(tmp_path / "a/b")):
            assert os.path.isdir(tmp_path / "a/b")
            raise KeyError
    assert os.listdir(tmp_path) == []
    with lock.held(str(tmp_path / "a/b")):
        (tmp_path / "a/b/file").touch()
    assert os.listdir(tmp_path / "a/b") == ["file"]


def _held_elsewhere(folder):
    (folder / lock.NAME).write_text(json.dumps({"host": "another", "pid": 1, "command": "main.py"}))


def test_a_holder_on_another_machine_that_lives_is_left_alone(tmp_path, monkeypatch):
    _held_elsewhere(tmp_path)
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: os.utime(tmp_path / lock.NAME))
    with pytest.raises(UserError, match="process 1 on another"):
        with lock.held(str(tmp_path)):
            pass


def test_one_that_shows_no_sign_of_life_is_gone(tmp_path, monkeypatch, capsys):
    _held_elsewhere(tmp_path)
    monkeypatch.setattr(lock, "_WATCH_SECONDS", 0.3)
    with lock.held(str(tmp_path)):
        pass
    assert "a process on another was at work" in capsys.readouterr().err


def test_what_is_no_lock_of_ours_is_taken_over(tmp_path):
    (tmp_path / lock.NAME).write_text("something")
    with lock.held(str(tmp_path)):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()


def test_the_holder_shows_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_BEAT_SECONDS", 0.02)
    with lock.held(str(tmp_path)):
        os.utime(tmp_path / lock.NAME, (0, 0))
        deadline = time.monotonic() + 20
        while os.stat(tmp_path / lock.NAME).st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_where_there_are_no_locks_what_the_file_says_does(tmp_path, monkeypatch):
    def flock(*unused):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with lock.held(str(tmp_path)):
        with pytest.raises(UserError, match=f"process {os.getpid()} on"):
            with lock.held(str(tmp_path)):
                pass
    holder = {"host": lock.platform.node(), "pid": 2**22 + 1}
    (tmp_path / lock.NAME).write_text(json.dumps(holder))
    with lock.held(str(tmp_path)):
        pass
