"""Writes a study down: study_NAME.csv, a line a cell, and study_NAME.md, tables over the seeds."""

import csv
import io
import os

from benchmarks.study import numbers
from benchmarks.study.spread import difference, spread
from sat_tf.run_folder import write_atomically


def write(study, name, title, cells, folder, images=()):
    """Writes both files; returns their paths.

    Args:
      study: the grids.Study.
      name: of the files, such as "study_activations".
      title: the command that makes them.
      cells: what the finished cells wrote, at least one.
      folder: where to.
      images: paths of plots to show in the Markdown, relative to `folder`.
    """
    os.makedirs(folder, exist_ok=True)
    rows = numbers.table(cells, next(iter(study.rows)))
    paths = [os.path.join(folder, f"{name}.{ending}") for ending in ("csv", "md")]
    for path, text in zip(paths, (csv_text(rows), markdown(study, title, cells, rows, images))):
        write_atomically(path, text)
    return paths


def csv_text(rows) -> str:
    """Returns the CSV: the union of all keys as columns, empty where a cell has no such number."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)),
                            restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def markdown(study, title, cells, rows, images=()) -> str:
    """Returns the report; every table says what its numbers are."""
    keys = numbers.keys_of(study.columns, cells)
    parts = [f"# {study.about}", _about(title, cells),
             _missing(study, cells), _table(keys, study, cells, rows)]
    parts += ["## Differences to the first row", _ABOUT_DIFFERENCES,
              _differences(keys, study, cells, rows)]
    for derivative, diagnostic_keys in numbers.diagnostic_keys(cells).items():
        parts += [f"## Smoothness of the loss, {_derivative(study, derivative)}",
                  _table(diagnostic_keys, study, cells, rows),
                  _differences(diagnostic_keys, study, cells, rows)]
    parts.append(_between_derivatives(study, cells, rows))
    if study.diagnostics:
        parts.append(_ABOUT_DIAGNOSTICS)
    parts += [f"![{os.path.basename(image)}]({image})" for image in images]
    return "\n\n".join(part for part in parts if part) + "\n"


# A ratio already, and what depends on whatever else the machine did.
_NOT_COMPARED = ("cost_ratio", "seconds_per_epoch", "load_average")

_ABOUT_DIFFERENCES = (
    "Row less first row, paired by seed: mean and 95 % t-interval, in the units above (points for per "
    "cent); **bold** where it excludes 0. Each interval is for one comparison: of twenty without any "
    "effect, one is expected to exclude 0.")

_ABOUT_DIAGNOSTICS = (
    "Losses: mean cross-entropy that PGD of so many steps reaches at the same epsilon, from the same "
    "start. Signs: components of the input gradient that change sign from one iterate of PGD-20 to "
    "the next, of those that have one. Lipschitz: how fast the input gradient changes within 1/255, by "
    "eight random directions; relative to its size. See `sat_tf/diagnostics.py`.")


def _derivative(study, name):
    return "exact derivative" if name == "exact" else f"derivative of {study.substitute}"


def _about(title, cells):
    one, jobs = cells[0], sorted({cell["jobs"] for cell in cells})
    timed = ("; ".join(f"{count} at a time" if count > 1 else "one at a time" for count in jobs)
             + f", {' or '.join(map(str, sorted({cell['cores'] for cell in cells})))} cores each")
    return (f"`{title}`: {one['examples']} examples, L-infinity epsilon {one['epsilon']:.4g} "
            f"({one['epsilon'] * 255:.3g}/255); mean ± sample standard deviation over n seeds. "
            f"The runs were made {timed}.")


def _missing(study, cells):
    """Names the rows without any cell, so that a table with holes does not pass for a whole one."""
    there = {cell["row"] for cell in cells}
    missing = [row for row in study.rows if row not in there]
    return f"Not there yet, or failed: {', '.join(missing)}." if missing else ""


def _by_seed(rows, label, key):
    return {row["seed"]: row.get(key) for row in rows if row["row"] == label}


def _table(keys, study, cells, rows):
    columns = [numbers.column_of(key, cells) for key in keys]
    lines = [_line(["row", "n", *(column.heading for column in columns)]),
             "|" + "---|" * (len(columns) + 2)]
    for label in study.rows:
        count = len(_by_seed(rows, label, "seed"))
        if count:
            lines.append(_line([label, str(count), *(
                show_spread(column, spread(_by_seed(rows, label, key).values()))
                for key, column in zip(keys, columns))]))
    return "\n".join(lines)


def _differences(keys, study, cells, rows):
    baseline, *others = study.rows
    keys = [key for key in keys if key not in _NOT_COMPARED]
    columns = [numbers.column_of(key, cells) for key in keys]
    lines = [_line([f"less {baseline}", "n", *(column.heading for column in columns)]),
             "|" + "---|" * (len(columns) + 2)]
    for label in others:
        found = [difference(_by_seed(rows, label, key), _by_seed(rows, baseline, key))
                 for key in keys]
        if any(found):
            lines.append(_line([label, str(max(one.n for one in found if one)), *(
                show_difference(column, one) for column, one in zip(columns, found))]))
    return "\n".join(lines) if len(lines) > 2 else ""


def _between_derivatives(study, cells, rows):
    """Compares the derivatives on the same networks, where no spread of training comes between."""
    keys = numbers.diagnostic_keys(cells)
    if "substituted" not in keys:
        return ""
    columns = [numbers.column_of(key, cells) for key in keys["exact"]]
    lines = [_line(["row", "n", *(column.heading for column in columns)]),
             "|" + "---|" * (len(columns) + 2)]
    for label in study.rows:
        found = [difference(_by_seed(rows, label, other), _by_seed(rows, label, exact))
                 for other, exact in zip(keys["substituted"], keys["exact"])]
        if any(found):
            lines.append(_line([label, str(max(one.n for one in found if one)), *(
                show_difference(column, one) for column, one in zip(columns, found))]))
    return "\n\n".join([
        f"## The same networks, derivative of {study.substitute} less the exact one",
        "Paired by network: mean and 95 % t-interval over seeds, as above.", "\n".join(lines)])


def _line(fields):
    return "| " + " | ".join(fields) + " |"


def show_spread(column, measured) -> str:
    """Returns "mean ± deviation", the mean alone for one number, or a dash for none."""
    if measured is None:
        return column.show(None)
    deviation = "" if measured.deviation is None else f" ± {column.show(measured.deviation)}"
    return column.show(measured.mean) + deviation


def show_difference(column, measured) -> str:
    """Returns "+mean [low, high]", bold where the interval excludes 0, or a dash for no pairs."""
    if measured is None:
        return column.show(None)

    def signed(value):
        return ("+" if value >= 0 else "−") + column.show(abs(value))

    if measured.half_width is None:
        return signed(measured.mean)
    low, high = (measured.mean + side * measured.half_width for side in (-1, 1))
    text = f"{signed(measured.mean)} [{signed(low)}, {signed(high)}]"
    return f"**{text}**" if measured.excludes_zero else text
