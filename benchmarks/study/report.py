"""Writes a study down: study_NAME.csv, a line a cell, and study_NAME.md, tables over the seeds."""

import collections
import csv
import io
import math
import os

from benchmarks.study import numbers
from benchmarks.study.spread import difference, show_difference, show_spread, spread
from sat_tf.files import write_text


def write(study, name, title, cells, folder, images=()):
    """Writes both files; returns their paths.

    Args:
      study: the grids.Study.
      name: of the files, such as "study_activations".
      title: the command that makes them, in full.
      cells: what the finished cells wrote, at least one.
      folder: where to.
      images: paths of plots to show in the Markdown, relative to `folder`.
    """
    os.makedirs(folder, exist_ok=True)
    rows = numbers.table(cells, next(iter(study.rows)))
    paths = [os.path.join(folder, f"{name}.{ending}") for ending in ("csv", "md")]
    for path, text in zip(paths, (csv_text(rows), markdown(study, title, cells, rows, images))):
        write_text(path, text)
    return paths


def csv_text(rows) -> str:
    """Returns the CSV: the union of all keys as columns, empty where a cell has no such number."""
    file = io.StringIO()
    writer = csv.DictWriter(
        file,
        list(dict.fromkeys(key for row in rows for key in row)),
        restval="",
        lineterminator="\n",
    )
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def markdown(study, title, cells, rows, images=()) -> str:
    """Returns the report; every table says what its numbers are."""
    keys = numbers.keys_of(study.columns, cells)
    parts = [
        f"# {study.about}",
        _about(study, title, cells),
        _made_with(cells),
        _stopped(cells),
        _missing(study, cells),
        _table(keys, study, cells, rows),
    ]
    parts += [
        "## Differences to the first row",
        _about_differences(cells),
        _differences(keys, study, cells, rows),
    ]
    for derivative, diagnostic_keys in numbers.diagnostic_keys(cells).items():
        parts += [
            f"## Smoothness of the loss, {_derivative(study, derivative)}",
            _table(diagnostic_keys, study, cells, rows),
            _differences(diagnostic_keys, study, cells, rows),
        ]
    parts.append(_between_derivatives(study, cells, rows))
    if study.diagnostics:
        parts.append(_ABOUT_DIAGNOSTICS)
    parts += [f"![{os.path.basename(image)}]({image})" for image in images]
    return "\n\n".join(part for part in parts if part) + "\n"


# A ratio already, and what depends on whatever else the machine did.
_NOT_COMPARED = ("cost_ratio", "seconds_per_epoch", "load_average")

_ABOUT_DIAGNOSTICS = (
    "Losses: mean cross-entropy that PGD of so many steps reaches at the same epsilon, from the "
    "same "
    "start. Signs: components of the input gradient that change sign from one iterate of PGD-20 to "
    "the next, of those that have one. Lipschitz: how fast the input gradient changes within "
    "1/255, by "
    "eight random directions; relative to its size. See `sat_tf/diagnostics.py`."
)


def _derivative(study, name):
    return "exact derivative" if name == "exact" else f"derivative of {study.substitute}"


def _about(study, title, cells):
    one, cores = cells[0], sorted({cell["cores"] for cell in cells})
    timed = "; ".join(
        f"{jobs} at a time" if jobs > 1 else "one at a time"
        for jobs in sorted({cell["jobs"] for cell in cells})
    )
    return (
        f"`{title}`: {one['examples']} examples, L-infinity epsilon {one['epsilon']:.4g} "
        f"({one['epsilon'] * 255:.3g}/255); mean ± sample standard deviation over n seeds. "
        f"The runs were made {timed}, {' or '.join(map(str, cores))} core"
        f"{'' if cores == [1] else 's'} each." + (_ABOUT_COST if "cost" in study.columns else "")
    )


_ABOUT_COST = (
    " What an epoch costs is compared in processor time, of all cores: unlike the seconds it "
    "hardly "
    "depends on what else the machine does. It says nothing of work on a GPU or TPU."
)


def _made_with(cells):
    """Says which code, TensorFlow and devices the cells are of, as far as they tell."""
    parts, several = [], False
    for key, what in (
        ("git_commit", "git commit"),
        ("tensorflow", "TensorFlow"),
        ("device", "device"),
    ):
        counts = collections.Counter((cell.get(key) or "not told")[:12] for cell in cells)
        if len(counts) > 1:
            several = True
            parts.append(
                f"{what} "
                + ", ".join(
                    f"{value} ({count} of {len(cells)} cells)" for value, count in counts.items()
                )
            )
        elif "not told" not in counts:
            parts.append(f"{what} {next(iter(counts))}")
    text = f"Made with {'; '.join(parts)}." if parts else ""
    return text + (" Differences between the cells may be due to that as well." if several else "")


def _stopped(cells):
    """Names the runs that training's watch ended, and when."""
    stopped = [
        f"{cell['row']} seed {cell['seed']} at step "
        f"{cell.get('checkpoints', {}).get('last', cell)['step']} ({cell['stopped']['by']})"
        for cell in cells
        if cell.get("stopped")
    ]
    return f"Stopped early: {', '.join(stopped)}." if stopped else ""


def _missing(study, cells):
    """Names what has no cell, so that a table with holes does not pass for a whole one."""
    there, missing = {(cell["row"], cell["seed"]) for cell in cells}, []
    for row in study.rows:
        seeds = [str(seed) for seed in study.seeds if (row, seed) not in there]
        if len(seeds) == len(study.seeds):
            missing.append(row)
        elif seeds:
            missing.append(f"{row} seed {' and '.join(seeds)}")
    return f"Not there yet, or failed: {', '.join(missing)}." if missing else ""


def _about_differences(cells):
    examples = cells[0]["examples"]
    accuracies = [
        next(iter(cell["robust_accuracy"].values()), cell["clean_accuracy"]) for cell in cells
    ]
    mean = sum(accuracies) / len(accuracies)
    error = math.sqrt(mean * (1 - mean) / examples)
    return (
        "Row less first row, paired by seed: mean and 95 % t-interval, in the units above (points "
        "for "
        f"per cent), that of an accuracy widened by one example, {100 / examples:.2g} points; "
        "**bold** where it excludes 0. Each interval is for one comparison: of twenty without any "
        "effect, one is expected to exclude 0. It is over training seeds only, on one fixed test "
        "set: "
        f"a single accuracy of {100 * mean:.0f} % on {examples} examples has a binomial standard "
        f"error of {100 * error:.1f} points."
    )


def _by_seed(rows, label, key):
    return {row["seed"]: row.get(key) for row in rows if row["row"] == label}


def _table(keys, study, cells, rows):
    columns = [numbers.column_of(key, cells) for key in keys]
    lines = _head("row", columns)
    for label in study.rows:
        count = len(_by_seed(rows, label, "seed"))
        if count:
            lines.append(
                _line(
                    [
                        label,
                        str(count),
                        *(
                            show_spread(column, spread(_by_seed(rows, label, key).values()), count)
                            for key, column in zip(keys, columns)
                        ),
                    ]
                )
            )
    return "\n".join(lines)


def _differences(keys, study, cells, rows):
    baseline, *others = study.rows
    keys = [key for key in keys if key not in _NOT_COMPARED]
    columns = [numbers.column_of(key, cells) for key in keys]
    return _comparisons(
        f"less {baseline}",
        columns,
        {
            label: [(_by_seed(rows, label, key), _by_seed(rows, baseline, key)) for key in keys]
            for label in others
        },
    )


def _between_derivatives(study, cells, rows):
    """Compares the derivatives on the same networks, where no spread of training comes between."""
    keys = numbers.diagnostic_keys(cells)
    if "substituted" not in keys:
        return ""
    columns = [numbers.column_of(key, cells) for key in keys["exact"]]
    return "\n\n".join(
        [
            f"## The same networks, derivative of {study.substitute} less the exact one",
            "Paired by network: mean and 95 % t-interval over seeds, as above.",
            _comparisons(
                "row",
                columns,
                {
                    label: [
                        (_by_seed(rows, label, other), _by_seed(rows, label, exact))
                        for other, exact in zip(keys["substituted"], keys["exact"])
                    ]
                    for label in study.rows
                },
            ),
        ]
    )


def _comparisons(heading, columns, pairs):
    """Returns a table of differences, or "" where there is no pair of cells.

    Args:
      heading: of the labels.
      columns: of the numbers.
      pairs: label -> (values, others) of each column, both seed -> number or None.
    """
    lines = _head(heading, columns)
    for label, of_label in pairs.items():
        count = max(len(values.keys() & others.keys()) for values, others in of_label)
        if count:
            lines.append(
                _line(
                    [
                        label,
                        str(count),
                        *(
                            show_difference(
                                column, difference(*pair, resolution=column.resolution), count
                            )
                            for column, pair in zip(columns, of_label)
                        ),
                    ]
                )
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def _head(first, columns):
    return [
        _line([first, "n", *(column.heading for column in columns)]),
        "|" + "---|" * (len(columns) + 2),
    ]


def _line(fields):
    return "| " + " | ".join(fields) + " |"
