"""Every kind of GIF, BMP and WEBP: {name: (its bytes, its pixels)}; and those refused."""

import struct

import numpy as np
import small_data
from image_kinds import (
    ALPHA,
    COLUMNS,
    INDICES,
    PALETTE,
    RGB,
    RGBA,
    ROWS,
    bmp,
    gif,
    grey,
    on_white,
    packed,
)
from PIL import Image

_TRANSPARENT = np.where((INDICES == 5)[..., None], 255, PALETTE[INDICES])
_CORNER = INDICES[:10, :12]
_GREYS = grey(np.arange(256))


def _on_canvas(pixels, left, top):
    canvas = np.full_like(RGB, 255)
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


GIF = {
    "palette": (gif([(0, 0, INDICES, None, None)]), PALETTE[INDICES]),
    "a transparent colour": (gif([(0, 0, INDICES, 5, None)]), _TRANSPARENT),
    "a palette of its own": (gif([(0, 0, INDICES, None, PALETTE[::-1])]), PALETTE[::-1][INDICES]),
    "animated": (
        gif([(0, 0, INDICES, None, None), (0, 0, INDICES[::-1], None, None)]),
        PALETTE[INDICES],
    ),
    "a first frame in a corner": (
        gif([(3, 4, _CORNER, None, None), (0, 0, INDICES, None, None)]),
        _on_canvas(PALETTE[_CORNER], 3, 4),
    ),
    "a first frame in a corner, partly transparent": (
        gif([(3, 4, _CORNER, 5, None)]),
        _on_canvas(_TRANSPARENT[:10, :12], 3, 4),
    ),
    "grey": (gif([(0, 0, INDICES, None, None)], _GREYS), grey(INDICES)),
    "grey, one transparent": (
        gif([(0, 0, INDICES, 5, None)], _GREYS),
        grey(np.where(INDICES == 5, 255, INDICES)),
    ),
}

_BGR, _BGRA = RGB[..., ::-1], np.dstack([RGB[..., ::-1], ALPHA])
_MASKS = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
_5, _6 = (RGB >> 3).astype("<u2"), (RGB >> 2).astype("<u2")
_555 = np.ascontiguousarray(_5[..., 0] << 10 | _5[..., 1] << 5 | _5[..., 2]).view(np.uint8)
_565 = np.ascontiguousarray(_5[..., 0] << 11 | _6[..., 1] << 5 | _5[..., 2]).view(np.uint8)
_OF_565 = np.stack([_5[..., 0] * 255 // 31, _6[..., 1] * 255 // 63, _5[..., 2] * 255 // 31], -1)


def _entries(palette):
    return np.pad(palette[:, ::-1], ((0, 0), (0, 1))).tobytes()


BMP = {
    "RGB": (bmp(_BGR, 24), RGB),
    "RGB from the top": (bmp(_BGR, 24, topdown=True), RGB),
    "32 bits, the fourth byte unused": (bmp(_BGRA, 32), RGB),
    "32 bits, no alpha among its masks": (bmp(_BGRA, 32, 3, masks=_MASKS[:12], header=56), RGB),
    "alpha": (bmp(_BGRA, 32, 3, masks=_MASKS, header=108), on_white(RGB, ALPHA)),
    "16 bits as 5, 5 and 5": (bmp(_555, 16), _5 * 255 // 31),
    "16 bits as 5, 6 and 5": (
        bmp(_565, 16, 3, masks=struct.pack("<4I", 0xF800, 0x7E0, 0x1F, 0), header=56),
        _OF_565,
    ),
    "palette": (bmp(INDICES, 8, palette=_entries(PALETTE)), PALETTE[INDICES]),
    **{
        f"palette of {bits} bits": (
            bmp(
                packed((ROWS + COLUMNS) % 2**bits, bits), bits, palette=_entries(PALETTE[: 2**bits])
            ),
            PALETTE[(ROWS + COLUMNS) % 2**bits],
        )
        for bits in (1, 4)
    },
}


def _webp(pixels, **options):
    return small_data.encoded(pixels, "WEBP", lossless=True, exact=True, **options)


WEBP = {
    "RGB": (_webp(RGB), RGB),
    "alpha": (_webp(RGBA), on_white(RGB, ALPHA)),
    "animated": (_webp(RGB, save_all=True, append_images=[Image.fromarray(255 - RGB)]), RGB),
    "animated, with alpha": (
        _webp(RGBA, save_all=True, append_images=[Image.fromarray(255 - RGBA)]),
        on_white(RGB, ALPHA),
    ),
}
REFUSED = {
    "GIF, cut off": (GIF["palette"][0][:-100], "not a whole GIF image"),
    "GIF without a frame": (gif([]), "image that can be read"),
    "BMP, cut off": (BMP["RGB"][0][:-100], "not a whole BMP image"),
    "BMP of 64 bits": (bmp(np.zeros([24, 31 * 8]), 64), "BMP"),
    "BMP, run lengths, cut off": (
        bmp(np.zeros([24, 4]), 8, 1, palette=_entries(PALETTE))[:-60],
        "not a whole BMP image",
    ),
    "WEBP, cut off": (_webp(RGB)[:-5], "WEBP|image that can"),
    "WEBP, its pixels cut off": (
        small_data.encoded(small_data.pixels(64, 64), "WEBP")[:-60],
        "WEBP|image that can",
    ),
    "a picture of another kind": (small_data.encoded(RGB, "PPM"), "no JPEG, PNG, GIF, BMP, WEBP"),
    "text": (b"no image at all", "no JPEG, PNG, GIF, BMP, WEBP or TIFF image that can be read"),
    "nothing": (b"", "the image is empty, no bytes"),
}
