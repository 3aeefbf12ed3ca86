"""How many images a second the input pipeline prepares, and how many a training step needs.

    python -m benchmarks.input_pipeline

Made-up JPEGs of ImageNet's usual size (500 x 375 pixels, about 110 kB) in shards of the release's
layout, prepared at 224 pixels.  The bound is the bare decoding of the random crop and its resize,
from bytes in memory: what reading at random, shuffling, batching and conversion add is the rest.
Repetitions of all forms are interleaved, and medians are compared.  Writes one JSON line a form to
benchmarks/results/input_pipeline.json:
  images_per_core_second   images in a second of processor time
  cpu_ratio                processor time of an image, that of `basic` being 1
and one line of what is needed:
  step_images_per_second   of a ResNet-50's pgd-1 training step on this machine
  headroom                 images/s of `basic` alone, in wall time, over those of the step
  cores_for                accelerator's step speed in images/s -> cores that `basic` wants for it
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import tempfile
import time

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from sat_tf import data, models, training  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parent / "results" / "input_pipeline.json"
SIZE, BATCH = 224, 32
STEP_SPEEDS = (500, 1000, 2000, 4000, 8000)  # images/s


def make_jpeg(number):
    """A smooth picture with grain, which gives a JPEG about as many bytes as a photograph's."""
    random = np.random.RandomState(number)
    smooth = tf.image.resize(random.rand(6, 8, 3).astype(np.float32), (375, 500), "bicubic").numpy()
    pixels = np.clip(smooth * 255 + random.randn(375, 500, 3) * 24, 0, 255).astype(np.uint8)
    return tf.io.encode_jpeg(pixels, quality=90).numpy()


def write_shards(folder, examples, shards=4):
    """Writes the release's layout; returns the mean size of an image in bytes."""
    jpegs = [make_jpeg(number) for number in range(64)]
    for part, count in (("train", examples), ("validation", shards)):
        for shard in range(shards):
            with tf.io.TFRecordWriter(f"{folder}/{part}-{shard:05d}-of-{shards:05d}") as writer:
                for number in range(shard, count, shards):
                    writer.write(_record(jpegs[number % 64], number % 1000 + 1))
    return jpegs, round(statistics.mean(map(len, jpegs)))


def _record(image_bytes, label):
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image_bytes])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def bare_crops(jpegs):
    """The bound: random crops of bytes in memory, as they are resized."""

    def crop(number, image_bytes):
        return data.random_resized_crop(image_bytes, SIZE, tf.stack([number, 0]))

    files = tf.data.Dataset.from_tensor_slices(jpegs).repeat().enumerate()
    return files.map(crop, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH, drop_remainder=True)


def bare_reading(source):
    """Records read at random, and nothing done with them."""
    indices = tf.data.Dataset.random(seed=0).map(
        lambda number: tf.cast(number % source.train.size, tf.int32)
    )
    return indices.map(
        lambda index: source.train.read(index)[1], num_parallel_calls=tf.data.AUTOTUNE
    ).batch(BATCH, drop_remainder=True)


def evaluation(source):
    whole = data.Source(source.description, source.train, source.train, source.bad_examples)
    return data.evaluation_batches(whole, batch_size=BATCH, image_size=SIZE).repeat()


def timed(batches, number):
    """Returns wall and processor seconds for `number` batches, after two to warm up."""
    iterator = iter(batches)
    for _ in range(2):
        next(iterator)
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(number):
        next(iterator)
    return time.perf_counter() - wall, time.process_time() - processor


def step_speed(batches, batch_size, steps):
    """Returns images/s of a ResNet-50's training step with a one-step attack."""
    model = training.AdversarialModel(
        models.create("resnet50", image_size=SIZE),
        training.create("pgd", epsilon=4 / 255, num_steps=1),
    )
    model.compile(training.create_optimizer("sgd", 0.1))
    images, labels = next(iter(batches))
    same = tf.data.Dataset.from_tensors((images[:batch_size], labels[:batch_size])).repeat()
    model.fit(same, steps_per_epoch=1, verbose=0)  # tracing
    start = time.perf_counter()
    model.fit(same, steps_per_epoch=steps, verbose=0)
    return steps * batch_size / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description="Measures the input pipeline.")
    parser.add_argument("--examples", type=int, default=512)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jpegs, mean_bytes = write_shards(folder, arguments.examples)
        source = data.load(f"tfrecord:{folder}")
        forms = {
            "bare crops (the bound)": bare_crops(jpegs),
            "bare reading": bare_reading(source),
            "evaluation": evaluation(source),
        }
        for augment in data.AUGMENTATIONS:
            forms[augment] = data.training_batches(
                source, batch_size=BATCH, image_size=SIZE, augment=augment, seed=0
            )
        times = {form: [] for form in forms}
        for _ in range(arguments.repeats):
            for form, batches in forms.items():
                times[form].append(timed(batches, arguments.batches))
        speed = step_speed(forms["basic"], batch_size=8, steps=3)
    report(times, arguments.batches * BATCH, speed, mean_bytes)


def report(times, images, step_images_per_second, mean_bytes):
    """Prints and writes the JSON lines."""
    wall, processor = (
        {
            form: statistics.median(pair[which] for pair in measured)
            for form, measured in times.items()
        }
        for which in (0, 1)
    )
    machine = {
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "image_bytes": mean_bytes,
    }
    lines = [
        {
            "form": form,
            "images_per_core_second": round(images / processor[form]),
            "cpu_ratio": round(processor[form] / processor["basic"], 2),
            **machine,
        }
        for form in times
    ]
    per_core = images / processor["basic"]
    lines.append(
        {
            "step_images_per_second": round(step_images_per_second, 2),
            "headroom": round(images / wall["basic"] / step_images_per_second),
            "cores_for": {speed: round(speed / per_core, 1) for speed in STEP_SPEEDS},
            **machine,
        }
    )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    print(text, end="")
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
