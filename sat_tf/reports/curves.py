"""Robust accuracy against the attack's strength: radius, number of steps, number of restarts.

    write_csv("runs/mine/curves.csv", rows)
    rows = read_csv("runs/mine/curves.csv")
    picture = plot(rows)                            # uint8 [height, width, 3]

A row is one measurement, a dictionary:
  curve: what was varied, one of CURVES.
  attack: name of the attack, as in `--eval_attacks`.
  x: the value it was given: the radius in pixel units, or a whole number of steps or restarts.
  robust_accuracy, clean_accuracy: fractions of the examples.
  examples: number of examples.
"""

import csv
import io
import os

from sat_tf.errors import look_up
from sat_tf.files import replacing
from sat_tf.reports import plots

CURVES = {"epsilon": float, "steps": int, "restarts": int}  # kind -> type of its x
_COLUMNS = {
    "curve": str,
    "attack": str,
    "x": None,
    "robust_accuracy": float,
    "clean_accuracy": float,
    "examples": int,
}  # the type of x is the curve's
_TITLES = {
    "epsilon": "Accuracy against the radius of the attack",
    "steps": "Accuracy against the number of steps",
    "restarts": "Accuracy against the number of restarts",
}


def write_csv(path, rows):
    """Writes rows as CSV, in the order given; the numbers are written exactly.

    Raises:
      ValueError: for a row with other keys, of an unknown curve, or with a part of a step.
      OSError: if the file cannot be written; what was there before is then as it was.
    """
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if set(row) != set(_COLUMNS):
            raise ValueError(f"a row has {', '.join(row)}; it must have {', '.join(_COLUMNS)}")
        typed = _typed(row)
        if typed["x"] != row["x"]:
            raise ValueError(f"{row['x']} {row['curve']} are not a whole number")
        writer.writerow(typed)
    with replacing(path) as file:
        file.write(table.getvalue().encode())


def read_csv(path) -> list:
    """Returns the rows that `write_csv` wrote.

    Raises: ValueError, naming the file and the line, for what is not such a file; OSError if there
      is none.
    """
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != list(_COLUMNS):
            raise ValueError(f"{os.fspath(path)}: its columns are not {','.join(_COLUMNS)}")
        rows = []
        for cells in reader:
            try:
                rows.append(_typed(cells))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{os.fspath(path)}, line {reader.line_num}: {error}") from error
    return rows


def _typed(row):
    kinds = {**_COLUMNS, "x": look_up(CURVES, "curve", row["curve"])}
    return {name: kind(row[name]) for name, kind in kinds.items()}


def panels(rows, *, norm="linf") -> dict:
    """Returns the chart of each kind of curve that there are rows of: {kind: plots.Panel}.

    Args:
      rows: as in the module's docstring.
      norm: "linf" or "l2", of the radius; only that of "linf" is also given in 255ths.
    """
    return {
        kind: _panel(kind, of_kind, norm)
        for kind, of_kind in (
            (kind, [row for row in rows if row["curve"] == kind]) for kind in CURVES
        )
        if of_kind
    }


def _panel(kind, rows, norm):
    lines = []
    for attack in dict.fromkeys(row["attack"] for row in rows):
        points = sorted(
            (row["x"], row["robust_accuracy"]) for row in rows if row["attack"] == attack
        )
        lines.append(plots.Line(attack, *zip(*points)))
    clean = sorted({row["x"]: row["clean_accuracy"] for row in rows}.items())
    lines.append(plots.Line("clean", *zip(*clean), reference=True))
    if kind == "epsilon":
        return plots.Panel(
            _TITLES[kind],
            f"epsilon, {norm.capitalize()}, pixels in [0, 1]",
            lines,
            percent=True,
            in_255ths=norm == "linf",
        )
    values = [x for x, _ in clean]
    wide = values[0] > 0 and values[-1] / values[0] > 10
    return plots.Panel(
        _TITLES[kind], kind, lines, percent=True, ticks=values, scale="log" if wide else "linear"
    )


def plot(rows, *, norm="linf"):
    """Draws the curves, one chart for each kind that there are rows of.

    Args: see `panels`; at least one row.
    Returns: uint8 [height, width, 3].
    """
    return plots.draw(list(panels(rows, norm=norm).values()))


def write_plot(path, rows, *, norm="linf"):
    """Writes `plot` as a PNG file; OSError if that cannot be done."""
    with replacing(path) as file:
        file.write(plots.png_bytes(plot(rows, norm=norm)))
