"""One page on a run: what it reached, under which attacks, and how it was made.

    write("runs/mine/report.html", **contents.of(RunFolder("runs/mine")))

The page is one file that needs no network, so it can be kept, sent and opened anywhere.  It is made
from the run's files alone, and what there is none of has no section.
"""

import base64
import os

import jinja2

from sat_tf.files import write_text
from sat_tf.reports import curves as accuracy_curves
from sat_tf.reports import numbers, plots
from sat_tf.reports.results import percent

_TEMPLATE = "page.html.jinja"


def write(path, *, config, results, metrics=(), curves=(), exhibits=None, exhibited="", notes=()):
    """Writes the page; the same arguments give the same bytes.

    Args:
      path: of the HTML file.
      config: what config.json holds, or None for a network without a run, as a SavedModel is.
      results: what results.json holds; also one written by earlier versions, which has less.
      metrics: the rows of metrics.jsonl.
      curves: the rows of curves.csv, see `reports.curves`.
      exhibits: uint8 [height, width, 3], as from `summaries.render_grid`, or None.
      exhibited: the attack that they were made by.
      notes: texts that are shown below the numbers, such as where the weights are from.
    Raises: OSError if the file cannot be written; what was there before is then as it was.
    """
    page = render(
        config=config,
        results=results,
        metrics=metrics,
        curves=curves,
        exhibits=exhibits,
        exhibited=exhibited,
        notes=notes,
    )
    # Paths need not be UTF-8, and are not worth losing the page for.
    write_text(path, page, encoding_errors="replace")


def render(*, config, results, metrics=(), curves=(), exhibits=None, exhibited="", notes=()) -> str:
    """Returns the page that `write` writes, as text."""
    title, subtitle = numbers.titles(config, results)
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            title=title,
            subtitle=subtitle,
            setting=numbers.setting(results),
            headlines=numbers.headlines(results),
            comparison=numbers.comparison(results),
            warnings=numbers.warnings(results),
            is_checked="warnings" in results,
            stopped=results.get("stopped"),
            notes=notes,
            tables=numbers.attack_tables(results),
            curves=_curve_pictures(curves, results.get("norm", "linf")),
            exhibits=None
            if exhibits is None
            else {
                "attack": exhibited,
                "source": _data_uri(exhibits),
                "width": exhibits.shape[1],
                "height": exhibits.shape[0],
            },
            training=_training_pictures(metrics),
            groups=numbers.configuration(config, results),
            versions=numbers.versions(config, results),
        )
    )


def environment() -> jinja2.Environment:
    """Returns what the pages' templates are rendered by."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters.update(percent=percent, number=numbers.number)
    return found


def _curve_pictures(rows, norm):
    """Returns each kind of curve as a picture, with the rows it was drawn from."""
    return [
        {
            **picture(panel, kind),
            "kind": kind,
            "rows": sorted(
                (row for row in rows if row["curve"] == kind),
                key=lambda row: (row["attack"], row["x"]),
            ),
        }
        for kind, panel in accuracy_curves.panels(rows, norm=norm).items()
    ]


def _training_pictures(metrics):
    return [picture(panel, "epoch") for panel in training_panels(metrics)]


def training_panels(metrics) -> list:
    """Returns the charts of loss and accuracies over the epochs, as plots.Panels.

    A value that was written fewer than twice has no line, and a chart without lines is left out.
    Of the evaluations, which may be of one end or two, only a series of three or more is drawn.
    """

    def line(name, kind, key, least=2):
        points = {
            row["epoch"]: value
            for row in metrics
            if row.get("kind") == kind
            for value in [_value(row, key)]
            if value is not None
        }
        return [plots.Line(name, *zip(*sorted(points.items())))] if len(points) >= least else []

    accuracies = [
        *line("training, clean", "train", ("clean_accuracy",)),
        *line("training, attacked", "train", ("adversarial_accuracy",)),
    ]
    for kind, name, least in (("validation", "held out", 2), ("eval", "evaluation", 3)):
        accuracies += line(f"{name}, clean", kind, ("clean_accuracy",), least)
        for attack in dict.fromkeys(
            attack
            for row in metrics
            if row.get("kind") == kind
            for attack in row.get("robust_accuracy", ())
        ):
            accuracies += line(f"{name}, {attack}", kind, ("robust_accuracy", attack), least)
    charts = [
        plots.Panel("Training loss", "epoch", line("loss", "train", ("loss",)), whole_x=True),
        plots.Panel("Accuracy during training", "epoch", accuracies, percent=True, whole_x=True),
    ]
    return [chart for chart in charts if chart.lines]


def _value(row, path):
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row


def picture(panel, x_name) -> dict:
    """Returns a chart for both colour schemes, and in words."""
    untitled = panel._replace(title="")  # the page says it
    light, dark = (plots.draw([untitled], theme=theme) for theme in (plots.LIGHT, plots.DARK))
    return {
        "title": panel.title,
        "alt": _in_words(panel, x_name),
        "light": _data_uri(light),
        "dark": _data_uri(dark),
        "width": light.shape[1] // 2,
        "height": light.shape[0] // 2,
    }


def _in_words(panel, x_name):
    """Returns where each line of a chart begins and ends, for those who cannot see it."""
    show = percent if panel.percent else numbers.number
    return (
        "Line chart. "
        + "; ".join(
            f"{line.name}: {show(line.y[0])} at {x_name} {numbers.number(line.x[0])}, "
            f"{show(line.y[-1])} at {numbers.number(line.x[-1])}"
            for line in panel.lines
        )
        + "."
    )


def _data_uri(picture):
    return "data:image/png;base64," + base64.b64encode(plots.png_bytes(picture)).decode("ascii")
