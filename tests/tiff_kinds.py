"""Every kind of TIFF: {name: (its bytes, its pixels)}, or why it is refused in their place."""

import zlib

import numpy as np
import small_data
from image_kinds import (
    ALPHA,
    COLUMNS,
    DEEP,
    DEEP_RGB,
    INDICES,
    PALETTE,
    RGB,
    RGBA,
    ROWS,
    grey,
    on_white,
    packed,
    tiff,
)
from PIL import Image

_DEFLATED = {259: [8]}
_WHOLE, _SIGNED, _FLOAT = ({339: [number]} for number in (1, 2, 3))
_ASSOCIATED, _UNASSOCIATED, _UNSPECIFIED = ({338: [number]} for number in (1, 2, 0))


def _colour_map(palette, factor=257):
    return {320: [int(level) * factor for level in palette.T.ravel()]}


def _premultiplied(colour, alpha):
    return np.dstack([colour * (alpha[..., None] / 255) + 0.5, alpha]).astype(np.uint8)


def _of_12_bits(levels):
    bits = np.unpackbits(levels.astype(">u2").view(np.uint8).reshape(*levels.shape, 2), axis=-1)
    return np.packbits(bits[..., 4:].reshape(len(levels), -1), axis=-1).tobytes()


TIFF = {}
for _bits in (1, 2, 4):
    _indices, _step = (ROWS + COLUMNS) % 2**_bits, 255 // (2**_bits - 1)
    _rows, _few = packed(_indices, _bits).tobytes(), PALETTE[: 2**_bits]
    TIFF |= {
        f"grey of {_bits} bits": (tiff(_rows, _bits, 1, 1), grey(_indices * _step)),
        f"grey of {_bits} bits, 0 white": (tiff(_rows, _bits, 0, 1), 255 - grey(_indices * _step)),
        f"palette of {_bits} bits": (
            tiff(_rows, _bits, 3, 1, tags=_colour_map(_few)),
            _few[_indices],
        ),
    }
for _order in "<>":
    _deep, _deep_rgb = (levels.astype(f"{_order}u2") for levels in (DEEP, DEEP_RGB))
    _deep_rgba = np.dstack([_deep_rgb, _deep[::-1]]).astype(f"{_order}u2")
    TIFF |= {
        f"{_order} grey of 16 bits": (tiff(_deep.tobytes(), 16, 1, 1, _order), grey(DEEP >> 8)),
        f"{_order} RGB of 16 bits": (tiff(_deep_rgb.tobytes(), 16, 2, 3, _order), DEEP_RGB >> 8),
        f"{_order} RGBA of 16 bits": (
            tiff(_deep_rgba.tobytes(), 16, 2, 4, _order, tags=_UNASSOCIATED),
            on_white(DEEP_RGB >> 8, DEEP[::-1] >> 8),
        ),
        f"{_order} RGB": (tiff(RGB.tobytes(), 8, 2, 3, _order), RGB),
        f"{_order} grey of 16 bits, deflated": (
            tiff(zlib.compress(_deep.tobytes()), 16, 1, 1, _order, tags=_DEFLATED),
            grey(DEEP >> 8),
        ),
    }
TIFF |= {
    "grey": (tiff(RGB[..., 1].tobytes(), 8, 1, 1), grey(RGB[..., 1])),
    "grey, 0 white": (tiff(RGB[..., 1].tobytes(), 8, 0, 1), 255 - grey(RGB[..., 1])),
    "grey of 12 bits": (tiff(_of_12_bits(DEEP >> 4), 12, 1, 1), grey(DEEP >> 8)),
    "grey of 16 bits, 0 white": (
        tiff(DEEP.astype("<u2").tobytes(), 16, 0, 1),
        255 - grey(DEEP >> 8),
    ),
    "palette": (tiff(INDICES.tobytes(), 8, 3, 1, tags=_colour_map(PALETTE)), PALETTE[INDICES]),
    "RGB in planes": (tiff(RGB.transpose(2, 0, 1).tobytes(), 8, 2, 3, planes=True), RGB),
    "alpha": (tiff(RGBA.tobytes(), 8, 2, 4, tags=_UNASSOCIATED), on_white(RGB, ALPHA)),
    "grey and alpha": (
        tiff(RGBA[..., 2:].tobytes(), 8, 1, 2, tags=_UNASSOCIATED),
        on_white(grey(RGB[..., 2]), ALPHA),
    ),
    "a fourth channel that is no alpha": (tiff(RGBA.tobytes(), 8, 2, 4, tags=_UNSPECIFIED), RGB),
    "CMYK": (
        tiff(RGBA.tobytes(), 8, 5, 4),
        np.round((255 - RGB.astype(float)) * (255 - ALPHA[..., None].astype(float)) / 255),
    ),
    **{
        f"compressed by {how}": (small_data.encoded(RGB, "TIFF", compression=how), RGB)
        for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits")
    },
    "compressed by group 4": (
        small_data.encoded(Image.fromarray(ALPHA > 99), "TIFF", compression="group4"),
        grey(np.where(ALPHA > 99, 255, 0)),
    ),
    "several pages": (
        small_data.encoded(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(255 - RGB)]),
        RGB,
    ),
}
# Undoing the product with alpha is exact to a level or so of colour * alpha, as is JPEG.
NEARLY = {
    "alpha that colours are multiplied with": (
        tiff(_premultiplied(RGB, ALPHA).tobytes(), 8, 2, 4, tags=_ASSOCIATED),
        on_white(RGB, ALPHA),
    ),
    "compressed by JPEG": (
        small_data.encoded(small_data.pixels(40, 48), "TIFF", compression="jpeg", quality=95),
        small_data.pixels(40, 48),
    ),
}
_RANGE = "whose range is not known"
REFUSED = {
    "signed": (tiff(RGB[..., 1].tobytes(), 8, 1, 1, tags=_SIGNED), _RANGE),
    "signed of 16 bits": (tiff(DEEP.tobytes(), 16, 1, 1, tags=_SIGNED), _RANGE),
    "32 bits": (tiff(DEEP.astype("<u4").tobytes(), 32, 1, 1), "32 bits a channel"),
    "fractions": (tiff((DEEP / 65535).astype("<f4").tobytes(), 32, 1, 1, tags=_FLOAT), _RANGE),
    "fractions, the other order": (
        tiff((DEEP / 65535).astype(">f4").tobytes(), 32, 1, 1, ">", tags=_FLOAT),
        _RANGE,
    ),
    "RGB in fractions": (
        tiff((DEEP_RGB / 65535).astype("<f4").tobytes(), 32, 2, 3, tags=_FLOAT),
        "image that can be read",
    ),
    "16 bits in planes": (
        tiff(DEEP_RGB.transpose(2, 0, 1).astype("<u2").tobytes(), 16, 2, 3, planes=True),
        "16 bits in planes",
    ),
    "YCbCr": (tiff(RGB.tobytes(), 8, 6, 3), "YCbCr pixels that are not compressed"),
    "Lab": (tiff(RGB.tobytes(), 8, 8, 3), "pixels of mode LAB"),
    "a palette of 8 bits": (
        tiff(INDICES.tobytes(), 8, 3, 1, tags=_colour_map(PALETTE, 1)),
        "a palette of 8 bits",
    ),
    "cut off": (tiff(RGB.tobytes(), 8, 2, 3)[:-40], "not a whole TIFF image"),
    "cut off, compressed": (small_data.encoded(RGB, "TIFF", compression="tiff_lzw")[:900], "TIFF"),
}
