"""Several runs on one page: a table, clean against robust accuracy, curves over each other.

python -m sat_tf.reports.compare runs/relu runs/swish --output=compare.html
"""

import argparse
import json
import os
import sys
from typing import NamedTuple

from sat_tf.errors import UserError, few
from sat_tf.files import write_text
from sat_tf.reports import curves, page, plots
from sat_tf.reports.numbers import setting_text
from sat_tf.reports.results import epsilon_text

_WORST = "worst case"
# What has to be the same for accuracies to compare, as results.json has it.
_ALIKE = ("dataset", "examples", "norm", "epsilon", "robust_if", "step_size", "autoattack_version")
# Settings that differ with the folder alone, or that only say what is measured.
_NOT_SHOWN = ("evaluation", "plugin", "recording", "saving", "data_set", "versions", "git_commit")


class Compared(NamedTuple):
    """What the files of one run's folder say of it; `name` is that on the page."""

    name: str
    config: dict
    results: dict
    metrics: list
    curves: list

    @property
    def accuracies(self) -> dict:
        """{attack: accuracy}, clean first and the worst case last."""
        results = self.results
        found = {"clean": results["clean_accuracy"], **results["robust_accuracy"]}
        if results.get("worst_case_accuracy") is not None and results["robust_accuracy"]:
            found[_WORST] = results["worst_case_accuracy"]
        return found

    @property
    def robust(self) -> float | None:
        """The lowest accuracy under attack, None where there was none."""
        attacked = {name: value for name, value in self.accuracies.items() if name != "clean"}
        return min(attacked.values(), default=None)


def read(folders) -> list[Compared]:
    """Returns the runs in folders.

    Raises: UserError for fewer than two, one that is given twice, and one without results.
    """
    paths = [os.path.abspath(folder) for folder in folders]
    if len(paths) < 2:
        raise UserError("compare: give the folders of two runs or more")
    for path, folder in zip(paths, folders):
        if paths.count(path) > 1:
            raise UserError(f"compare: {folder} is given twice; leave one out")
    return [_read(folder, name) for folder, name in zip(folders, _names(paths))]


def _names(paths):
    """Returns the shortest ends of the paths that tell them from each other."""
    for length in range(1, max(path.count(os.sep) for path in paths) + 1):
        names = ["/".join(path.split(os.sep)[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return paths


def _read(folder, name):
    def file(of, missing):
        path = os.path.join(folder, of)
        if missing is not None and not os.path.exists(path):
            return missing
        try:
            with open(path, encoding="utf-8") as opened:
                if of.endswith(".jsonl"):
                    return [json.loads(line) for line in opened if line.endswith("\n")]
                return json.load(opened)
        except (OSError, ValueError) as error:
            raise UserError(
                f"compare: {folder}: no results to read there ({of}: {error}); give the folder of "
                "a run that was measured, as by --mode=eval"
            ) from error

    path = os.path.join(folder, "curves.csv")
    return Compared(
        name,
        file("config.json", {}),
        file("results.json", None),
        file("metrics.jsonl", []),
        curves.read_csv(path) if os.path.exists(path) else [],
    )


def render(runs: list[Compared]) -> str:
    """Returns the page, as text; the same runs give the same page."""
    settings = _differing([_flat(run.config) for run in runs])
    attacks = list(dict.fromkeys(name for run in runs for name in run.accuracies))
    attacks.sort(key=lambda name: (name != "clean", name == _WORST))
    charts = [
        ("Clean and robust accuracy", [_scatter(runs)]),
        ("Accuracy against the attack's strength", _curves(runs)),
        ("Training", _training(runs)),
    ]
    return (
        page.environment()
        .get_template("compare.html.jinja")
        .render(
            title=f"{len(runs)} runs",
            subtitle=epsilon_text(runs[0].results),
            differences=_not_alike(runs),
            settings=settings,
            attacks=attacks,
            runs=[
                {
                    "name": run.name,
                    "settings": [setting_text(_flat(run.config).get(name)) for name in settings],
                    "accuracies": [run.accuracies.get(name) for name in attacks],
                }
                for run in runs
            ],
            charts=[
                (title, [page.picture(panel, "x") for panel in panels if panel.lines])
                for title, panels in charts
                if any(panel.lines for panel in panels)
            ],
        )
    )


def _flat(config):
    """Returns {setting: value} of what a run was made with."""
    found = {}
    for part, values in config.items():
        if part in _NOT_SHOWN:
            continue
        for name, value in values.items() if isinstance(values, dict) else [(part, values)]:
            found[f"{part} {name}" if name == "name" else name] = value
    return found


def _differing(settings):
    names = dict.fromkeys(name for one in settings for name in one)
    return [
        name for name in names if len({json.dumps(one.get(name)) for one in settings if one}) > 1
    ]


def _not_alike(runs):
    """Returns a sentence for each thing in which the evaluations differ."""
    found = []
    for name in _ALIKE:
        by_value = {}
        for run in runs:
            by_value.setdefault(setting_text(run.results.get(name)), []).append(run.name)
        if len(by_value) > 1:
            texts = [f"{value} in {few(names)}" for value, names in by_value.items()]
            found.append(f"{name.replace('_', ' ')}: {'; '.join(texts)}")
    attacks = {frozenset(run.accuracies) for run in runs}
    if len(attacks) > 1:
        found.append(
            "attacks: not all runs were measured under the same ones, and the worst case "
            "is that of each run's own"
        )
    return found


def _scatter(runs):
    points = [
        plots.Line(run.name, [100 * run.accuracies["clean"]], [run.robust])
        for run in runs
        if run.robust is not None
    ]
    return plots.Panel("Robust against clean accuracy", "clean accuracy, %", points, percent=True)


def _curves(runs):
    """Returns a chart for each kind of curve, a line for each run and attack."""
    panels = {}
    for run in runs:
        for kind, panel in curves.panels(run.curves, norm=run.results.get("norm", "linf")).items():
            named = [
                line._replace(name=f"{run.name}, {line.name}")
                for line in panel.lines
                if not line.reference
            ]
            if kind in panels:
                named = [*panels[kind].lines, *named]
            panels[kind] = panel._replace(lines=named)
    return list(panels.values())


def _training(runs):
    """Returns the charts of training, each line of every run over those of the others."""
    charts = {}
    for run in runs:
        for panel in page.training_panels(run.metrics):
            for line in panel.lines:
                title = panel.title if len(panel.lines) == 1 else f"Accuracy: {line.name}"
                known = charts.get(title, panel._replace(title=title, lines=[]))
                named = line._replace(name=run.name)
                charts[title] = known._replace(lines=[*known.lines, named])
    return list(charts.values())


def main(argv=None) -> int:
    """Writes the page that the arguments ask for; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sat_tf.reports.compare", description="Several runs on one page."
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folder of a run that was measured")
    parser.add_argument("--output", default="compare.html", help="the page (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        text = render(read(arguments.runs))
        try:
            write_text(arguments.output, text, encoding_errors="replace")
        except OSError as error:
            raise UserError(
                f"--output={arguments.output}: cannot be written: {error.strerror}; name another "
                "file"
            ) from error
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
