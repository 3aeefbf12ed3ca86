"""EXIF's orientation in every container that carries it, and EXIF that is damaged or misplaced."""

import struct

import numpy as np
import pytest
import small_data
from image_kinds import RGB, png, turned, with_orientation
from PIL import Image

from sat_tf.data import decoding

pytestmark = pytest.mark.smoke
PIXELS = small_data.pixels(40, 56)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_shown_upright(kind, orientation):
    lossless = {} if kind != "WEBP" else {"lossless": True}
    content = with_orientation(kind, orientation, PIXELS, **lossless)
    decoded = decoding.decode(content).numpy()
    wanted = turned(PIXELS, orientation)
    assert decoded.shape == wanted.shape
    difference = np.abs(decoded.astype(int) - wanted)
    assert difference.mean() < 3 and (kind == "JPEG" or not difference.any())
    if kind in ("JPEG", "PNG"):
        np.testing.assert_array_equal(decoding.decode_jpeg_or_png(content), decoded)


def test_pages_of_a_tiff_are_turned_too():
    content = with_orientation(
        "TIFF", 6, PIXELS, save_all=True, append_images=[Image.fromarray(PIXELS)]
    )
    np.testing.assert_array_equal(decoding.decode(content), turned(PIXELS, 6))


def exif(order="<", orientation=6, kind=3, before=(), directory=8):
    """EXIF's data by hand: entries before the orientation, and where the directory is."""
    code = {3: "H", 4: "I"}[kind]
    entries = [struct.pack(order + "HHII", tag, 4, 1, 7) for tag in before]
    value = struct.pack(order + code, orientation).ljust(4, b"\0")
    entries.append(struct.pack(order + "HHI", 0x0112, kind, 1) + value)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", directory)
    return (
        start.ljust(directory, b"\0") + struct.pack(order + "H", len(entries)) + b"".join(entries)
    )


def in_jpeg(data, before=b""):
    """A JPEG whose first segments are `before` and EXIF of the data."""
    content = small_data.encoded(PIXELS)
    segment = b"\xff\xe1" + struct.pack(">H", len(data) + 8) + b"Exif\0\0" + data
    return content[:2] + before + segment + content[2:]


def in_png(data):
    return png(RGB, 8, 2, [(b"eXIf", data)])


def segment(marker, content):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


FOUND = {
    "big-endian": in_jpeg(exif(">")),
    "a long number": in_jpeg(exif("<", kind=4)),
    "a long big-endian number": in_jpeg(exif(">", kind=4)),
    "behind other entries": in_jpeg(exif("<", before=(0x0100, 0x010F, 0x0110))),
    "a directory further on": in_jpeg(exif(">", directory=40)),
    "behind other segments": in_jpeg(
        exif(), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0x") + segment(0xFE, b"a comment")
    ),
    "behind fillers": in_jpeg(exif(), b"\xff\xff\xff"),
    "big-endian PNG": in_png(exif(">")),
}


@pytest.mark.parametrize("name", FOUND)
def test_all_forms_of_it_are_read(name):
    stored = RGB if FOUND[name].startswith(b"\x89") else PIXELS
    assert decoding.decode(FOUND[name]).shape == turned(stored, 6).shape


UNSAID = {
    "9": exif(orientation=9),
    "0": exif(orientation=0),
    "no directory": exif()[:8],
    "half a directory": exif(before=(0x0100,))[:24],
    "nothing": b"",
    "one byte": b"I",
    "another order of bytes": b"XX" + exif()[2:],
    "a directory far away": b"II*\0\xff\xff\xff\xff" + exif()[8:],
    "more entries than there are": exif()[:8] + b"\xff\xff" + bytes(20),
}


@pytest.mark.parametrize("name", UNSAID)
@pytest.mark.parametrize("hold", [in_jpeg, in_png])
def test_what_says_nothing_leaves_the_image_as_it_is_stored(hold, name):
    stored = RGB if hold is in_png else PIXELS
    assert decoding.decode(hold(UNSAID[name])).shape == stored.shape


def test_only_the_first_image_of_a_file_is_asked():
    second = with_orientation("JPEG", 6, PIXELS)
    assert decoding.decode(small_data.encoded(PIXELS) + second).shape == PIXELS.shape


def test_the_word_alone_is_not_it():
    content = small_data.encoded(PIXELS, comment=b"Exif\0\0" + exif())
    assert decoding.decode(content).shape == PIXELS.shape
    text = (b"tEXt", b"Comment\0eXIf" + exif())
    assert decoding.decode(png(RGB, 8, 2, [text])).shape == RGB.shape


def test_zeros_at_the_end_of_a_file_are_part_of_it():
    black = np.zeros([24, 31, 3], np.uint8)
    for kind in ("BMP", "TIFF"):
        assert not decoding.decode(small_data.encoded(black, kind)).numpy().any()
