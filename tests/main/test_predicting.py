"""Photos classified by the command line."""

import csv
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import small_data
import tensorflow as tf
from command_line import ROOT, run

from sat_tf import data

pytestmark = pytest.mark.usefixtures("small_networks")


def _write_black(folder, count):
    for i in range(count):
        (folder / f"{i}.png").write_bytes(tf.io.encode_png(np.zeros([8, 8, 3], "u1")).numpy())


def _predict(folder, images, output):
    return run(
        "--mode=predict", f"--model_dir={folder}", f"--images={images}", f"--output={output}"
    )


def test_predict_writes_the_csv(small_run, tmp_path):
    examples = data.load("digits").eval
    for i in range(3):
        png = tf.io.encode_png(examples.images[i]).numpy()
        (tmp_path / f"image{i}.png").write_bytes(png)
    assert _predict(small_run, tmp_path / "*.png", tmp_path / "out.csv") == 0
    rows = list(csv.DictReader(open(tmp_path / "out.csv", encoding="utf-8")))
    assert [os.path.basename(row["file"]) for row in rows] == [f"image{i}.png" for i in range(3)]
    exported = tf.saved_model.load(str(small_run / "saved_model"))
    answer = exported.signatures["serving_default"](images=tf.constant(examples.images[:3]))
    assert [int(row["class"]) for row in rows] == answer["classes"].numpy().tolist()
    np.testing.assert_allclose(
        [float(row["probability"]) for row in rows],
        answer["probabilities"].numpy().max(-1),
        atol=1e-5,
    )


def test_a_signal_ends_predicting_too(small_run, tmp_path, monkeypatch):
    _write_black(tmp_path, 30)
    decode = data.decode

    def signal_and_decode(image_bytes):
        os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.setattr(data, "decode", decode)
        return decode(image_bytes)

    monkeypatch.setattr(data, "decode", signal_and_decode)
    assert _predict(small_run, tmp_path / "*.png", tmp_path / "out.csv") == 143
    assert not (tmp_path / "out.csv").exists()


def test_an_output_that_cannot_be_written_names_its_flag(small_run, tmp_path, capsys):
    _write_black(tmp_path, 1)
    assert _predict(small_run, tmp_path / "0.png", tmp_path) == 2
    assert capsys.readouterr().err.startswith(f"error: --output={tmp_path}: cannot be written")


def test_standard_output_has_the_rows_and_nothing_else(small_run, tmp_path, capsys):
    _write_black(tmp_path, 3)
    (tmp_path / "bad.png").write_bytes(b"bad")
    flags = ("--max_bad_records=1", "--top=2", "--output=-")
    images = f"--images={tmp_path}/*.png"
    assert run("--mode=predict", f"--model_dir={small_run}", images, *flags) == 0
    said = capsys.readouterr()
    rows = list(csv.DictReader(said.out.splitlines()))
    assert list(rows[0]) == [*("file", "class", "probability", "class_2", "probability_2", "error")]
    assert len(rows) == 4 and rows[-1]["error"] and not rows[0]["error"]
    assert "mode      predict" in said.err and "wrote 4 rows to standard output" in said.err


def _in_a_process(small_run, images, **options):
    """Predicts to standard output, a real one."""
    return subprocess.run(
        [
            *(sys.executable, "tests/command_line.py", "--mode=predict", "--output=-"),
            *(f"--model_dir={small_run}", f"--images={images}"),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.slow
def test_standard_output_has_the_bytes_that_a_file_would_have(small_run, tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9 \xe6\x97\xa5.png")
    with open(name, "wb") as file:
        file.write(small_data.encoded(small_data.pixels(8, 8), "PNG"))
    assert _predict(small_run, tmp_path / "*.png", tmp_path / "out.csv") == 0
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = _in_a_process(small_run, tmp_path, stdout=subprocess.PIPE, env=environment)
    assert ended.returncode == 0 and ended.stdout == (tmp_path / "out.csv").read_bytes()
    assert name in ended.stdout


@pytest.mark.slow
def test_rows_that_standard_output_does_not_take_are_an_error(small_run, tmp_path):
    _write_black(tmp_path, 1)
    with open("/dev/full", "wb") as full:
        ended = _in_a_process(small_run, tmp_path, stdout=full)
    assert ended.returncode == 2
    last = ended.stderr.decode().splitlines()[-1]
    assert last.startswith("error: --output=-: cannot be written: No space left on device")


def test_top_is_at_least_one(small_run, capsys):
    asked = ("--mode=predict", f"--model_dir={small_run}", "--images=*.png", "--top=0")
    assert run(*asked) == 2
    assert capsys.readouterr().err.startswith("error: --top=0: ")
