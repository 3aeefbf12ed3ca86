"""The golden cases under tests/golden: logits of the original TensorFlow 1 networks.

A case stores no weights.  A variable's values are drawn by PCG64, seeded with the CRC-32 of the
variable's TF1 name, in float64, and rounded to float32; what is drawn depends on the name's last
part.  They are then multiplied by the power of two that the case lists where it is not 1.
"""

import json
import pathlib
import zlib

import numpy as np

from sat_tf.release import checkpoint as tf1_checkpoint
from sat_tf.release import filling as tf1_import

FOLDER = pathlib.Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in FOLDER.glob("*.json"))


def load(case):
    """Returns the case's description and its arrays: `logits` [2, 1000] and, for one, more."""
    with np.load(FOLDER / f"{case}.npz") as arrays:
        return json.loads((FOLDER / f"{case}.json").read_text()), dict(arrays)


def _generator(text):
    return np.random.Generator(np.random.PCG64(zlib.crc32(text.encode())))


def draw(name, shape):
    """Returns the float64 values of a TF1 variable, before the case's scale."""
    random = _generator(name)
    leaf = name.removesuffix("/ExponentialMovingAverage").removesuffix("/EMA").rpartition("/")[2]
    if leaf in ("kernel", "W"):
        return random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1], dtype=int))
    if leaf == "depthwise_kernel":
        return random.standard_normal(shape) * np.sqrt(2 / (shape[0] * shape[1]))
    if leaf == "gamma":
        return 1 + 0.1 * random.standard_normal(shape)
    if leaf in ("variance", "moving_variance"):
        return 0.5 + random.random(shape)
    if leaf == "smoothrelu_beta":
        return np.full(shape, 20.0)
    assert leaf in ("bias", "b", "beta", "mean", "moving_mean"), name
    return 0.1 * random.standard_normal(shape)


def variables(description):
    """Returns {TF1 variable name: float32 array}, checked against the case's checksum."""
    values, checksum = {}, 0
    for entry in description["variables"]:
        drawn = draw(entry["name"], entry["shape"]).astype(np.float32)
        values[entry["name"]] = drawn * np.float32(entry.get("scale", 1))
        checksum = zlib.crc32(values[entry["name"]].tobytes(), checksum)
    assert checksum == description["values_crc32"]
    return values


def images(description):
    """Returns the case's input, uint8 [2, resolution, resolution, 3]."""
    side = description["resolution"]
    pixels = _generator("input").integers(0, 256, (2, side, side, 3), np.uint8)
    assert zlib.crc32(pixels.tobytes()) == description["input_crc32"]
    return pixels


def fill(model, description):
    """Gives every weight of `model` its golden value, and insists that none is left over."""
    values = variables(description)
    shapes = {name: value.shape for name, value in values.items()}
    checkpoint = tf1_checkpoint.Checkpoint(description["case"], shapes, values.__getitem__)
    tf1_import.fill(model, checkpoint, channels="rgb")
