"""From stored pixels to what a network sees: cropping.

    image = decoding.decode(tf.io.read_file("cat.jpg"))      # uint8 [h, w, 3]
    image = evaluation_crop(image, 224, crop_padding=32)     # float32 [224, 224, 3] in [0, 1]
    image = random_resized_crop(tf.io.read_file("cat.jpg"), 224, seed=[3, 4])

Everything here is made of TensorFlow ops, but for the decoders that are not, see `decoding`; what
is random takes its seed.
"""

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.data import decoding


def to_float(images: TensorLike) -> tf.Tensor:
    """Returns uint8 images as float32 in [0, 1]: exactly `value / 255`, correctly rounded."""
    # By way of float64: in graphs TensorFlow makes `/ 255` a product with the rounded 1 / 255,
    # and in float32 that would differ from eager execution and from NumPy in the last bit.
    return tf.cast(tf.cast(images, tf.float64) / 255.0, tf.float32)


def evaluation_crop(images: TensorLike, size: int, crop_padding: int) -> tf.Tensor:
    """Returns the centre of each image, resized to `size` x `size`.

    The centre is the square of side `min(height, width) * size / (size + crop_padding)`, rounded
    down; so 0 takes the largest central square, and then an image of the wanted size comes out
    bit for bit.  The resize is bicubic with the kernel of TensorFlow 1 (a = -0.75, corners and
    not centres of pixels aligned, no antialiasing), as the released networks were trained and
    evaluated.  Two departures from the release: the result is clipped, because our images are in
    [0, 1] and its were allowed to overshoot; the side is computed in integers, where its float32
    product may fall one short of a whole number.

    Args:
      images: [height, width, 3] or [batch, height, width, 3] of known rank; uint8, or float32
        in [0, 1].
      size: side of the result in pixels, a Python int.
      crop_padding: the border taken away, in pixels of an image `size + crop_padding` wide, a
        Python int, >= 0.
    Returns: float32 [size, size, 3] or [batch, size, size, 3] in [0, 1].
    Reference: `efficientnet/preprocessing.py` of https://github.com/tensorflow/tpu.
    """
    images = tf.convert_to_tensor(images)
    single = images.shape.rank == 3
    if single:
        images = images[tf.newaxis]
    height, width = tf.unstack(tf.shape(images)[1:3])
    top, left, side, _ = tf.unstack(_central_window(height, width, size, crop_padding))
    resized = _resize(images[:, top : top + side, left : left + side], size)
    return resized[0] if single else resized


def evaluation_crop_of_bytes(image_bytes, size, crop_padding):
    """Returns `evaluation_crop(decode(image_bytes), ...)`; of a JPEG only the crop is decoded.

    As in the release.  At the crop's border a JPEG's colour may differ by a few grey levels then,
    because it is stored coarser than brightness and lacks its neighbours outside.
    """
    pixels = decoding.decode_part(
        image_bytes, lambda height, width: _central_window(height, width, size, crop_padding)
    )
    return _resize(pixels[tf.newaxis], size)[0]


def random_resized_crop(
    image_bytes: TensorLike, size: int, seed: TensorLike, *, crop_padding: int = 0
) -> tf.Tensor:
    """Returns a random part of an image, resized to `size` x `size`; of a JPEG only that is
    decoded.

    The part has 8 to 100 % of the image's area and an aspect ratio of 3/4 to 4/3.  Where ten draws
    find none that fits, the evaluation crop takes its place, as in the release.

    Args:
      image_bytes: string scalar, an image file as for `decode`.
      size: side of the result in pixels, a Python int.
      seed: integer [2]; the same seed gives the same part.
      crop_padding: that of the evaluation crop.
    Returns: float32 [size, size, 3] in [0, 1].
    Raises: tf.errors.InvalidArgumentError if the bytes are no such image, or not all of the part.
    Reference: Szegedy et al., 2015, section 6, https://arxiv.org/abs/1409.4842; the constants are
      those of `efficientnet/preprocessing.py` of https://github.com/tensorflow/tpu.
    """

    def window(height, width):
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.stack([height, width, 3]),
            tf.zeros([1, 0, 4]),
            seed,
            min_object_covered=0.1,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        drawn = tf.stack([begin[0], begin[1], extent[0], extent[1]])
        whole = (extent[0] == height) & (extent[1] == width)  # what ten failures leave
        return tf.where(whole, _central_window(height, width, size, crop_padding), drawn)

    return _resize(decoding.decode_part(image_bytes, window)[tf.newaxis], size)[0]


def random_flip(image, seed):
    """Returns the image [H, W, C], mirrored left to right for half of the seeds [2]."""
    mirrored = tf.random.stateless_uniform([], seed) < 0.5
    return tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)


def _central_window(height, width, size, crop_padding):
    """Returns int32 [4]: top, left, height and width of the evaluation crop."""
    side = tf.minimum(height, width) * size // (size + crop_padding)
    side = tf.maximum(side, 1)  # an image of a few pixels still has a centre
    return tf.stack([(height - side + 1) // 2, (width - side + 1) // 2, side, side])


def _resize(images, size):
    """Resizes [B, h, w, 3], uint8 or float32 in [0, 1], by TensorFlow 1's bicubic, clipped."""
    if images.dtype == tf.uint8:
        images = to_float(images)
    resized = tf.raw_ops.ResizeBicubic(
        images=images, size=[size, size], align_corners=False, half_pixel_centers=False
    )
    return tf.clip_by_value(tf.ensure_shape(resized, [None, size, size, 3]), 0.0, 1.0)


def augment_basic(images, seed, *, padding, flip):
    """Returns the images, each shifted and perhaps mirrored at random.

    Every image is surrounded by `padding` black pixels and cropped back to its size at a place
    of its own; with `flip` half of them, on average, are mirrored left to right.

    Args:
      images: [batch, height, width, channels], any number type, static height and width.
      seed: integer [2]; the same seed gives the same batch.
      padding: largest shift in pixels, a Python int, >= 0.
      flip: a Python bool.
    Returns: same shape and dtype.
    Reference: He et al., 2016, section 4.2, https://arxiv.org/abs/1512.03385.
    """
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    seeds = tf.random.experimental.stateless_split(seed, 2)
    shifts = tf.random.stateless_uniform(
        [2, batch, 1], seeds[0], minval=0, maxval=2 * padding + 1, dtype=tf.int32
    )
    around = [padding, padding]
    padded = tf.pad(images, [[0, 0], around, around, [0, 0]])
    rows = tf.gather(padded, shifts[0] + tf.range(height), axis=1, batch_dims=1)
    shifted = tf.gather(rows, shifts[1] + tf.range(width), axis=2, batch_dims=1)
    if flip:
        mirrored = tf.random.stateless_uniform([batch, 1, 1, 1], seeds[1]) < 0.5
        shifted = tf.where(mirrored, tf.reverse(shifted, [2]), shifted)
    return tf.ensure_shape(shifted, images.shape)
