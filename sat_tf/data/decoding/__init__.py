"""Encoded images to pixels, whatever container they are in.

    pixels = decode(tf.io.read_file("cat.webp"))                        # uint8 [h, w, 3]
    centre = decode_part(tf.io.read_file("cat.jpg"), lambda height, width: [0, 0, 64, 64])
    pixels = decode_jpeg_or_png(image_bytes)                            # where Python is not

What a file is decides its content, not its name.  JPEG and PNG are decoded by TensorFlow ops, which
a SavedModel can hold; GIF, BMP, WEBP and TIFF by Pillow.  All come out as a viewer would show
them: upright, by their EXIF orientation; on WHITE where they are transparent; the first frame or
page of several; 16 bits cut to the 8 high ones; grey in three equal channels, CMYK as RGB, colour
profiles not applied.  What neither decodes to the right pixels is refused.
"""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.data.decoding import jpeg, pillow, png
from sat_tf.data.decoding.strings import of_file

Window = Callable[[tf.Tensor, tf.Tensor], TensorLike]


def decode(image_bytes: TensorLike) -> tf.Tensor:
    """Returns the pixels of an encoded image.

    Args:
      image_bytes: string scalar, a JPEG, PNG, GIF, BMP, WEBP or TIFF file.
    Returns: uint8 [height, width, 3], RGB, upright, on white where it is transparent.
    Raises: tf.errors.InvalidArgumentError if the bytes are no such image, not all of it, or of a
      kind that cannot be decoded to the right pixels; `problem` says which.
    """
    return _decode(image_bytes)


def decode_jpeg_or_png(image_bytes: TensorLike) -> tf.Tensor:
    """Returns what `decode` does, by TensorFlow ops alone, so that a SavedModel can hold it.

    Args:
      image_bytes: string scalar, a JPEG or PNG file.
    Returns: uint8 [height, width, 3], RGB, upright, on white where it is transparent.
    Raises: tf.errors.InvalidArgumentError for all other bytes.
    """
    return _decode_saved(image_bytes)


@tf.autograph.experimental.do_not_convert
def decode_part(image_bytes: TensorLike, window: Window) -> tf.Tensor:
    """Returns part of what `decode` returns; of a JPEG no more than that is decoded.

    Args:
      image_bytes: as for `decode`.
      window: (height, width) of the upright image, int32 scalars -> int32 [4]: top, left, height
        and width of the part, inside of it.
    Returns: uint8 [h, w, 3].
    Raises: tf.errors.InvalidArgumentError as `decode`, for damage that the part meets.
    """

    def of_other():
        pixels = _decode_no_jpeg(image_bytes)
        size = tf.shape(pixels)
        top, left, height, width = tf.unstack(window(size[0], size[1]))
        return tf.slice(pixels, [top, left, 0], [height, width, 3])

    part = tf.cond(
        tf.io.is_jpeg(image_bytes), lambda: jpeg.decode_part(image_bytes, window), of_other
    )
    return tf.ensure_shape(part, [None, None, 3])


def problem(image_bytes: bytes) -> str | None:
    """Returns why the bytes cannot be decoded, in words for whoever has the file; None if not.

    No graph is run: this is called where a pipeline waits for it, and holds the threads of one.
    """
    if not image_bytes:
        return "the image is empty, no bytes"
    of_tensorflow = {b"\xff\xd8\xff": "JPEG", png.SIGNATURE[:3]: "PNG"}
    kind = of_tensorflow.get(image_bytes[:3])
    try:
        if kind is None:
            pillow.decode(image_bytes)
        elif kind == "JPEG" and jpeg.is_doubtful_file(image_bytes):
            return f"a JPEG image of {jpeg.DOUBTFUL}"
        else:
            tf.io.decode_image(image_bytes, channels=3, expand_animations=False)
    except ValueError as error:
        return str(error)
    except tf.errors.OpError:  # whose text speaks of nodes of graphs
        return f"not a whole {kind} image"
    return None


def _refused(unused_bytes):
    with tf.control_dependencies([tf.debugging.Assert(False, ["no JPEG or PNG image"])]):
        return tf.zeros([1, 1, 3], tf.uint8)


def _by_pillow(image_bytes):
    # Never called in eager execution, where TensorFlow would take zeros off the end of the bytes.
    pixels = tf.numpy_function(pillow.decode, [image_bytes], tf.uint8, stateful=False)
    return tf.ensure_shape(pixels, [None, None, 3])


def _decoder(of_other, *, saved):
    """Returns what decodes JPEG and PNG itself, and leaves the rest to `of_other`.

    As two functions: of all files, and of those that are no JPEG.
    """

    @of_file
    def no_jpeg(image_bytes):
        return tf.cond(
            png.is_png(image_bytes),
            lambda: png.decode(image_bytes, saved=saved),
            lambda: of_other(image_bytes),
        )

    @of_file
    def decoder(image_bytes):
        pixels = tf.cond(
            tf.io.is_jpeg(image_bytes),
            lambda: jpeg.decode(image_bytes),
            lambda: no_jpeg(image_bytes),
        )
        return tf.ensure_shape(pixels, [None, None, 3])

    return decoder, no_jpeg


_decode, _decode_no_jpeg = _decoder(_by_pillow, saved=False)
_decode_saved, _ = _decoder(_refused, saved=True)
