"""Small data sets on disk, in the forms that real ones have."""

import io
import os
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image


def pixels(height, width, label=0, seed=0):
    """Returns uint8 [height, width, 3]: smooth and coloured, so that a JPEG of it is close to
    it."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    phase = label + 0.1 * seed
    waves = [
        np.sin(3 * rows + phase),
        np.cos(4 * columns - phase),
        np.sin(2 * rows * columns + phase),
    ]
    return np.uint8(127.5 + 100 * np.stack(waves, -1))


def encoded(image, kind="JPEG", **options):
    """Returns the bytes of an image file."""
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, kind, **{**({"quality": 95} if kind == "JPEG" else {}), **options})
    return file.getvalue()


def example(image_bytes, label):
    """Returns a record in the release's layout; `label` counts from 1."""
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image_bytes])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"n.JPEG"])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(path, records):
    """Writes a TFRecord file."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for record in records:
            writer.write(record)


def write_imagenet(folder, train=12, validation=5, shards=2, size=(60, 80)):
    """Writes shards in the release's layout; example i of a part has label i + 1 and its own
    look."""
    for part, count in (("train", train), ("validation", validation)):
        records = [example(encoded(pixels(size[0] + i, size[1], i)), i + 1) for i in range(count)]
        for shard, members in enumerate(np.array_split(np.arange(count), shards)):
            write_records(
                f"{folder}/{part}-{shard:05d}-of-{shards:05d}", [records[i] for i in members]
            )


def write_folder(folder, classes=("cat", "dog"), train=3, val=2, side=None):
    """Writes train/CLASS/ and val/CLASS/ of JPEG and PNG files, all of one `side` where given."""
    for part, count in (("train", train), ("val", val)):
        for label, name in enumerate(classes):
            place = pathlib.Path(folder, part, name)
            place.mkdir(parents=True)
            for i in range(count):
                kind = ("JPEG", "PNG")[i % 2]
                (place / f"{i}.{kind.lower()}").write_bytes(
                    encoded(pixels(side or 30 + i, side or 40, label, i), kind)
                )


def prepare_tfds(name, data_dir, splits, size=40, num_shards=2):
    """Prepares a TFDS set of random images under its real name, features and version."""
    import tensorflow_datasets as tfds

    real = tfds.builder(name, data_dir=data_dir)

    class Small(type(real), skip_registration=True):
        def _split_generators(self, unused_manager):
            return {split: self._rows(split, count) for split, count in splits.items()}

        def _rows(self, split, count):
            random, features = np.random.RandomState(len(split)), self.info.features
            for i in range(count):
                shape = tuple(side or size for side in features["image"].shape)
                row = {
                    "image": random.randint(0, 256, shape).astype(np.uint8),
                    "label": i % features["label"].num_classes,
                }
                if "coarse_label" in features:
                    row["coarse_label"] = 0
                if "id" in features:
                    row["id"] = f"{split}_{i}"
                if "file_name" in features:
                    row["file_name"] = f"{split}_{i}.JPEG"
                yield i, row

    Small.name = name
    Small(data_dir=data_dir, version=str(real.version)).download_and_prepare(
        download_config=tfds.download.DownloadConfig(num_shards=num_shards)
    )
