"""JPEG by TensorFlow ops, upright by its EXIF orientation."""

import tensorflow as tf

from sat_tf.data.decoding import orientation
from sat_tf.data.decoding.strings import byte_values, has, number_at, of_file

_EXIF, _START_OF_SCAN, _APP1 = b"Exif\0\0", 0xDA, 0xE1
_ADOBE = b"\xff\xee\x00\x0eAdobe"
DOUBTFUL = "CMYK without Adobe's mark, which says whether its inks are inverted"


@of_file
def decode(image_bytes):
    """Returns uint8 [height, width, 3] of a JPEG file."""
    pixels = tf.io.decode_jpeg(_checked(image_bytes), channels=3)
    return orientation.upright(pixels, orientation_of(image_bytes))


@tf.autograph.experimental.do_not_convert
def decode_part(image_bytes, window):
    """Returns uint8 [h, w, 3] of the part that `window` chooses, see `decoding.decode_part`.

    A file without its end mark is decoded in full, because the part alone may not show that it was
    cut off.
    """
    image_bytes = _checked(image_bytes)
    turned = orientation_of(image_bytes)
    stored_size = tf.io.extract_jpeg_shape(image_bytes)[:2]
    height, width = tf.unstack(orientation.upright_size(stored_size, turned))
    chosen = tf.convert_to_tensor(window(height, width))
    stored = orientation.stored_window(chosen, height, width, turned)
    size = tf.strings.length(image_bytes)
    is_whole = tf.strings.substr(image_bytes, tf.maximum(size - 2, 0), 2) == b"\xff\xd9"

    def of_all():
        pixels = tf.io.decode_jpeg(image_bytes, channels=3)
        return tf.slice(pixels, [stored[0], stored[1], 0], [stored[2], stored[3], 3])

    pixels = tf.cond(
        is_whole, lambda: tf.io.decode_and_crop_jpeg(image_bytes, stored, channels=3), of_all
    )
    return orientation.upright(pixels, turned)


def _checked(image_bytes):
    """Returns a JPEG file; fails where it is doubtful."""
    with tf.control_dependencies([tf.debugging.Assert(~is_doubtful(image_bytes), [DOUBTFUL])]):
        return tf.identity(image_bytes)


def is_doubtful_file(image_bytes: bytes) -> bool:
    """As `is_doubtful`, without a graph."""
    is_cmyk = int(tf.io.extract_jpeg_shape(image_bytes)[2]) == 4
    return is_cmyk and _ADOBE not in image_bytes


@of_file
def is_doubtful(image_bytes):
    """Returns whether a JPEG file is of the one kind that decoders do not agree on."""
    is_cmyk = tf.io.extract_jpeg_shape(image_bytes)[2] == 4
    return tf.cond(is_cmyk, lambda: ~has(image_bytes, _ADOBE), lambda: False)


@of_file
def orientation_of(image_bytes):
    """Returns the EXIF orientation of a JPEG file, int32 in 1 ... 8; 1 where it has none."""
    # Most files have none, and looking for the word is faster than going through the segments.
    return tf.cond(
        has(image_bytes, _EXIF), lambda: _orientation_in_segments(image_bytes), lambda: 1
    )


def _orientation_in_segments(image_bytes):
    """Goes from segment to segment of the header, up to EXIF's or the first scan."""
    values, size = byte_values(image_bytes), tf.strings.length(image_bytes)

    def is_exif(at):
        return (values[at + 1] == _APP1) & (tf.strings.substr(image_bytes, at + 4, 6) == _EXIF)

    def goes_on(at):
        return tf.cond(
            at + 10 <= size,
            lambda: (values[at] == 0xFF) & (values[at + 1] != _START_OF_SCAN) & ~is_exif(at),
            lambda: False,
        )

    def following(at):
        filler = values[at + 1] == 0xFF  # any number of these may stand before a marker
        return tf.where(filler, at + 1, at + 2 + number_at(values, at + 2, 2, big=True))

    at = tf.while_loop(goes_on, lambda at: [following(at)], [tf.constant(2)])[0]
    there = tf.cond(at + 10 <= size, lambda: (values[at] == 0xFF) & is_exif(at), lambda: False)

    def read():
        length = tf.maximum(number_at(values, at + 2, 2, big=True) - 8, 0)
        return orientation.in_exif(tf.strings.substr(image_bytes, at + 10, length))

    return tf.cond(there, read, lambda: 1)
