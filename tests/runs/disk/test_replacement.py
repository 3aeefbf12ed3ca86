"""A run in the place of another: a kill at any moment leaves one of them, whole."""

import os
import pathlib

import pytest

from sat_tf.runs.disk import Replacement, replacement

OWN = ("config.json", "checkpoints/checkpoint", "checkpoints/checkpoint-3", "tensorboard")


def _write(folder, which):
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "tensorboard").mkdir()
    for name in (*OWN[:3], "tensorboard/events"):
        (folder / name).write_text(which)


def _of(folder):
    """Returns {path: text} of the files in a folder."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture
def folder(tmp_path):
    _write(tmp_path, "old")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "checkpoints/copy").write_text("mine")
    return tmp_path


def _replacement(folder):
    return Replacement(
        str(folder), lambda: [name for name in OWN if os.path.lexists(folder / name)]
    )


def _whole(which):
    return {
        **dict.fromkeys((*OWN[:3], "tensorboard/events"), which),
        "notes.txt": "mine",
        "checkpoints/copy": "mine",
    }


def test_the_old_one_goes_last(folder):
    replaced = _replacement(folder)
    replaced.begin()
    _write(folder, "new")
    assert replaced.is_open and len(_of(folder)) == 10
    replaced.finish()
    assert _of(folder) == _whole("new") and not replaced.is_pending


def test_the_old_one_comes_back(folder):
    replaced = _replacement(folder)
    replaced.begin()
    (folder / "config.json").write_text("new")
    (folder / "checkpoints/checkpoint-7").write_text("of the new one")
    replaced.undo()
    assert _of(folder) == {**_whole("old"), "checkpoints/checkpoint-7": "of the new one"}


def test_where_there_is_nothing_nothing_is_done(tmp_path):
    replaced = _replacement(tmp_path)
    replaced.begin()
    replaced.undo()
    replaced.finish()
    assert os.listdir(tmp_path) == []


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("end", ["finish", "undo"])
@pytest.mark.parametrize("at", range(16))
def test_a_kill_at_any_moment_leaves_one_whole_run(folder, monkeypatch, at, end):
    """Of the calls that change something on disk, only so many are made."""
    left = [at]

    def counted(function):
        def call(*arguments, **options):
            if not left[0]:
                raise _Killed
            left[0] -= 1
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in ("rename", "rmdir", "unlink", "makedirs"):
            patched.setattr(replacement.os, name, counted(getattr(os, name)))
        try:
            replaced = _replacement(folder)
            replaced.begin()
            patched.undo()
            _write(folder, "new")
            for name in ("rename", "rmdir", "unlink"):
                patched.setattr(replacement.os, name, counted(getattr(os, name)))
            getattr(replaced, end)()
        except _Killed:
            pass
    _replacement(folder).recover()
    assert _of(folder) in [_whole("old"), _whole("new")]
    if end == "undo":
        assert _of(folder) == _whole("old")
    assert not _replacement(folder).is_pending
