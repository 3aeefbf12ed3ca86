"""A study's plots: accuracy against robustness, robustness by epoch, robustness against cost."""

import os

import matplotlib

matplotlib.use("Agg")

import numpy as np  # noqa: E402
from matplotlib import pyplot  # noqa: E402

from benchmarks.study import numbers  # noqa: E402
from benchmarks.study.spread import spread  # noqa: E402

# Okabe and Ito's colours, which the colour-blind can tell apart; markers tell them apart in grey
# too.
COLOURS = (
    "#000000",
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7F7F7F",
    "#8C510A",
)
MARKERS = "osD^vPX<>"
SIZE, DOTS = (6.4, 4.0), 100  # inches, per inch: well below 100 kB


def write(study, name, cells, folder):
    """Writes what the cells have numbers for, as `name`_*.png; returns the paths."""
    os.makedirs(folder, exist_ok=True)
    rows = numbers.table(cells, next(iter(study.rows)))
    attack = list(cells[0]["robust_accuracy"])[-1:]  # the last is taken for the strongest
    paths = []
    if attack:
        key = ("lower_robust_accuracy/" if study.substitute else "robust_accuracy/") + attack[0]
        label = f"accuracy under {attack[0]}" + (
            ",\nthe lower of the two derivatives (%)" if study.substitute else " (%)"
        )
        paths += [
            _scatter(
                study,
                rows,
                "clean_accuracy",
                key,
                "clean accuracy (%)",
                label,
                os.path.join(folder, f"{name}_accuracy.png"),
            )
        ]
        if "cost" in study.columns and any(row["cost_ratio"] for row in rows):
            paths += [
                _scatter(
                    study,
                    rows,
                    "cost_ratio",
                    key,
                    f"processor time of an epoch ({next(iter(study.rows))} = 1)",
                    label,
                    os.path.join(folder, f"{name}_cost.png"),
                )
            ]
    return [*paths, *_epochs(study, cells, os.path.join(folder, f"{name}_epochs.png"))]


def _scatter(study, rows, x_key, y_key, x_label, y_label, path):
    figure, axes = _axes(x_label, y_label)
    ends = []
    for index, label in enumerate(study.rows):
        x, y = (
            spread(row.get(key) for row in rows if row["row"] == label) for key in (x_key, y_key)
        )
        if x is None or y is None:
            continue
        scale = 1 if x_key == "cost_ratio" else 100
        style = dict(color=COLOURS[index % 9], marker=MARKERS[index % 9], markersize=6, capsize=2)
        axes.errorbar(
            scale * x.mean,
            100 * y.mean,
            xerr=scale * (x.deviation or 0),
            yerr=100 * (y.deviation or 0),
            linestyle="none",
            elinewidth=1,
            **style,
        )
        ends.append((label, scale * x.mean, 100 * y.mean, style["color"]))
    _label(axes, ends)
    return _save(figure, path)


def _epochs(study, cells, path):
    """Mean over the seeds in a band of one deviation; on held-out examples where there are."""
    held_out = all(cell["validation_curve"] for cell in cells)
    key = "validation_curve" if held_out else "training_curve"
    if not any(cell[key] for cell in cells):
        return []
    figure, axes = _axes(
        "epoch",
        "robust accuracy, held-out examples (%)"
        if held_out
        else "accuracy under the training attack (%)",
    )
    ends = []
    for index, label in enumerate(study.rows):
        epochs, mean, deviation = band([cell[key] for cell in cells if cell["row"] == label])
        if not len(epochs):
            continue
        colour = COLOURS[index % 9]
        axes.plot(epochs, 100 * mean, color=colour, linewidth=1.3)
        axes.fill_between(
            epochs,
            100 * (mean - deviation),
            100 * (mean + deviation),
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
        ends.append((label, epochs[-1], 100 * mean[-1], colour))
    _label(axes, ends)
    return [_save(figure, path)]


def band(curves):
    """Returns arrays (epochs, mean, sample deviation) over curves [[epoch, value], ...].

    Where a curve ends early, as by patience, the epochs it lacks are over the others; the
    deviation of a single value is 0 here.
    """
    values = {}
    for curve in curves:
        for epoch, value in curve:
            values.setdefault(epoch, []).append(value)
    spreads = [spread(values[epoch]) for epoch in sorted(values)]
    return (
        np.array(sorted(values)),
        np.array([one.mean for one in spreads]),
        np.array([one.deviation or 0.0 for one in spreads]),
    )


def _axes(x_label, y_label):
    figure, axes = pyplot.subplots(figsize=SIZE, dpi=DOTS)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _label(axes, ends):
    """Writes each name right of the axes, as near to its height as others let it, with a line."""
    low, high = axes.get_ylim()
    ends = sorted(ends, key=lambda end: end[2])
    heights = spaced([(y - low) / (high - low) for _, _, y, _ in ends], gap=0.065)
    axes.set_xlim(axes.get_xlim())
    for (label, x, y, colour), height in zip(ends, heights):
        axes.annotate(
            label,
            (x, y),
            xytext=(1.04, height),
            textcoords="axes fraction",
            color=colour,
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops=dict(
                arrowstyle="-", color=colour, linewidth=0.5, alpha=0.6, shrinkA=0, shrinkB=3
            ),
        )


def spaced(heights, *, gap):
    """Returns ascending heights moved apart to at least `gap`, and centred on where they were."""
    moved = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    shift = sum(new - old for new, old in zip(moved, heights)) / max(1, len(heights))
    return [height - shift for height in moved]


def _save(figure, path):
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
    return path
