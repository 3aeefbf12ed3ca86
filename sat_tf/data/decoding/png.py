"""PNG by TensorFlow ops: transparency on white, upright by its EXIF orientation."""

import struct

import numpy as np
import tensorflow as tf
from PIL import Image

from sat_tf.data.decoding import orientation
from sat_tf.data.decoding.strings import byte_values, has, number_at, of_file
from sat_tf.data.decoding.transparency import on_white

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = 25  # where the header says which channels there are; bit 2: alpha
_AROUND = 12  # a chunk is its length (4 bytes), its name (4), its data, and their checksum (4)


def is_png(image_bytes):
    """Returns whether a string scalar begins as a PNG file does."""
    return tf.strings.substr(image_bytes, 0, len(SIGNATURE)) == SIGNATURE


def decode(image_bytes, *, saved):
    """Returns uint8 [height, width, 3] of a PNG file.

    Args:
      image_bytes: string scalar.
      saved: whether all of it has to be TensorFlow ops, for a SavedModel.
    """
    # TensorFlow's own fourth channel, where a file has none, is not opaque below 8 bits.
    pixels = tf.cond(
        _is_transparent(image_bytes),
        lambda: tf.cast(
            on_white(tf.cast(tf.io.decode_png(image_bytes, channels=4), tf.int32)), tf.uint8
        ),
        lambda: tf.io.decode_png(image_bytes, channels=3),
    )
    read = _orientation_in_chunks if saved else _orientation_by_python
    turned = tf.cond(has(image_bytes, b"eXIf"), lambda: read(image_bytes), lambda: 1)
    return orientation.upright(pixels, turned)


def _is_transparent(image_bytes):
    """Whether there is an alpha channel, or a chunk that makes some of the colours transparent."""
    colour_type = byte_values(tf.strings.substr(image_bytes, _COLOUR_TYPE, 1))
    has_alpha = tf.reduce_any(tf.bitwise.bitwise_and(colour_type, 4) > 0)
    head = tf.raw_ops.StringSplitV2(input=[image_bytes], sep=b"IDAT", maxsplit=1).values[0]
    return has_alpha | has(head, b"tRNS")


def _orientation_by_python(image_bytes):
    """As `_orientation_in_chunks`, behind a call of Python.

    What calls that is soon ready to run, where the whole graph would take a second for each
    pipeline, for what few files need.  A SavedModel cannot hold it.
    """
    found = tf.numpy_function(orientation_in, [image_bytes], tf.int32, stateful=False)
    return tf.ensure_shape(found, [])


def orientation_in(image_bytes: bytes) -> np.int32:
    """Returns the EXIF orientation of a PNG file, 1 where it has none, or a damaged one."""
    at = len(SIGNATURE)
    while at + _AROUND <= len(image_bytes):
        (length,) = struct.unpack(">I", image_bytes[at : at + 4])
        if image_bytes[at + 4 : at + 8] == b"eXIf":
            exif = Image.Exif()
            try:
                exif.load(b"Exif\0\0" + image_bytes[at + 8 : at + 8 + length])
                turned = exif.get(orientation.TAG, 1)
            except Exception:  # damaged EXIF says nothing of the pixels, which are whole
                turned = 1
            return np.int32(turned if turned in range(1, 9) else 1)
        at += _AROUND + length
    return np.int32(1)


@of_file
def _orientation_in_chunks(image_bytes):
    """Goes from chunk to chunk up to EXIF's; returns int32 in 1 ... 8, 1 where there is none."""
    values, size = byte_values(image_bytes), tf.strings.length(image_bytes)

    def length(at):
        return tf.minimum(number_at(values, at, 4, big=True), size)

    def name(at):
        return tf.strings.substr(image_bytes, at + 4, 4)

    at = tf.while_loop(
        lambda at: tf.cond(at + _AROUND <= size, lambda: name(at) != b"eXIf", lambda: False),
        lambda at: [at + _AROUND + length(at)],
        [tf.constant(len(SIGNATURE))],
    )[0]
    return tf.cond(
        at + _AROUND <= size,
        lambda: orientation.in_exif(tf.strings.substr(image_bytes, at + 8, length(at))),
        lambda: 1,
    )
