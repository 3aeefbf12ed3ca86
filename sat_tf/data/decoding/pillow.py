"""GIF, BMP, WEBP and TIFF by Pillow, which decodes some kinds wrongly: those are mended or refused.

pixels = decode(open("scan.tif", "rb").read())        # uint8 [h, w, 3]
"""

import io
import warnings

import numpy as np
from PIL import Image

from sat_tf.data.decoding import orientation
from sat_tf.data.decoding.transparency import WHITE, on_white

# Pillow warns of damage that is either refused here or says nothing of the pixels.
warnings.filterwarnings("ignore", module="PIL")
CONTAINERS = ("GIF", "BMP", "WEBP", "TIFF")
_OPAQUE = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
_WITH_ALPHA = ("LA", "PA", "RGBA")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
# TIFF's tags, and what their values mean.
_BITS, _PHOTOMETRIC, _PLANAR, _COLOUR_MAP, _SAMPLE_FORMAT = 258, 262, 284, 320, 339
_WHITE_IS_ZERO, _YCBCR = 0, 6
_IN_PLANES = 2
_UNSIGNED = (1, 4)  # 4 is "not said"


def decode(image_bytes: bytes) -> np.ndarray:
    """Returns uint8 [height, width, 3] of a file of one of CONTAINERS.

    Raises: ValueError, in words for whoever has the file, where it is none, is damaged, or of a
      kind that is not decoded to the right pixels.
    """
    try:
        image = Image.open(io.BytesIO(image_bytes), formats=CONTAINERS)
    except Image.UnidentifiedImageError:
        raise ValueError(
            f"no JPEG, PNG, {', '.join(CONTAINERS[:-1])} or {CONTAINERS[-1]} image that can be read"
        ) from None
    except Exception as error:  # a decoder on damaged data, which may fail in any way
        raise ValueError(f"an image that cannot be opened ({error})") from error
    with image:
        kind, problem = image.format, _problem(image)
        if problem:
            raise ValueError(f"a {kind} image with {problem}: store it as 8 bits of RGB or grey")
        try:
            return np.ascontiguousarray(_upright(_pixels(image), image))
        except Exception as error:
            raise ValueError(f"not a whole {kind} image ({error})") from error


def _problem(image):
    """Returns what the pixels are that would come out wrong, or None."""
    problem = _tiff_problem(image) if image.format == "TIFF" else None
    if problem is None and image.mode not in (*_OPAQUE, *_WITH_ALPHA, *_PREMULTIPLIED, *_DEEP):
        return f"pixels of mode {image.mode}"
    return problem


def _tiff_problem(image):
    tag = image.tag_v2.get
    bits, raw = max(tag(_BITS, (1,))), image.info.get("compression") == "raw"
    if not {*tag(_SAMPLE_FORMAT, (1,))} <= {*_UNSIGNED}:
        return "pixels that are signed or no whole numbers, whose range is not known"
    if bits > 16:
        return f"{bits} bits a channel, whose range is not known"
    if raw and bits == 16 and tag(_PLANAR) == _IN_PLANES:
        return "16 bits in planes"
    if raw and tag(_PHOTOMETRIC) == _YCBCR:
        return "YCbCr pixels that are not compressed"
    if 0 < max(tag(_COLOUR_MAP, (0,))) < 256:
        return "a palette of 8 bits, where 16 are the rule"
    return None


def _pixels(image):
    """Returns uint8 [height, width, 3] as stored."""
    covered = image.tile[0][1] if image.format == "GIF" else None
    image.load()
    if image.mode in _DEEP:
        return _of_deep(image)
    plain = image.convert(_PREMULTIPLIED.get(image.mode, image.mode))
    if plain.mode in _WITH_ALPHA or "transparency" in plain.info:
        pixels = on_white(np.asarray(plain.convert("RGBA"), np.int32)).astype(np.uint8)
    else:
        pixels = np.asarray(plain.convert("RGB"))
    return pixels if covered is None else _on_canvas(pixels, covered)


def _of_deep(image):
    """Returns the 8 high ones of up to 16 bits of grey, in three channels."""
    bits, photometric = 16, None
    if image.format == "TIFF":
        bits, photometric = image.tag_v2[_BITS][0], image.tag_v2.get(_PHOTOMETRIC)
    levels = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    levels = 255 - levels if photometric == _WHITE_IS_ZERO else levels
    return np.repeat(levels[..., np.newaxis], 3, axis=-1)


def _on_canvas(pixels, covered):
    """Returns a first frame on WHITE, where it does not cover all of an animation."""
    left, top, right, bottom = covered
    canvas = np.full_like(pixels, WHITE)
    canvas[top:bottom, left:right] = pixels[top:bottom, left:right]
    return canvas


def _upright(pixels, image):
    """Turns pixels by the EXIF of an image that is loaded; a TIFF has been turned by that."""
    try:
        turned = image.getexif().get(orientation.TAG, 1)
    except Exception:  # damaged EXIF says nothing of the pixels, which are whole
        turned = 1
    return orientation.upright_array(pixels, turned) if turned in range(1, 9) else pixels
