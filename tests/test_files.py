"""A file is there whole or as it was."""

import os
import stat

import pytest

from sat_tf.files import replacing, write_text


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "file.bin"
    with replacing(path) as file:
        file.write(b"\x00new")
        assert not path.exists()
    assert path.read_bytes() == b"\x00new" and os.listdir(path.parent) == ["file.bin"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_what_goes_wrong_leaves_the_old_one(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(KeyError), replacing(tmp_path / "file") as file:
        file.write(b"half of the ne")
        raise KeyError
    assert (tmp_path / "file").read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", _full)
    with pytest.raises(OSError):
        write_text(str(path), "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["results.json"]


def _full(*unused):
    raise OSError(28, "No space left on device")
