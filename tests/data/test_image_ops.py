"""Each operation against Pillow, a NumPy twin or a result worked out by hand; both backends."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from image_twins import blend, dull_pixels, grey_square, nearest, pillow, random_pixels, rotation
from PIL import ImageEnhance, ImageFilter, ImageOps

from sat_tf.data import image_ops

pytestmark = pytest.mark.smoke

BACKENDS = [
    image_ops.PLAIN,
    pytest.param(
        image_ops.ADDONS,
        marks=pytest.mark.skipif(
            image_ops.BACKEND is image_ops.PLAIN, reason="tensorflow-addons is not installed"
        ),
    ),
]


@pytest.fixture(params=BACKENDS, ids=["plain", "addons"])
def backend(request, monkeypatch):
    """Runs a test with each backend there is, chosen as the program chooses it."""
    monkeypatch.setattr(image_ops, "BACKEND", request.param)
    return request.param


def colours(*pixels):
    """One row of the given pixels."""
    return np.array([pixels], np.uint8)


def test_invert():
    pixels = random_pixels(24, 37)
    np.testing.assert_array_equal(image_ops.invert(pixels), pillow(pixels, ImageOps.invert))


@pytest.mark.parametrize("bits", [1, 2, 4, 7, 8])
def test_posterize_keeps_the_high_bits(bits):
    pixels = random_pixels(24, 37)
    for argument in (bits, tf.constant(bits)):
        np.testing.assert_array_equal(
            image_ops.posterize(pixels, argument), pillow(pixels, ImageOps.posterize, bits)
        )


@pytest.mark.parametrize("threshold", [0, 1, 76, 128, 255, 256])
def test_solarize_inverts_from_the_threshold_on(threshold):
    pixels = random_pixels(24, 37)
    for argument in (threshold, tf.constant(threshold)):
        np.testing.assert_array_equal(
            image_ops.solarize(pixels, argument), pillow(pixels, ImageOps.solarize, threshold)
        )


def test_solarize_add_brightens_what_is_below_128():
    pixels = colours((0, 1, 127), (128, 200, 255))
    for argument in (110, tf.constant(110)):
        np.testing.assert_array_equal(
            image_ops.solarize_add(pixels, argument), colours((110, 111, 237), (128, 200, 255))
        )
    np.testing.assert_array_equal(image_ops.solarize_add(pixels, 0), pixels)
    np.testing.assert_array_equal(
        image_ops.solarize_add(pixels, 200), colours((200, 201, 255), (128, 200, 255))
    )


def test_autocontrast_stretches_each_channel():
    pixels = colours((10, 0, 7), (20, 255, 7), (30, 99, 7))
    np.testing.assert_array_equal(
        image_ops.autocontrast(pixels), colours((0, 0, 7), (127, 255, 7), (255, 99, 7))
    )


def test_autocontrast_is_the_float32_arithmetic_of_the_release():
    pixels = dull_pixels(24, 37)
    low, high = (values.astype(np.float32) for values in (pixels.min((0, 1)), pixels.max((0, 1))))
    scale = np.float32(255) / (high - low)
    stretched = pixels.astype(np.float32) * scale + -low * scale
    result = image_ops.autocontrast(pixels).numpy()
    np.testing.assert_array_equal(result, np.clip(stretched, 0, 255).astype(np.uint8))
    np.testing.assert_allclose(result, pillow(pixels, ImageOps.autocontrast).astype(int), atol=1)


@pytest.mark.parametrize(
    "pixels",
    [
        random_pixels(24, 37),
        dull_pixels(24, 37),
        dull_pixels(32, 32),
        dull_pixels(64, 48),
        np.full((32, 32, 3), 9, np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
    ],
)
def test_equalize_is_that_of_pillow(backend, pixels):
    np.testing.assert_array_equal(image_ops.equalize(pixels), pillow(pixels, ImageOps.equalize))


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_constant_images_are_not_divided_by_zero(backend, value):
    pixels = np.full((32, 32, 3), value, np.uint8)
    np.testing.assert_array_equal(image_ops.autocontrast(pixels), pixels)
    np.testing.assert_array_equal(image_ops.equalize(pixels), pixels)


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.64, 1.0, 1.9, 5.5])
def test_brightness_is_that_of_pillow(factor):
    pixels = random_pixels(24, 37)
    wanted = pillow(pixels, lambda image: ImageEnhance.Brightness(image).enhance(factor))
    for argument in (factor, tf.constant(factor)):
        np.testing.assert_array_equal(image_ops.brightness(pixels, argument), wanted)


def test_color_has_the_grey_of_tensorflow():
    """0.587 * 255.5 = 149.98 is cut off, where Pillow rounds to 150."""
    green = colours((0, 255, 0))
    for factor, wanted in (
        (0.0, (149, 149, 149)),
        (0.1, (134, 159, 134)),
        (1.0, (0, 255, 0)),
        (1.9, (0, 255, 0)),
    ):
        np.testing.assert_array_equal(image_ops.color(green, factor), colours(wanted))
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(image_ops.color(greys, 0.1), greys)


@pytest.mark.parametrize("factor", [0.1, 0.64, 1.0, 1.9])
def test_color_is_near_that_of_pillow(factor):
    pixels = random_pixels(24, 37)
    wanted = pillow(pixels, lambda image: ImageEnhance.Color(image).enhance(factor))
    # The greys differ by at most one, the blends by |1 - factor| < 1 more than their rounding.
    np.testing.assert_allclose(
        image_ops.color(pixels, tf.constant(factor)), wanted.astype(int), atol=1.0
    )


@pytest.mark.parametrize(
    "height, width, level",
    [(224, 224, 196), (256, 256, 255), (300, 300, 255), (32, 32, 4), (40, 60, 9), (8, 8, 0)],
)
def test_contrast_blends_with_a_level_that_depends_on_the_size_alone(height, width, level):
    """As in the release; Pillow takes the mean grey instead."""
    pixels = random_pixels(height, width)
    np.testing.assert_array_equal(image_ops.contrast(pixels, 0.0), np.full_like(pixels, level))
    for factor in (0.1, 1.0, 1.72):
        np.testing.assert_array_equal(
            image_ops.contrast(pixels, tf.constant(factor)), blend(level, pixels, factor)
        )


def test_sharpness_smooths_the_inside_only(backend):
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[1, 2] = 130
    pixels[0, 0] = 13
    smooth = np.zeros((4, 5), np.uint8)
    smooth[1:3, 1:4] = [[10, 50, 10], [10, 10, 10]]
    smooth[0, 0] = 13  # the border stays; it is seen by its neighbours:
    smooth[1, 1] = 11
    np.testing.assert_allclose(
        image_ops.sharpness(pixels, 0.0), np.repeat(smooth[..., None], 3, 2).astype(int), atol=1
    )
    np.testing.assert_array_equal(image_ops.sharpness(pixels, 1.0), pixels)


@pytest.mark.parametrize("factor", [0.0, 0.1, 1.0, 1.9])
def test_sharpness_is_near_that_of_pillow_and_never_rounds_up(backend, factor):
    pixels = dull_pixels(24, 37)
    smooth = pillow(pixels, lambda image: image.filter(ImageFilter.SMOOTH)).astype(int)
    ours = image_ops.sharpness(pixels, 0.0).numpy()
    assert set(np.unique(smooth - ours)) == {0, 1}
    np.testing.assert_array_equal(
        image_ops.sharpness(pixels, tf.constant(factor)), blend(ours, pixels, factor)
    )


@pytest.mark.parametrize("degrees", [24.0, -24.0, 7.5, 0.0])
def test_rotate_is_about_the_centre(backend, degrees):
    pixels = random_pixels(13, 18)
    wanted = nearest(pixels, rotation(13, 18, degrees))
    for argument in (degrees, tf.constant(degrees)):
        np.testing.assert_array_equal(image_ops.rotate(pixels, argument), wanted)


def test_rotate_is_counterclockwise(backend):
    pixels = random_pixels(7, 7)
    np.testing.assert_array_equal(image_ops.rotate(pixels, 90.0), np.rot90(pixels))


@pytest.mark.parametrize("level", [0.12, -0.12, 0.27, 0.0])
def test_shear_moves_rows_and_columns(backend, level):
    pixels = random_pixels(11, 16)
    for argument in (level, tf.constant(level)):
        np.testing.assert_array_equal(
            image_ops.shear_x(pixels, argument), nearest(pixels, [[1, level, 0], [0, 1, 0]])
        )
        np.testing.assert_array_equal(
            image_ops.shear_y(pixels, argument), nearest(pixels, [[1, 0, 0], [level, 1, 0]])
        )


@pytest.mark.parametrize("pixels_left", [3.0, -3.0, 2.4, 0.0, 225.0])
def test_translate_moves_left_and_up_and_leaves_grey(backend, pixels_left):
    pixels = random_pixels(11, 16)
    for argument in (pixels_left, tf.constant(pixels_left)):
        np.testing.assert_array_equal(
            image_ops.translate_x(pixels, argument),
            nearest(pixels, [[1, 0, pixels_left], [0, 1, 0]]),
        )
        np.testing.assert_array_equal(
            image_ops.translate_y(pixels, argument),
            nearest(pixels, [[1, 0, 0], [0, 1, pixels_left]]),
        )


@pytest.mark.parametrize(
    "half, row, column", [(2, 5, 7), (3, 0, 0), (3, 9, 13), (0, 4, 4), (1, 0, 13), (40, 5, 7)]
)
def test_cutout_greys_the_part_of_a_square_that_is_inside(backend, half, row, column):
    pixels = random_pixels(10, 14)
    for cast in (int, tf.constant):
        np.testing.assert_array_equal(
            image_ops.cutout(pixels, cast(half), cast(row), cast(column)),
            grey_square(pixels, half, row, column),
        )


GEOMETRY = (  # pairs: ours, tensorflow-addons; sizes are in [-1, 1]
    (
        lambda image, size: image_ops.PLAIN.rotate(image, size),
        lambda image, size: image_ops.ADDONS.rotate(image, size),
    ),
    (
        lambda image, size: image_ops.PLAIN.shear(image, 0.3 * size, 0.0),
        lambda image, size: image_ops.ADDONS.shear(image, 0.3 * size, 0.0),
    ),
    (
        lambda image, size: image_ops.PLAIN.shear(image, 0.3 * size, 0.0),
        lambda image, size: image_ops._addons().shear_x(image, 0.3 * size, [128, 128, 128]),
    ),
    (
        lambda image, size: image_ops.PLAIN.shear(image, 0.0, 0.3 * size),
        lambda image, size: image_ops._addons().shear_y(image, 0.3 * size, [128, 128, 128]),
    ),
    (
        lambda image, size: image_ops.PLAIN.translate(image, 9 * size, 0.0),
        lambda image, size: image_ops.ADDONS.translate(image, 9 * size, 0.0),
    ),
    (
        lambda image, size: image_ops.PLAIN.translate(image, 0.0, 9 * size),
        lambda image, size: image_ops.ADDONS.translate(image, 0.0, 9 * size),
    ),
)


@pytest.mark.parametrize("pixels", [random_pixels(40, 33), dull_pixels(224, 224)])
def test_backends_are_equal_in_every_bit(pixels):
    pytest.importorskip("tensorflow_addons")
    image, plain, addons = tf.constant(pixels), image_ops.PLAIN, image_ops.ADDONS
    for ours, theirs in GEOMETRY:
        for size in tf.unstack(tf.random.stateless_uniform([6], [1, 2], -1.0, 1.0)):
            np.testing.assert_array_equal(ours(image, size), theirs(image, size))
    np.testing.assert_array_equal(plain.equalize(image), addons.equalize(image))
    np.testing.assert_array_equal(plain.smooth(image), addons.smooth(image))
    np.testing.assert_array_equal(plain.cutout(image, 5, 3, 30), addons.cutout(image, 5, 3, 30))


def test_addons_are_used_where_they_are_installed():
    installed = importlib.util.find_spec("tensorflow_addons") is not None
    assert image_ops.BACKEND is (image_ops.ADDONS if installed else image_ops.PLAIN)


@pytest.mark.slow
def test_addons_come_at_first_use_and_without_their_notice():
    pytest.importorskip("tensorflow_addons")
    program = (
        "import warnings; warnings.simplefilter('error'); import sys; import sat_tf\n"
        "from sat_tf.data import image_ops\n"
        "import tensorflow as tf\n"
        "assert 'tensorflow_addons' not in sys.modules\n"
        "filters = list(warnings.filters)\n"
        "image_ops.equalize(tf.zeros([4, 4, 3], tf.uint8))\n"
        "assert 'tensorflow_addons' in sys.modules and warnings.filters == filters\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "default", "-c", program], capture_output=True, text=True
    )
    assert ended.returncode == 0 and "TFA" not in ended.stderr, ended.stderr
