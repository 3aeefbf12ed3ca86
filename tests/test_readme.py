"""The README's code runs and its commands parse."""

import pathlib
import re
import shlex

import pytest
import tensorflow as tf

from flags import definitions, to_config
from sat_tf import data, export, models

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.split("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
            for line in block.splitlines()]
ON_DISK = ("--dataset=tfrecord:", "--dataset=folder:", "--init_checkpoint=")  # not here


@pytest.mark.smoke
def test_the_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = data.load("digits")
    images, labels = next(iter(data.training_batches(
        source, batch_size=32, image_size=8, augment="none", seed=0)))
    export.export(models.create("resnet20", num_classes=10, image_size=8),
                  "runs/resnet20-swish-digits-pgd/saved_model", image_size=8)
    names = dict(images=images, labels=labels, uint8_images=source.eval.images[:2],
                 png_or_jpeg_files=tf.stack([tf.io.encode_png(source.eval.images[0])]))
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), names)
    assert len(PYTHON) == 4
    assert tape_gradient_is_finite(names)
    assert isinstance(tf.keras.models.load_model("robust.keras"), tf.keras.Model)
    assert 0 <= names["result"].robust_accuracy["pgd-20"] <= names["result"].clean_accuracy <= 1
    assert float(tf.reduce_max(tf.abs(names["adversarial"] - images))) <= 8 / 255 + 1e-6


def tape_gradient_is_finite(names):
    gradient = names["tape"].gradient(names["logits"], names["images"])
    return bool(tf.reduce_all(tf.math.is_finite(gradient)))


def test_examples_are_under_ten_lines():
    assert all(len(block.strip().splitlines()) < 10 for block in PYTHON)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python main.py")])
def test_the_commands_parse(command, monkeypatch):
    monkeypatch.chdir(pathlib.Path(__file__).parents[1])
    flags = definitions.define()
    arguments = shlex.split(command)[1:]
    if "--help" in arguments:
        assert "--epsilon" in definitions.help_text(flags)
        return
    definitions.parse(flags, arguments)
    if not any(argument.startswith(ON_DISK) for argument in arguments):
        assert to_config.to_config(flags)
