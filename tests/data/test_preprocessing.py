"""Scaling, the evaluation crop against a NumPy twin of its kernel, and augmentation."""

import io

import numpy as np
import pytest
import small_data
import tensorflow as tf
from PIL import Image

from sat_tf.data import decoding, preprocessing


def encoded(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels, **options).save(file, kind)
    return file.getvalue()


def random_pixels(*shape):
    return np.random.RandomState(sum(shape)).randint(0, 256, shape).astype(np.uint8)


def test_to_float_is_the_rounded_quotient_in_eager_and_in_graphs():
    levels = np.arange(256, dtype=np.uint8)
    wanted = levels.astype(np.float32) / np.float32(255)
    for function in (preprocessing.to_float, tf.function(preprocessing.to_float)):
        np.testing.assert_array_equal(function(tf.constant(levels)), wanted)


def legacy_bicubic(line_of_pixels, size):
    """TensorFlow 1's kernel along the first axis: a = -0.75, corners aligned, edges repeated."""
    side, a = len(line_of_pixels), -0.75
    rows = []
    for target in range(size):
        place = target * side / size
        first, weights, pixels = int(np.floor(place)) - 1, [], []
        for source in range(first, first + 4):
            x = abs(place - source)
            weights.append(
                ((a + 2) * x - (a + 3)) * x * x + 1 if x <= 1 else a * (((x - 5) * x + 8) * x - 4)
            )
            pixels.append(line_of_pixels[min(max(source, 0), side - 1)])
        rows.append(np.tensordot(weights, pixels, 1))
    return np.stack(rows)


@pytest.mark.parametrize(
    "height, width, size, crop_padding",
    [(20, 31, 8, 0), (31, 20, 8, 2), (9, 9, 12, 3), (40, 40, 8, 32), (1, 1, 8, 32)],
)
def test_evaluation_crop_is_the_centre_resized_as_in_the_release(height, width, size, crop_padding):
    pixels = random_pixels(height, width, 3)
    side = max(1, int(min(height, width) * size / (size + crop_padding)))
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    square = pixels[top : top + side, left : left + side] / 255.0
    wanted = legacy_bicubic(legacy_bicubic(square, size).swapaxes(0, 1), size).swapaxes(0, 1)
    cropped = preprocessing.evaluation_crop(pixels, size, crop_padding)
    assert cropped.dtype == tf.float32 and cropped.shape == (size, size, 3)
    # TensorFlow takes its weights from a table of 1024 steps, hence the tolerance.
    np.testing.assert_allclose(cropped, np.clip(wanted, 0, 1), atol=2e-3)
    batch = preprocessing.evaluation_crop(np.stack([pixels, pixels]), size, crop_padding)
    np.testing.assert_array_equal(batch[1], cropped)
    as_float = preprocessing.evaluation_crop(preprocessing.to_float(pixels), size, crop_padding)
    np.testing.assert_array_equal(as_float, cropped)


def test_evaluation_crop_leaves_an_image_of_the_size_alone():
    pixels = random_pixels(8, 8, 3)
    for function in (preprocessing.evaluation_crop, tf.function(preprocessing.evaluation_crop)):
        np.testing.assert_array_equal(
            function(pixels, 8, crop_padding=0), preprocessing.to_float(pixels)
        )


def test_evaluation_crop_stays_in_range():
    checkers = (np.indices((9, 9)).sum(0) % 2 * 255).astype(np.uint8)
    cropped = preprocessing.evaluation_crop(np.repeat(checkers[..., None], 3, -1), 17, 0).numpy()
    assert cropped.min() == 0.0 and cropped.max() == 1.0


def smooth_file(kind, height, width):
    """A smooth image, for random pixels do not survive a JPEG, as a file and as it is decoded."""
    image = small_data.pixels(height, width)
    image = image[..., 0] if "grey" in kind else image
    content = encoded(image, kind.split()[-1])
    return content, decoding.decode(content)


@pytest.mark.parametrize("kind", ["JPEG", "grey JPEG", "PNG"])
@pytest.mark.parametrize(
    "height, width, size, crop_padding",
    [(40, 61, 16, 0), (61, 40, 16, 4), (33, 33, 48, 32), (1, 3, 8, 32)],
)
def test_the_crop_of_a_file_is_that_of_its_pixels(kind, height, width, size, crop_padding):
    content, pixels = smooth_file(kind, height, width)
    cropped = tf.function(preprocessing.evaluation_crop_of_bytes)(content, size, crop_padding)
    wanted = preprocessing.evaluation_crop(pixels, size, crop_padding).numpy()
    # At the border of a crop a JPEG's colour, which is stored coarser, lacks its neighbours.
    np.testing.assert_allclose(cropped, wanted, atol=0.02 if kind == "JPEG" else 0)
    assert np.abs(cropped - wanted).mean() < 1e-3


def marked(height, width):
    """An image whose first two channels say where a pixel is, and its decoding."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)


def windows(height, width, count=300):
    """Returns top, bottom, left and right of random crops, read off the pixels; [count, 4]."""
    content = encoded(marked(height, width))
    crop = tf.function(lambda seed: preprocessing.random_resized_crop(content, 40, seed))
    crops = [crop(tf.stack([7, number])).numpy() * 255 for number in range(count)]
    return np.array(
        [
            [
                image[0, :, 0].mean(),
                image[-1, :, 0].mean() + 1,
                image[:, 0, 1].mean(),
                image[:, -1, 1].mean() + 1,
            ]
            for image in crops
        ]
    )


def test_random_crops_have_the_sizes_and_places_of_the_release():
    height, width = 120, 160
    top, bottom, left, right = windows(height, width).T
    tall, wide = bottom - top, right - left
    share, aspect = tall * wide / (height * width), wide / tall
    assert 0.07 < share.min() < 0.2 and 0.8 < share.max() < 1.01  # of 8 to 100 %
    assert 0.72 < aspect.min() < 0.85 and 1.2 < aspect.max() < 1.36  # of 3/4 to 4/3
    assert (
        top.min() < 5 and bottom.max() > height - 5 and left.min() < 5 and right.max() > width - 5
    )


def test_random_crops_are_resized_bicubically():
    """A crop equals TensorFlow 1's resize of the window that the same seed draws."""
    content, pixels = smooth_file("PNG", 90, 70)
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(pixels),
        tf.zeros([1, 0, 4]),
        [3, 4],
        min_object_covered=0.1,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    window = tf.slice(pixels, begin, extent).numpy() / 255.0
    wanted = legacy_bicubic(legacy_bicubic(window, 24).swapaxes(0, 1), 24).swapaxes(0, 1)
    cropped = preprocessing.random_resized_crop(content, 24, [3, 4])
    np.testing.assert_allclose(cropped, np.clip(wanted, 0, 1), atol=3e-3)


def test_a_crop_that_cannot_be_drawn_is_the_evaluation_crop():
    """No part of a strip of 4 x 400 has 8 % of it at an aspect of at most 4/3."""
    content, pixels = smooth_file("PNG", 4, 400)
    for seed in range(3):
        np.testing.assert_array_equal(
            preprocessing.random_resized_crop(content, 16, [seed, 1], crop_padding=4),
            preprocessing.evaluation_crop(pixels, 16, crop_padding=4),
        )


def test_random_crops_are_a_function_of_their_seed():
    content, _ = smooth_file("JPEG", 90, 70)
    one, same, other = (
        preprocessing.random_resized_crop(content, 16, seed).numpy()
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_half_of_the_images_are_mirrored():
    image = tf.constant(random_pixels(4, 6, 3))
    flipped = [
        np.array_equal(preprocessing.random_flip(image, [5, number]), image[:, ::-1])
        for number in range(200)
    ]
    kept = [
        np.array_equal(preprocessing.random_flip(image, [5, number]), image)
        for number in range(200)
    ]
    assert 70 < sum(flipped) < 130 and sum(flipped) + sum(kept) == 200


@pytest.mark.parametrize("flip", [False, True])
def test_augment_basic_shows_every_shift_of_the_padded_image_and_nothing_else(flip):
    image = random_pixels(4, 6, 3) / np.float32(255) + np.float32(0.01)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    windows = [
        padded[row : row + 4, column : column + 6] for row in range(3) for column in range(3)
    ]
    if flip:
        windows += [window[:, ::-1] for window in windows]
    images = tf.constant(np.repeat(image[None], 400, axis=0))
    augmented = preprocessing.augment_basic(images, [3, 4], padding=1, flip=flip)
    assert augmented.shape == images.shape and augmented.dtype == images.dtype
    counts = [sum(np.array_equal(one, window) for one in augmented.numpy()) for window in windows]
    assert sum(counts) == 400 and min(counts) > 400 / len(windows) / 3


def test_augment_basic_is_a_function_of_its_seed():
    images = tf.constant(random_pixels(16, 8, 8, 3))
    one, same, other = (
        function(images, seed, padding=2, flip=True).numpy()
        for function, seed in (
            (preprocessing.augment_basic, [1, 2]),
            (tf.function(preprocessing.augment_basic), [1, 2]),
            (preprocessing.augment_basic, [1, 3]),
        )
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    unchanged = preprocessing.augment_basic(images, [1, 2], padding=0, flip=False)
    np.testing.assert_array_equal(unchanged, images)
