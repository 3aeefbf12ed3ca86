"""Adversarial examples as files: the exact arrays, and a sheet of pictures to look at.

    save("runs/mine/adversarial.npz", images=images, adversarial=adversarial, labels=labels,
         predicted=before, adversarial_predicted=after, indices=indices, broken_by=broken_by)
    with np.load("runs/mine/adversarial.npz") as stored:
      change = stored["adversarial"] - stored["images"]
    write_contact_sheet("runs/mine/adversarial.png", images=images, adversarial=adversarial,
                        labels=labels, predicted=before, adversarial_predicted=after)

In the .npz file, all arrays are over the same N examples:
  images: float32 [N, H, W, C], what was attacked, as the network was given it.
  adversarial: float32 [N, H, W, C], what the attacks found; the image itself where nothing was.
  labels: int64 [N], the true classes.
  predicted, adversarial_predicted: int64 [N], the classes the network gives to the two.
  indices: int64 [N], the examples' places in the data set, from 0.
  broken_by: text [N], the attack that changed the prediction first; empty where none did.
No array is a pickled object, so `numpy.load` needs no `allow_pickle`.
"""

import numpy as np

from sat_tf.files import replacing
from sat_tf.reports.letters import font_file, shortened
from sat_tf.reports.plots import RIGHT, WRONG, greyed, png_bytes

MAX_PAIRS = 100
_TILE, _GAP, _LINE, _LETTERS = 96, 14, 18, 11  # pixels, and letters of a name under a tile
_INK = "#24292f"


def save(
    path, *, images, adversarial, labels, predicted, adversarial_predicted, indices, broken_by
):
    """Writes the arrays of the module's docstring, compressed, to an .npz file.

    Raises:
      ValueError: if the images are not float32, of one shape and as many as all the rest is.
      OSError: if the file cannot be written; what was there before is then as it was.
    """
    arrays = dict(images=np.asarray(images), adversarial=np.asarray(adversarial))
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{name} are {array.dtype}: they must be float32, as attacked")
    if arrays["images"].shape != arrays["adversarial"].shape:
        raise ValueError(
            f"images {arrays['images'].shape} and adversarial "
            f"{arrays['adversarial'].shape} must have one shape"
        )
    arrays.update(
        {
            name: np.asarray(values).astype(np.int64)
            for name, values in dict(
                labels=labels,
                predicted=predicted,
                adversarial_predicted=adversarial_predicted,
                indices=indices,
            ).items()
        },
        broken_by=np.array(list(broken_by), dtype=str),
    )
    for name, array in arrays.items():
        if len(array) != len(arrays["images"]):
            raise ValueError(f"{len(array)} {name} for {len(arrays['images'])} images")
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


def contact_sheet(*, images, adversarial, labels, predicted, adversarial_predicted, class_names=()):
    """Draws many pairs of a clean and an adversarial image, the first MAX_PAIRS given.

    Above a pair stands its true class, below each image the predicted one: ticked and green where
    that is right, crossed and red where it is wrong.  Where the clean images are grey, so
    are the others.

    Args:
      images, adversarial: floating [N, H, W, 1 or 3] in [0, 1], N >= 1.
      labels, predicted, adversarial_predicted: integer [N].
      class_names: names in label order, or (); a class without one is given by its index.
    Returns: uint8 [height, width, 3].
    Raises: ValueError for no images, or images of other than one or three channels.
    """
    from PIL import Image, ImageDraw

    images, adversarial = greyed(np.asarray(images), np.asarray(adversarial))
    pairs = list(
        zip(
            *(
                np.asarray(column)[:MAX_PAIRS]
                for column in (images, adversarial, labels, predicted, adversarial_predicted)
            )
        )
    )
    if not pairs:
        raise ValueError("no images to draw")
    across = min(10, int(np.ceil(np.sqrt(len(pairs)))))
    width, height = 2 * _TILE + 2 + _GAP, _LINE + _TILE + _LINE + _GAP // 2
    sheet = Image.new(
        "RGB", (across * width + _GAP, -(-len(pairs) // across) * height + _LINE + _GAP), "white"
    )
    write, font = ImageDraw.Draw(sheet).text, _font()
    for left in range(_GAP, sheet.width - _GAP, width):
        for middle, text in ((_TILE // 2, "clean"), (_TILE + 2 + _TILE // 2, "adversarial")):
            write((left + middle, _GAP), text, fill=_INK, font=font, anchor="mm")
    for place, (*two_images, truth, before, after) in enumerate(pairs):
        left, top = _GAP + place % across * width, _GAP + place // across * height + _LINE // 2
        write(
            (left, top + _LINE // 2),
            f"true {shortened(truth, class_names, 2 * _LETTERS)}",
            fill=_INK,
            font=font,
            anchor="lm",
        )
        for image, found in zip(two_images, (before, after)):
            tile = _tile(image)
            sheet.paste(
                tile, (left + (_TILE - tile.width) // 2, top + _LINE + (_TILE - tile.height) // 2)
            )
            mark, color = RIGHT if found == truth else WRONG
            write(
                (left + _TILE // 2, top + _LINE + _TILE + _LINE // 2),
                f"{shortened(found, class_names, _LETTERS)} {mark}",
                fill=color,
                font=font,
                anchor="mm",
            )
            left += _TILE + 2
    return np.asarray(sheet).copy()


def write_contact_sheet(path, **pairs):
    """Writes `contact_sheet` of the same arguments as a PNG file; OSError if it cannot."""
    sheet = png_bytes(contact_sheet(**pairs))
    with replacing(path) as file:
        file.write(sheet)


def _tile(image):
    """Returns an image as a PIL one that fits a tile: small pixels as sharp squares."""
    from PIL import Image, ImageOps

    if image.shape[-1] not in (1, 3):
        raise ValueError(f"an image of {image.shape[-1]} channels cannot be drawn: 1 or 3 can")
    pixels = np.round(255 * np.clip(np.float32(image), 0, 1)).astype(np.uint8)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    is_small = max(pixels.shape) <= _TILE
    return ImageOps.contain(
        Image.fromarray(np.ascontiguousarray(pixels)),
        (_TILE, _TILE),
        Image.Resampling.NEAREST if is_small else Image.Resampling.LANCZOS,
    )


def _font():
    from PIL import ImageFont

    return ImageFont.truetype(font_file(), 12)
