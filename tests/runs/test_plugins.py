"""Files of the user's own: run once, known by their content, refused in one line."""

import dataclasses
import json

import pytest
from flag_values import resolve

from sat_tf import activations, runs
from sat_tf.config import PluginConfig
from sat_tf.errors import UserError
from sat_tf.runs import plugins

ROW = """
import sat_tf
import tensorflow as tf

sat_tf.activations.register("mine", lambda x: 2 * tf.nn.relu(x))
"""


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch):
    monkeypatch.setattr(plugins, "_loaded", set())
    rows = dict(activations.ACTIVATIONS)
    yield
    activations.ACTIVATIONS.clear()
    activations.ACTIVATIONS.update(rows)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.py"
    path.write_text(ROW)
    return path


def begun_with(*files):
    return dataclasses.replace(resolve(), plugin=PluginConfig(files))


def test_a_file_runs_once_and_is_known_by_its_content(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugin = runs.plugins.load("rows.py")
    assert plugin.path == str(file) and "mine" in activations.ACTIVATIONS
    assert len(plugin.sha256) == 64
    moved = file.rename(tmp_path / "moved.py")
    assert runs.plugins.load(str(moved)) == (str(moved), plugin.sha256)  # a second run would raise


@pytest.mark.parametrize(
    "content, message",
    [
        ("x = (", "fails in line 1: SyntaxError"),
        ("\n1 / 0", "fails in line 2: ZeroDivisionError: division by zero; mend it"),
        (ROW.replace("mine", "relu"), "in line 5: ValueError: activation 'relu' is there already"),
        (None, r"cannot be read \(No such file"),
    ],
)
def test_a_file_that_fails_is_refused_in_one_line(content, message, file):
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(UserError, match=f"--plugin={file}: .*{message}") as caught:
        runs.plugins.load(str(file))
    assert "\n" not in str(caught.value)


def test_what_a_run_was_begun_with_is_loaded_again(file):
    stored = begun_with(runs.plugins._read(str(file))[0])
    runs.plugins.restore(stored)
    assert "mine" in activations.ACTIVATIONS
    runs.plugins.restore(stored)


def test_a_file_that_moved_may_be_given(file, tmp_path):
    stored = begun_with(runs.plugins._read(str(file))[0])
    moved = file.rename(tmp_path / "moved.py")
    with pytest.raises(UserError, match="was begun with .*rows.py, which is no longer there; give"):
        runs.plugins.restore(stored)
    runs.plugins.restore(stored, [runs.plugins.load(str(moved))])


def test_another_content_is_refused(file, tmp_path):
    stored = begun_with(runs.plugins._read(str(file))[0])
    file.write_text(ROW + "# changed\n")
    with pytest.raises(UserError, match="another content of .*rows.py .SHA-256 .* then, .* now"):
        runs.plugins.restore(stored)
    assert "mine" not in activations.ACTIVATIONS
    with pytest.raises(UserError, match="--plugin=.*rows.py: the run of --model_dir was begun"):
        runs.plugins.restore(stored, [runs.plugins.load(str(file))])


def test_files_are_settings_that_survive_json(file):
    plugin = runs.plugins.load(str(file))
    config = resolve(f"--plugin={file}", "--activation=mine")
    assert config.plugin.files == (plugin,)
    assert type(config).from_dict(json.loads(config.to_json())) == config
    older = config.to_dict()
    del older["plugin"]
    assert type(config).from_dict(older).plugin.files == ()
    assert resolve("--mode=eval", stored=config).plugin.files == (plugin,)
