"""Commands on a network that is small enough for many of them."""

import command_line
import pytest

import sat_tf.models


@pytest.fixture
def small_networks(monkeypatch):
    """Every network that is built is the small one."""
    monkeypatch.setattr(sat_tf.models, "build", command_line.small_network)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The folder of a short complete run of it; tests that write there take a copy."""
    folder = tmp_path_factory.mktemp("small") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sat_tf.models, "build", command_line.small_network)
        assert command_line.run(*command_line.SHORT, f"--model_dir={folder}", "--epochs=2") == 0
    return folder
