"""Folders of any name, in consoles of any encoding: what is written there is read back."""

import json
import os
import subprocess
import sys

import daily
import pytest
import written
from command_line import ROOT, STANDARD, newest, run

from sat_tf import files, saved_models

NAMES = (
    "lr[0.1]",
    "a*b?",
    "{x,y}",
    "back\\slash",
    "of two [1]/words",
    os.fsdecode(b"latin-\xe9"),
    "日本",
)


@pytest.mark.parametrize("name", daily.only(["of two [1]/words"], NAMES), ids=ascii)
def test_a_run_in_a_folder_of_any_name_is_gone_on_with_measured_and_exported(
    name, small_networks, tmp_path, capsys
):
    folder = tmp_path / name / "run"
    train = (*STANDARD, "--mode=train", f"--model_dir={folder}")
    assert run(*train, "--epochs=1") == 0
    assert run(*train, "--epochs=2") == 0
    assert "continuing from" in capsys.readouterr().out
    assert newest_step(folder) == 8
    assert run("--mode=eval", f"--model_dir={folder}", "--eval_attacks=clean") == 0
    results = written.results(folder)
    assert results["step"] == 8
    assert results["checkpoint"].startswith(str(folder))  # not by a link that is gone
    assert run("--mode=export", f"--model_dir={folder}") == 0
    other = tmp_path / name / "other"
    assert (
        run(*STANDARD, "--mode=train", f"--init_checkpoint={folder}", f"--model_dir={other}") == 0
    )
    exported = (f"--saved_model={folder / 'saved_model'}", "--eval_examples=20")
    measured = tmp_path / name / "measured"
    assert run("--mode=eval", *exported, "--eval_attacks=clean", f"--model_dir={measured}") == 0
    assert written.results(measured)["clean_accuracy"] == results["clean_accuracy"]
    said = capsys.readouterr()
    assert "sat_tf-" not in said.out + said.err  # of the links


def newest_step(folder):
    with open(folder / "checkpoints" / "checkpoint", "rb") as file:
        return int(file.read().split(b"\n")[0].rstrip(b'"').rsplit(b"-", 1)[1])


def test_a_checkpoint_of_any_name_is_read(small_networks, small_run, tmp_path, capsys):
    prefix = newest(small_run)
    for ending in (".index", ".data-00000-of-00001"):
        os.link(prefix + ending, f"{tmp_path}/best[0]{ending}")
    asked = (*STANDARD, "--mode=train", "--epochs=1", f"--model_dir={tmp_path}/new")
    assert run(*asked, f"--init_checkpoint={tmp_path}/best[0]") == 0
    assert f"began with the weights of {tmp_path}/best[0]\n" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_named_as_the_user_knows_it(small_networks, tmp_path, capsys):
    folder = tmp_path / "lr[0.1]"
    train = (*STANDARD, "--mode=train", f"--model_dir={folder}")
    assert run(*train, "--epochs=1") == 0
    [data] = (folder / "checkpoints").glob("*.data*")
    data.write_bytes(data.read_bytes()[:100])
    capsys.readouterr()
    assert run(*train, "--epochs=2") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(folder) in said and "sat_tf-" not in said


def test_an_export_of_any_name_is_loaded(small_run, tmp_path):
    place = tmp_path / "v[1]"
    os.symlink(small_run / "saved_model", place)
    assert saved_models.load(str(place), image_size=8).num_classes == 10


def test_what_is_plain_is_left_as_it_is_and_links_do_not_stay(tmp_path):
    assert files.plain("runs/mine") == "runs/mine"
    assert files.plain("gs://bucket/lr[0.1]") == "gs://bucket/lr[0.1]"
    place = tmp_path / "a[b]"
    link = files.plain(f"{place}/c")
    assert link == files.plain(f"{place}/c") != f"{place}/c"  # before it exists, too
    place.mkdir()
    assert files.real(f"cannot read {link}: no") == f"cannot read {place}/c: no"
    command = "import sys; from sat_tf import files; print(files.plain(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", command, str(place)], cwd=ROOT, capture_output=True, text=True
    )
    assert made.returncode == 0 and not os.path.lexists(made.stdout.strip())


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
    ids=["ascii", "C"],
)
def test_a_console_that_knows_ascii_alone_loses_nothing(environment, tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9 [\xe6\x97\xa5]")
    command = [sys.executable, "tests/command_line.py", *STANDARD, "--epochs=1"]
    ended = subprocess.run(
        [*command, b"--model_dir=" + folder],
        cwd=ROOT,
        capture_output=True,
        env={**os.environ, **environment},
    )
    assert ended.returncode == 0, ended.stderr
    assert b"Traceback" not in ended.stderr and b"Warning" not in ended.stderr
    assert rb"caf\udce9" in ended.stdout  # what a console cannot show is spelled
    with open(os.path.join(folder, b"results.json")) as file:
        assert json.load(file)["step"] == 4
    for name in (b"report.html", b"saved_model/saved_model.pb"):
        assert os.path.exists(os.path.join(folder, name))
