"""Times, rates, sizes and radii as people read them.

duration(75)          # "1 min 15 s"
rate(0.0471)          # "0.047"
size(1_234_567_890)   # "1.2 GB"
radius(4 / 255)       # "4/255"
"""

import math

_UNITS = (("days", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration(seconds: float) -> str:
    """Returns a time in the two largest units that it has, seconds below ten with a decimal."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    left, parts = round(seconds), []
    for number, (name, length) in enumerate(_UNITS):
        count = left // length
        if count or parts:
            parts.append((number, f"{count} {'day' if (name, count) == ('days', 1) else name}"))
            left -= count * length
    (first, largest), *others = parts
    # Ten hours and more are not known to the minute.
    small = others[:1] if others and not others[0][1].startswith("0 ") else []
    return " ".join([largest, *(text for _, text in small)])


def rate(value: float) -> str:
    """Returns a positive number with two digits that mean something, whole from ten on."""
    if not math.isfinite(value) or value <= 0:
        return "0"
    if value >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}"


def size(num_bytes: float) -> str:
    """Returns a number of bytes in powers of a thousand, as disks are sold."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if num_bytes < 999.5 or unit == "TB":
            break
        num_bytes /= 1000
    return f"{num_bytes:.{0 if unit == 'bytes' or num_bytes >= 9.95 else 1}f} {unit}"


def large(value: float) -> str:
    """Returns a large count in powers of a thousand: 3.1 G, as in GFLOP."""
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if value < 999.5 or unit == "E":
            break
        value /= 1000
    return f"{value:.3g} {unit}".rstrip()


def radius(epsilon: float) -> str:
    """Returns a radius as one writes it after a flag: in 255ths where it is a whole number."""
    levels = epsilon * 255
    if 0 < epsilon < 1 and abs(levels - round(levels)) < 1e-4:
        return f"{round(levels)}/255"
    return f"{epsilon:g}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Returns "1 epoch", "1,200 epochs"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
