"""The state of an evaluation that was cut short, on disk."""

import functools
import os

import numpy as np
import pytest

from sat_tf.errors import UserError
from sat_tf.evaluation.progress import StateFile
from sat_tf.runs.folder import RunFolder

pytestmark = pytest.mark.smoke


def test_the_state_of_another_evaluation_is_not_used(tmp_path):
    path = str(tmp_path / "state.npz")
    StateFile(path, "one").save({"clean/broken": np.ones(3, bool)})
    assert list(StateFile(path, "one").load()) == ["clean/broken"]
    assert StateFile(path, "another").load() == {}
    (tmp_path / "state.npz").write_bytes(b"cut short")
    assert StateFile(path, "one").load() == {}
    assert os.listdir(tmp_path) == ["state.npz"]


def test_a_state_that_cannot_be_read_is_the_users_to_mend(tmp_path):
    (tmp_path / "state.npz").mkdir()
    state = StateFile(
        str(tmp_path / "state.npz"),
        "one",
        writing=functools.partial(RunFolder(str(tmp_path)).writing, "evaluation_state"),
    )
    with pytest.raises(UserError, match="--model_dir=.*: cannot write evaluation_state: Is a dir"):
        state.load()
