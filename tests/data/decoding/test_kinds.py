"""Every kind of pixels in every container, against the values that the files are made of."""

import re

import numpy as np
import other_kinds
import png_kinds
import pytest
import small_data
import tensorflow as tf
import tiff_kinds

from sat_tf.data import decoding

pytestmark = pytest.mark.smoke

BY_PILLOW = {
    f"{container}, {name}": case
    for container, kinds in (
        ("GIF", other_kinds.GIF),
        ("BMP", other_kinds.BMP),
        ("WEBP", other_kinds.WEBP),
        ("TIFF", tiff_kinds.TIFF),
    )
    for name, case in kinds.items()
}
REFUSED = {
    **{f"TIFF, {name}": case for name, case in tiff_kinds.REFUSED.items()},
    **other_kinds.REFUSED,
}


def _levels(tensor):
    assert tensor.dtype == tf.uint8 and tensor.shape[-1] == 3
    return tensor.numpy().astype(int)


@pytest.mark.parametrize("name", png_kinds.PNG)
def test_png(name):
    content, wanted = png_kinds.PNG[name]
    np.testing.assert_array_equal(_levels(decoding.decode(content)), wanted)
    np.testing.assert_array_equal(_levels(decoding.decode_jpeg_or_png(content)), wanted)
    assert decoding.problem(content) is None


@pytest.mark.parametrize("name", BY_PILLOW)
def test_other_containers(name):
    content, wanted = BY_PILLOW[name]
    np.testing.assert_array_equal(_levels(decoding.decode(content)), wanted)
    assert decoding.problem(content) is None
    with pytest.raises(tf.errors.InvalidArgumentError, match="no JPEG or PNG image"):
        decoding.decode_jpeg_or_png(content)


@pytest.mark.parametrize("name", tiff_kinds.NEARLY)
def test_kinds_that_are_rounded_when_they_are_stored(name):
    content, wanted = tiff_kinds.NEARLY[name]
    assert np.abs(_levels(decoding.decode(content)) - wanted).max() <= 6


def test_a_lossy_webp_is_near():
    pixels = small_data.pixels(40, 50)
    decoded = _levels(decoding.decode(small_data.encoded(pixels, "WEBP", quality=95)))
    assert np.abs(decoded - pixels).mean() < 4


@pytest.mark.parametrize("name", REFUSED)
def test_other_kinds_are_refused_with_their_reason(name):
    content, reason = REFUSED[name]
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode(content)
    problem = decoding.problem(content)
    assert re.search(reason, problem), problem
    assert "\n" not in problem
