"""Every kind of PNG: {name: (its bytes, its pixels)}."""

import struct

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
    png,
)
from PIL import Image

PNG = {}
_PLTE = (b"PLTE", PALETTE.tobytes())
_GREY_ALPHA = RGBA[..., 2:]


def _transparent(*values):
    return b"tRNS", struct.pack(f">{len(values)}H", *map(int, values))


def _big(levels):
    return np.ascontiguousarray(levels.astype(">u2")).view(np.uint8)


for _bits in (1, 2, 4):
    _indices, _step = (ROWS + COLUMNS) % 2**_bits, 255 // (2**_bits - 1)
    _rows, _plte = packed(_indices, _bits), (b"PLTE", PALETTE[: 2**_bits].tobytes())
    _first_half = np.where(_indices == 0, 128, 255)
    PNG |= {
        f"grey of {_bits} bits": (png(_rows, _bits, 0), grey(_indices * _step)),
        f"grey of {_bits} bits, one transparent": (
            png(_rows, _bits, 0, [_transparent(1)]),
            grey(np.where(_indices == 1, 255, _indices * _step)),
        ),
        f"palette of {_bits} bits": (png(_rows, _bits, 3, [_plte]), PALETTE[_indices]),
        f"palette of {_bits} bits, half transparent": (
            png(_rows, _bits, 3, [_plte, (b"tRNS", b"\x80")]),
            on_white(PALETTE[_indices], _first_half),
        ),
    }
PNG |= {
    "RGB": (png(RGB, 8, 2), RGB),
    "RGBA": (png(RGBA, 8, 6), on_white(RGB, ALPHA)),
    "RGBA with a background": (png(RGBA, 8, 6, [(b"bKGD", bytes(6))]), on_white(RGB, ALPHA)),
    "grey": (png(RGB[..., 0], 8, 0), grey(RGB[..., 0])),
    "grey and alpha": (png(_GREY_ALPHA, 8, 4), on_white(grey(RGB[..., 2]), ALPHA)),
    "palette": (png(INDICES, 8, 3, [_PLTE]), PALETTE[INDICES]),
    "palette, some half transparent": (
        png(INDICES, 8, 3, [_PLTE, (b"tRNS", bytes([0, 128]))]),
        on_white(PALETTE[INDICES], np.select([INDICES == 0, INDICES == 1], [0, 128], 255)),
    ),
    "grey, one transparent": (
        png(RGB[..., 0], 8, 0, [_transparent(10)]),
        grey(np.where(RGB[..., 0] == 10, 255, RGB[..., 0])),
    ),
    "RGB, one transparent": (
        png(RGB, 8, 2, [_transparent(*RGB[3, 4])]),
        np.where((RGB == RGB[3, 4]).all(-1, keepdims=True), 255, RGB),
    ),
    "grey of 16 bits": (png(_big(DEEP), 16, 0), grey(DEEP >> 8)),
    "grey of 16 bits, one transparent": (
        png(_big(DEEP), 16, 0, [_transparent(DEEP[3, 4])]),
        grey(np.where(DEEP == DEEP[3, 4], 255, DEEP >> 8)),
    ),
    "RGB of 16 bits": (png(_big(DEEP_RGB), 16, 2), DEEP_RGB >> 8),
    "RGB of 16 bits, one transparent": (
        png(_big(DEEP_RGB), 16, 2, [_transparent(*DEEP_RGB[3, 4])]),
        np.where((DEEP_RGB == DEEP_RGB[3, 4]).all(-1, keepdims=True), 255, DEEP_RGB >> 8),
    ),
    "RGBA of 16 bits": (
        png(_big(np.dstack([DEEP_RGB, DEEP])), 16, 6),
        on_white(DEEP_RGB >> 8, DEEP >> 8),
    ),
    "grey and alpha of 16 bits": (
        png(_big(np.dstack([DEEP, DEEP[::-1]])), 16, 4),
        on_white(grey(DEEP >> 8), DEEP[::-1] >> 8),
    ),
    "gamma is not applied": (png(RGB, 8, 2, [(b"gAMA", struct.pack(">I", 100000))]), RGB),
    "animated": (
        small_data.encoded(RGB, "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)]),
        RGB,
    ),
}
