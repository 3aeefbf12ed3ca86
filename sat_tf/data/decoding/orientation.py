"""EXIF orientation: which way up a stored image is to be shown.

    pixels = upright(stored, in_exif(exif))

1 is as stored, 2 mirrored left to right, 3 turned by 180 degrees, 4 mirrored top to bottom; 5 to 8
are 1, 4, 2 and 3 after rows and columns have changed places.
Reference: CIPA DC-008 (Exif 2.32), section 4.6.4, tag 0x0112.
"""

import tensorflow as tf

from sat_tf.data.decoding.strings import byte_values, number_at

TAG = 0x0112
_LONG, _ENTRY = 4, 12  # a type of value; the bytes of an entry: tag, type, count, value
# The strides in rows, and in columns, of each number from 0 to 8, after the change of places.
_ROWS = (1, 1, 1, -1, -1, 1, 1, -1, -1)
_COLUMNS = (1, 1, -1, -1, 1, 1, -1, -1, 1)


def in_exif(exif):
    """Returns the orientation, int32 in 1 ... 8, of EXIF data, a string scalar in TIFF's form.

    1 where it says none; damaged data says none, too.
    """
    values = tf.pad(byte_values(exif), [[0, 8]])
    big = tf.reduce_all(values[:4] == [*b"MM\0*"])
    known = big | tf.reduce_all(values[:4] == [*b"II*\0"])
    size = tf.where(known, tf.strings.length(exif), 0)
    directory = tf.clip_by_value(number_at(values, 4, 4, big=big), 0, size)
    count = number_at(values, directory, 2, big=big)
    count = tf.minimum(count, tf.maximum(size - directory - 2, 0) // _ENTRY)
    entries = directory + 2 + _ENTRY * tf.range(count)
    entries = entries[number_at(values, entries, 2, big=big) == TAG][:1]
    is_long = number_at(values, entries + 2, 2, big=big) == _LONG
    low = tf.where(is_long & big, entries + 10, entries + 8)
    found = tf.reduce_sum(number_at(values, low, 2, big=big))  # of one or none
    return tf.where((found >= 1) & (found <= 8), found, 1)


def upright_size(stored_size, orientation):
    """Returns height and width, int32 [2], of an image stored with those of `stored_size`."""
    return tf.where(orientation > 4, stored_size[::-1], stored_size)


def upright_array(pixels, orientation):
    """As `upright`, of an array, and an int."""
    image = pixels.swapaxes(0, 1) if orientation > 4 else pixels
    return image[:: _ROWS[orientation], :: _COLUMNS[orientation]]


def upright(pixels, orientation):
    """Returns the image as it is to be shown.

    Args:
      pixels: [height, width, channels] as stored, of a known number of channels.
      orientation: int32 in 1 ... 8.
    """

    # Where these change nothing, they copy nothing; a condition's graph would take longer to make.
    image = tf.transpose(pixels, tf.where(orientation > 4, [1, 0, 2], [0, 1, 2]))
    rows, columns = (tf.gather(strides, orientation) for strides in (_ROWS, _COLUMNS))
    return tf.ensure_shape(image[::rows, ::columns], [None, None, pixels.shape[-1]])


def stored_window(window, height, width, orientation):
    """Returns where a window of the upright image is in the stored one.

    Args:
      window: int32 [4]: top, left, height and width.
      height, width: int32, of the upright image.
      orientation: int32 in 1 ... 8.
    Returns: int32 [4].
    """
    top, left, tall, wide = tf.unstack(window)
    top = tf.where(tf.gather(_ROWS, orientation) < 0, height - top - tall, top)
    left = tf.where(tf.gather(_COLUMNS, orientation) < 0, width - left - wide, left)
    return tf.where(orientation > 4, [left, top, wide, tall], [top, left, tall, wide])
