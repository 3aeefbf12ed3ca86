"""ImageNet's shards in the release's layout."""

import os

import numpy as np
import pytest
import small_data
import tensorflow as tf

from sat_tf import data
from sat_tf.data import record_files
from sat_tf.errors import UserError


@pytest.fixture
def folder(tmp_path):
    small_data.write_imagenet(tmp_path)
    return tmp_path


def _labels(source, **options):
    batches = data.training_batches(
        source, **{**dict(batch_size=4, image_size=32, augment="basic", seed=3), **options}
    )
    return [tuple(labels.numpy()) for _, labels in batches.take(6)]


def test_description(folder):
    description = data.describe(f"tfrecord:{folder}")
    assert (description.train_examples, description.eval_examples) == (12, 5)
    assert (description.num_classes, description.image_size) == (1000, None)
    assert (description.crop_padding, description.flip) == (32, True)


def test_labels_count_from_0_and_every_record_counts(folder):
    source = data.load(f"tfrecord:{folder}")
    epochs = _labels(source)
    assert set(sum(epochs[:3], ())) == set(sum(epochs[3:], ())) == set(range(12))
    assert epochs[:3] != epochs[3:]
    batches = list(data.evaluation_batches(source, batch_size=4, image_size=32))
    labels, mask = (np.concatenate(parts) for parts in list(zip(*batches))[1:])
    assert labels[mask].tolist() == list(range(5)) and len(batches) == 2


def test_images_stay_with_their_labels(folder):
    """Sixty-four pixels of every image have a colour that its label decides."""
    source = data.load(f"tfrecord:{folder}")
    for images, labels, _ in data.evaluation_batches(source, batch_size=5, image_size=32):
        for image, label in zip(images, labels.numpy()):
            wanted = small_data.pixels(60 + label, 80, label) / 255
            assert abs(image.numpy().mean() - wanted[14:-14, 24:-24].mean()) < 0.03


@pytest.mark.parametrize("start_step", [1, 4, 7])
def test_a_resumed_run_sees_what_the_uninterrupted_one_would(folder, start_step):
    source = data.load(f"tfrecord:{folder}")
    options = dict(batch_size=4, image_size=32, augment="basic", seed=1)
    whole = data.training_batches(source, **options).skip(start_step).take(2)
    resumed = data.training_batches(source, **options, start_step=start_step).take(2)
    for (images, labels), (images_again, labels_again) in zip(whole, resumed):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(labels, labels_again)


def test_workers_share_each_global_batch(folder):
    source = data.load(f"tfrecord:{folder}")
    options = dict(batch_size=4, image_size=32, augment="basic", seed=1)
    whole = data.training_batches(source, **options).take(4)
    shares = [
        data.training_batches(source, **options, worker=worker, num_workers=2).take(4)
        for worker in range(2)
    ]
    for (images, labels), *parts in zip(whole, *shares):
        np.testing.assert_array_equal(images, np.concatenate([part[0] for part in parts]))
        np.testing.assert_array_equal(labels, np.concatenate([part[1] for part in parts]))


def test_shards_may_lie_in_folders_of_their_parts(tmp_path):
    small_data.write_imagenet(tmp_path / "all")
    for part in ("train", "validation"):
        (tmp_path / part).mkdir()
        for path in (tmp_path / "all").glob(f"{part}-*"):
            path.rename(tmp_path / part / path.name)
    assert data.describe(f"tfrecord:{tmp_path}").train_examples == 12


def test_missing_shards_are_named(folder):
    (folder / "train-00001-of-00002").unlink()
    with pytest.raises(
        UserError, match="1 train shards are there of 2; the first missing is number 1"
    ):
        data.describe(f"tfrecord:{folder}")
    (folder / "train-00000-of-00002").unlink()
    with pytest.raises(UserError, match="no train-00000-of-01024"):
        data.describe(f"tfrecord:{folder}")
    with pytest.raises(UserError, match="no train-00000-of-01024"):
        data.describe("tfrecord:nowhere")


def test_two_sets_of_shards_in_one_folder_are_refused(folder):
    small_data.write_imagenet(folder, shards=3)
    with pytest.raises(UserError, match="5 train shards are there of 2 or 3"):
        data.describe(f"tfrecord:{folder}")


def test_an_empty_shard_is_named(folder):
    os.truncate(folder / "train-00001-of-00002", 0)
    with pytest.raises(
        UserError, match="--dataset=tfrecord:.*train-00001-of-00002 is empty; prepare"
    ):
        data.describe(f"tfrecord:{folder}")


def test_other_features_are_named(folder):
    features = {
        "jpeg": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x"])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
    }
    record = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    small_data.write_records(f"{folder}/train-00000-of-00002", [record])
    with pytest.raises(
        UserError, match="record 0 has no image/encoded; its features are image/class/label, jpeg"
    ):
        data.load(f"tfrecord:{folder}")


def test_records_of_another_kind_are_said(folder):
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x"])),
        "image/class/label": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"1"])),
    }
    record = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    for content, problem in (
        (record, "has other kinds of features"),
        (b"\xff\xff text", "is not a tf.train.Example"),
    ):
        path = f"{folder}/{problem[:6].strip()}"
        small_data.write_imagenet(path)
        small_data.write_records(f"{path}/train-00000-of-00002", [content])
        with pytest.raises(UserError, match=f"record 0 {problem}"):
            data.load(f"tfrecord:{path}")


def test_evaluating_needs_no_training_shards(folder):
    for path in folder.glob("train-*"):
        path.unlink()
    source = data.load(f"tfrecord:{folder}", eval_only=True)
    assert source.train is None and source.eval.size == 5
    assert source.description.train_examples == 1_281_167


def test_paths_are_taken_literally_and_in_full(folder, monkeypatch):
    odd = folder.parent / "a [1] *"
    folder.rename(odd)
    monkeypatch.chdir(odd.parent)
    monkeypatch.setenv("HOME", str(odd.parent))
    names = {
        data.describe(f"tfrecord:{path}").name
        for path in (odd, f"{odd}/", "a [1] *", "./a [1] *", "~/a [1] *")
    }
    assert names == {f"tfrecord:{odd}"}


@pytest.mark.parametrize("label", [0, 1001])
def test_labels_out_of_range_are_bad_records(folder, label):
    good = small_data.encoded(small_data.pixels(40, 40))
    small_data.write_records(
        f"{folder}/train-00000-of-00002",
        [small_data.example(good, 1), small_data.example(good, label)],
    )
    source = data.load(f"tfrecord:{folder}")
    with (
        pytest.raises(
            UserError,
            match=f"train-00000-of-00002, record 1: its label stands for class "
            f"{label - 1}, of classes 0 to 999",
        ),
        source.reading(),
    ):
        _labels(source)


def test_a_corrupt_record_is_named_or_left_out(folder, capfd):
    path = folder / "train-00000-of-00002"
    content = bytearray(path.read_bytes())
    content[record_files.record_offsets(path)[0][2] + 100] ^= 1
    path.write_bytes(content)
    strict = data.load(f"tfrecord:{folder}")
    with (
        pytest.raises(
            UserError,
            match="train-00000-of-00002, record 2: cannot be read "
            r"\(corrupted record",
        ),
        strict.reading(),
    ):
        _labels(strict)
    tolerant = data.load(f"tfrecord:{folder}", max_bad_records=1)
    with tolerant.reading():
        assert set(sum(_labels(tolerant), ())) == set(range(12)) - {2}
    assert capfd.readouterr().out.count("train-00000-of-00002, record 2") == 1


@pytest.mark.slow
def test_a_shard_that_is_cut_off_is_said(folder):
    path = folder / "train-00001-of-00002"
    os.truncate(path, path.stat().st_size - 50)
    source = data.load(f"tfrecord:{folder}")
    with (
        pytest.raises(
            UserError,
            match=r"record 5 \(the file ends in the middle of it; what "
            r"followed is lost\)",
        ),
        source.reading(),
    ):
        _labels(source)
