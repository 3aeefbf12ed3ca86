"""TFDS sets, prepared on disk by TFDS itself with a few random images."""

import numpy as np
import pytest
import small_data
import tensorflow_datasets as tfds

from sat_tf import data
from sat_tf.data import tfds_sets
from sat_tf.errors import UserError

pytestmark = pytest.mark.smoke

PARTS = {
    "cifar10": "test",
    "cifar100": "test",
    "svhn_cropped": "test",
    "imagenet2012": "validation",
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tfds"))
    for name, part in PARTS.items():
        small_data.prepare_tfds(name, folder, {"train": 13, part: 7})
    return folder


def test_every_known_set_is_tried_here():
    assert set(PARTS) == set(tfds_sets.KNOWN)


@pytest.mark.parametrize("name", PARTS)
def test_what_is_known_beforehand_agrees_with_tfds(name, data_dir, tmp_path):
    unprepared = data.describe(name, str(tmp_path))
    prepared = data.describe(name, data_dir)
    assert (prepared.train_examples, prepared.eval_examples) == (13, 7)
    assert len(prepared.class_names) == prepared.num_classes == unprepared.num_classes
    assert prepared.image_size == unprepared.image_size
    assert prepared.crop_padding == unprepared.crop_padding
    assert prepared.flip == unprepared.flip == (name != "svhn_cropped")
    assert unprepared.train_examples > 50_000 - 1 and unprepared.eval_examples > 10_000 - 1


@pytest.mark.parametrize("name", PARTS)
def test_examples_are_those_of_tfds(name, data_dir):
    source = data.load(name, data_dir)
    size = source.description.image_size or 40
    wanted = {}
    for example in tfds.as_numpy(tfds.load(name, split=PARTS[name], data_dir=data_dir)):
        wanted[example["image"].tobytes()] = example["label"]
    padding = source.description.crop_padding
    ours = data.evaluation_batches(source, batch_size=7, image_size=size)
    ((images, labels, mask),) = ours
    assert mask.numpy().all() and sorted(labels.numpy()) == sorted(wanted.values())
    if not padding:
        levels = np.rint(images.numpy() * 255).astype(np.uint8)
        assert {level.tobytes(): label for level, label in zip(levels, labels.numpy())} == wanted


@pytest.mark.parametrize("name", ["cifar10", "imagenet2012"])
def test_training_batches(name, data_dir):
    source = data.load(name, data_dir)
    batches = list(
        data.training_batches(source, batch_size=4, image_size=32, augment="basic", seed=0).take(6)
    )
    labels = [tuple(labels.numpy()) for _, labels in batches]
    # Thirteen examples, ten or more labels; an epoch leaves one example out.
    assert all(len(set(sum(labels[start : start + 3], ()))) >= 9 for start in (0, 3))
    assert batches[0][0].shape == (4, 32, 32, 3)


@pytest.mark.parametrize("name", ["cifar10", "imagenet2012", "mnist"])
def test_a_missing_set_says_the_command_that_prepares_it(name, tmp_path):
    with pytest.raises(UserError) as refusal:
        data.load(name, str(tmp_path))
    message = str(refusal.value)
    assert f"--dataset={name}: not prepared under --data_dir={tmp_path}; give --download" in message
    command = message.split('python -c "')[1].split('"')[0]
    assert command.endswith(f"tfds.builder('{name}', data_dir='{tmp_path}').download_and_prepare()")
    compile(command, "command", "exec")
    assert ("downloads/manual" in message) == (name == "imagenet2012")
    assert not list(tmp_path.iterdir())


def test_download_prepares(tmp_path, monkeypatch):
    """What the network would do is left to TFDS; that it is asked, and then read, is tried here."""
    monkeypatch.setattr(tfds_sets, "_builder", lambda name, data_dir: _Preparing(name, data_dir))
    source = data.load("cifar10", str(tmp_path), download=True)
    assert source.train.size == 4


def test_download_prepares_a_set_of_which_nothing_is_known_before(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_sets, "_builder", lambda name, data_dir: _Preparing(name, data_dir))
    description = data.describe("mnist", str(tmp_path), download=True)
    assert (description.train_examples, description.image_size) == (4, 28)


class _Preparing:
    """A builder that prepares the small set in the place of the whole."""

    def __init__(self, name, data_dir):
        self._name, self._data_dir = name, data_dir

    def download_and_prepare(self):
        small_data.prepare_tfds(self._name, self._data_dir, {"train": 4, "test": 2})

    @property
    def info(self):
        return tfds.builder(self._name, data_dir=self._data_dir).info

    def is_prepared(self):
        return False


def test_a_download_that_fails_is_one_line(tmp_path):
    with pytest.raises(
        UserError, match="--download: imagenet2012 could not be prepared: Manual directory"
    ) as refusal:
        data.load("imagenet2012", str(tmp_path), download=True)
    assert "\n" not in str(refusal.value)


def test_sets_that_are_not_for_classification_are_refused(data_dir, tmp_path):
    with pytest.raises(UserError, match="--dataset=coco: not for image classification"):
        data.load("coco", str(tmp_path))  # before gigabytes are fetched
    builder = tfds.builder("cifar10", data_dir=data_dir)
    with pytest.raises(UserError, match="not for image classification: its features are a, b"):
        tfds_sets._keys("x", {"b": builder.info.features["label"], "a": 1})
    with pytest.raises(UserError, match="its parts are train; give a set that has train, and test"):
        tfds_sets._evaluation_split("x", {"train": None})


def test_a_shard_that_lost_records_is_said(tmp_path):
    small_data.prepare_tfds("cifar10", str(tmp_path), {"train": 8, "test": 2})
    shard = next(tmp_path.rglob("*train*-00001-of-00002"))
    shard.write_bytes(shard.read_bytes()[:-20])
    source = data.load("cifar10", str(tmp_path))
    with pytest.raises(UserError, match="record 3 .the file ends in the middle"), source.reading():
        list(
            data.training_batches(source, batch_size=8, image_size=32, augment="none", seed=0).take(
                1
            )
        )
