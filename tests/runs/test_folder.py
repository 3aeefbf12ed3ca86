"""The run folder: what is refused, and that nothing in it is half written."""

import json
import os
import pathlib
import subprocess

import pytest
import report_samples as samples

import sat_tf
from flags import definitions, to_config
from sat_tf import data, errors
from sat_tf.reports import curves
from sat_tf.runs import contents
from sat_tf.runs import folder as run_folder
from sat_tf.runs.disk import origin
from sat_tf.runs.metrics import Rows


@pytest.fixture
def config():
    flags = definitions.define()
    definitions.parse(flags, ["main.py"])
    return to_config.to_config(flags)


@pytest.fixture
def folder(tmp_path, config):
    folder = run_folder.RunFolder(str(tmp_path / "run"))
    folder.start(config, data.describe("digits"))
    return folder


def test_the_configuration_comes_back(folder, config):
    assert folder.stored_config() == config
    assert folder.stored_description() == data.describe("digits")
    written = json.loads(open(folder.config, encoding="utf-8").read())
    assert set(written["versions"]) >= {"python", "tensorflow", "numpy"}
    assert written["versions"]["sat_tf"] == sat_tf.__version__


def test_the_commit_is_of_a_repository_that_holds_the_code(tmp_path, monkeypatch):
    """Not of one in which an installed copy only happens to lie."""

    def git(*command):
        author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        return subprocess.check_output(["git", "-C", tmp_path, *author, *command], text=True)

    code = tmp_path / "environment" / "folder.py"
    code.parent.mkdir()
    code.touch()
    monkeypatch.setattr(origin, "__file__", str(code))
    assert origin.git_commit() is None
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message=theirs")
    assert origin.git_commit() is None
    git("add", "--all")
    git("commit", "--quiet", "--message=ours")
    assert origin.git_commit() == git("rev-parse", "HEAD").strip()


def test_no_run_there_is_none(tmp_path):
    assert run_folder.RunFolder(str(tmp_path)).stored_config() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": 3}'])
def test_a_damaged_configuration_is_refused(folder, text):
    with open(folder.config, "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(errors.UserError, match="config.json cannot be read"):
        folder.stored_config()


def test_checkpoints_without_a_configuration_are_refused(folder, config):
    os.unlink(folder.config)
    open(os.path.join(folder.checkpoints, "checkpoint-at-step-1.index"), "wb").close()
    with pytest.raises(errors.UserError, match="has checkpoints but no config.json"):
        folder.check_continues(config)


def test_rows_of_later_steps_and_a_cut_row_are_forgotten(folder):
    rows = Rows(folder, steps_per_epoch=1)
    for step in (1, 2, 3):
        rows.append("train", step, {})
    rows.append("stopped", 2, {})
    with open(folder.metrics, "a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')
    rows.go_on_from(2)
    with open(folder.metrics, encoding="utf-8") as file:
        kept = [json.loads(line) for line in file]
    assert [(row["kind"], row["step"]) for row in kept] == [("train", 1), ("train", 2)]


def _full(*unused):
    raise OSError(28, "No space left on device")


def test_a_full_disk_becomes_a_line_that_names_the_folder(folder):
    with pytest.raises(errors.UserError) as refusal:
        with folder.writing("metrics.jsonl"):
            _full()
    assert str(refusal.value) == (
        f"--model_dir={folder.path}: cannot write metrics.jsonl: No space left on device; free "
        "some space there or give another folder"
    )


def test_clearing_takes_the_runs_own_files_only(folder):
    open(os.path.join(folder.path, "notes.txt"), "w", encoding="utf-8").close()
    checkpoints = pathlib.Path(folder.checkpoints)
    (checkpoints / "checkpoint-at-step-3.index").touch()
    (checkpoints / "mine").touch()
    folder.replace()
    folder.settle()
    assert sorted(os.listdir(folder.path)) == ["checkpoints", "notes.txt"]
    assert os.listdir(checkpoints) == ["mine"]


def test_a_folder_has_all_that_a_page_needs(tmp_path):
    arguments = {**samples.everything(), "notes": ()}
    (tmp_path / "results.json").write_text(json.dumps(arguments["results"]))
    folder = run_folder.RunFolder(str(tmp_path))
    bare = contents.of(folder)
    assert bare == {"config": None, "results": arguments["results"], "metrics": [], "curves": []}
    (tmp_path / "config.json").write_text(json.dumps(arguments["config"]))
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in arguments["metrics"]) + '{"kind": "tr'
    )
    curves.write_csv(tmp_path / "curves.csv", arguments["curves"])
    read = contents.of(folder)
    assert {**read, "exhibits": arguments["exhibits"], "notes": ()} == arguments
