"""Image files of every kind, and the pixels that they hold, known from what they were made of.

Files are put together by hand where Pillow writes no such kind, so that no decoder is trusted.
"""

import struct
import zlib

import numpy as np
import small_data
from PIL import Image

HEIGHT, WIDTH = 24, 31
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
RGB = np.stack([ROWS * 10, COLUMNS * 8, (ROWS + COLUMNS) * 4], -1).astype(np.uint8)
ALPHA = (ROWS * COLUMNS % 256).astype(np.uint8)
RGBA = np.dstack([RGB, ALPHA])
DEEP = (ROWS * 2000 + COLUMNS * 333).astype(np.uint16)
DEEP_RGB = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], -1)
PALETTE = np.random.RandomState(1).randint(0, 256, (256, 3)).astype(np.uint8)
INDICES = ((ROWS * 7 + COLUMNS * 3) % 250).astype(np.uint8)


def grey(levels):
    """Three equal channels."""
    return np.repeat(np.asarray(levels, np.uint8)[..., None], 3, -1)


def on_white(colour, alpha):
    """What is seen of a colour before white, rounded."""
    share = np.asarray(alpha, float)[..., None] / 255
    return np.floor(colour * share + 255 * (1 - share) + 0.5).astype(np.uint8)


def packed(levels, bits):
    """Rows of pixels below 8 bits, each row in whole bytes; uint8 [height, bytes]."""
    every = np.unpackbits(np.asarray(levels, np.uint8)[..., None], -1)[..., 8 - bits :]
    return np.packbits(every.reshape(len(levels), -1), axis=-1)


def png(data, depth, colour_type, chunks=()):
    """A PNG of rows of bytes, with further chunks (name, content)."""

    def chunk(name, content):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    rows = np.asarray(data).reshape(HEIGHT, -1)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(_filtered(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def _filtered(rows):
    return b"".join(b"\0" + np.ascontiguousarray(row).tobytes() for row in rows)


def tiff(data, bits, photometric, channels, order="<", tags=None, planes=False):
    """An uncompressed TIFF (unless its tags say otherwise) of one strip a plane."""
    strips = channels if planes else 1
    entries = {
        256: [WIDTH],
        257: [HEIGHT],
        258: [bits] * channels,
        259: [1],
        262: [photometric],
        273: [0] * strips,
        277: [channels],
        278: [HEIGHT],
        279: [len(data) // strips] * strips,
        284: [2 if planes else 1],
        **(tags or {}),
    }
    begin = 8 + 2 + 12 * len(entries) + 4  # where values begin that do not fit their entry
    longer = sum(4 * len(values) for values in entries.values() if len(values) > 1)
    entries[273] = [begin + longer + i * entries[279][0] for i in range(strips)]
    directory, apart = struct.pack(order + "H", len(entries)), b""
    for tag, values in sorted(entries.items()):
        content = struct.pack(f"{order}{len(values)}I", *values)  # all are LONG
        directory += struct.pack(order + "HHI", tag, 4, len(values))
        if len(values) > 1:
            directory += struct.pack(order + "I", begin + len(apart))
            apart += content
        else:
            directory += content
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(order + "I", 8) + directory + bytes(4) + apart + data


def gif(frames, palette=PALETTE, size=(WIDTH, HEIGHT)):
    """A GIF of frames (left, top, indices, transparent index or None, own palette or None)."""
    data = b"GIF89a" + struct.pack("<HHBBB", *size, 0x87 | 0x70, 0, 0) + palette.tobytes()
    for left, top, indices, transparent, own in frames:
        flags = 0 if transparent is None else 1
        data += b"\x21\xf9\x04" + bytes([flags, 10, 0, transparent or 0, 0])
        data += b"\x2c" + struct.pack("<HHHH", left, top, *indices.shape[::-1])
        data += (b"\0" if own is None else b"\x87" + own.tobytes()) + _lzw(indices.ravel())
    return data + b"\x3b"


def _lzw(indices):
    """Codes of 9 bits alone: the table is cleared before it would need more."""
    codes = []
    for start in range(0, len(indices), 250):
        codes += [256, *indices[start : start + 250].tolist()]
    bits = np.unpackbits(
        np.array([*codes, 257], "<u2").view(np.uint8).reshape(-1, 2), 1, None, "little"
    )
    content = np.packbits(bits[:, :9].ravel(), bitorder="little").tobytes()
    blocks = [content[i : i + 255] for i in range(0, len(content), 255)]
    return b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def bmp(rows, bits, compression=0, palette=b"", masks=b"", header=40, topdown=False):
    """A BMP of rows of bytes, given from the top."""
    rows = np.asarray(rows, np.uint8).reshape(HEIGHT, -1)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    data = (rows if topdown else rows[::-1]).tobytes()
    height = -HEIGHT if topdown else HEIGHT
    info = struct.pack(
        "<IiiHHIIiiII", header, WIDTH, height, 1, bits, compression, len(data), 1, 1, 0, 0
    )
    info += masks.ljust(header - 40, b"\0")
    start = 14 + len(info) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start) + info + palette + data


def with_orientation(kind, orientation, pixels=RGB, **options):
    """A file of Pillow's whose EXIF says how to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return small_data.encoded(pixels, kind, exif=exif, **options)


def turned(pixels, orientation):
    """What is to be shown of stored pixels, by the words of the standard."""
    return {
        1: lambda image: image,
        2: np.fliplr,
        3: lambda image: np.rot90(image, 2),
        4: np.flipud,
        5: lambda image: np.transpose(image, (1, 0, 2)),
        6: lambda image: np.rot90(image, -1),  # clockwise
        7: lambda image: np.rot90(np.transpose(image, (1, 0, 2)), 2),
        8: np.rot90,
    }[orientation](pixels)
