"""The letters of our pictures: those of a font that matplotlib brings, the same on every machine.

legend = drawable("日本/lr=0.1")             # what the font lacks is spelled: \\u65e5\\u672c
name = shortened(3, class_names)            # a class's name, or its index
"""

import functools
import os


@functools.cache
def font_file() -> str:
    """Returns the path of the font, which has the marks that other fonts often lack."""
    import matplotlib

    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@functools.cache
def _letters():
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(font_file()).get_charmap()))


def drawable(text: str) -> str:
    """Returns the text with each character that the font has no letter for spelled."""
    return "".join(
        letter if letter in _letters() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def shortened(index, class_names, length=18):
    """Returns a class's name, cut to `length` letters.

    Its index where it has none, or one that cannot be drawn: of one cut to the first spelled
    letters nothing would be left.
    """
    name = str(class_names[index]) if index < len(class_names) else str(index)
    if drawable(name) != name:
        return str(index)
    return name if len(name) <= length else name[: length - 1] + "…"
