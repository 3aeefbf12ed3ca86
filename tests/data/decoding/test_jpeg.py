"""JPEG: what becomes of colours, of damage, and of a part of an image."""

import numpy as np
import pytest
import small_data
import tensorflow as tf
from image_kinds import turned, with_orientation
from PIL import Image

from sat_tf.data import decoding

pytestmark = pytest.mark.smoke
PIXELS = small_data.pixels(48, 64)
PICTURE = Image.fromarray(PIXELS)
ADOBE = b"\xff\xee\x00\x0eAdobe"


def _difference(content, wanted=PIXELS):
    decoded = decoding.decode(content)
    assert decoded.dtype == tf.uint8 and decoding.problem(content) is None
    np.testing.assert_array_equal(decoding.decode_jpeg_or_png(content), decoded)
    return np.abs(decoded.numpy().astype(int) - wanted).mean()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_colours(progressive, subsampling):
    options = dict(progressive=progressive, subsampling=subsampling)
    assert _difference(small_data.encoded(PICTURE, **options)) < 3


def test_other_colour_spaces_and_containers():
    grey = PICTURE.convert("L")
    assert _difference(small_data.encoded(grey), np.asarray(grey)[..., None]) < 2
    assert _difference(small_data.encoded(PICTURE.convert("CMYK"))) < 6
    assert _difference(small_data.encoded(PICTURE, keep_rgb=True)) < 2
    several = small_data.encoded(PICTURE, "MPO", save_all=True, append_images=[grey])
    assert _difference(several) < 6
    assert _difference(small_data.encoded(PICTURE) + b"more" * 9) < 3  # after the end mark


def _without_mark(content):
    at = content.index(ADOBE)
    return content[:at] + content[at + 16 :]


def _of_12_bits(content):
    at = content.index(b"\xff\xc0") + 4
    return content[:at] + b"\x0c" + content[at + 1 :]


WHOLE = small_data.encoded(PICTURE)
REFUSED = {
    "half": (WHOLE[: len(WHOLE) // 2], "not a whole JPEG image"),
    "nearly whole": (WHOLE[:-40], "not a whole JPEG image"),
    "its first bytes": (WHOLE[:20], "not a whole JPEG image"),
    "half, progressive": (small_data.encoded(PICTURE, progressive=True)[:900], "not a whole JPEG"),
    "12 bits": (_of_12_bits(WHOLE), "not a whole JPEG image"),
    "CMYK without a mark": (
        _without_mark(small_data.encoded(PICTURE.convert("CMYK"))),
        "CMYK without Adobe's mark, which says whether its inks are inverted",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_and_doubtful_ones_are_refused(name):
    content, reason = REFUSED[name]
    for decoder in (decoding.decode, decoding.decode_jpeg_or_png):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoder(content)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode_part(content, lambda height, width: [0, 0, 8, 8])
    assert reason in decoding.problem(content)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_part_is_that_of_the_upright_image(kind, orientation):
    content = with_orientation(kind, orientation, PIXELS)
    whole = decoding.decode(content).numpy().astype(int)
    assert whole.shape == turned(PIXELS, orientation).shape

    @tf.function
    def part(content):
        return decoding.decode_part(
            content, lambda height, width: [height // 4, width // 8, height // 2, width // 2]
        )

    height, width, _ = whole.shape
    top, left = height // 4, width // 8
    wanted = whole[top : top + height // 2, left : left + width // 2]
    difference = np.abs(part(content).numpy().astype(int) - wanted)
    # At its border a part of a JPEG lacks neighbours, as its colour is stored coarser.
    assert difference.max() <= (24 if kind == "JPEG" else 0) and difference.mean() < 1
    if kind == "JPEG":  # without its end mark
        with pytest.raises(tf.errors.InvalidArgumentError):
            part(content[:-2])
