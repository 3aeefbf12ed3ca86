"""Several runs on one page."""

import json
import subprocess
import sys

import pytest
import report_samples as samples

from sat_tf.errors import UserError
from sat_tf.reports import compare, curves


def write(folder, *, results=None, curve_rows=(), **config):
    """Writes the files of a run; `config` are settings of its network."""
    folder.mkdir(parents=True)
    made_with = samples.config()
    made_with["model"].update(config)
    (folder / "config.json").write_text(json.dumps(made_with))
    (folder / "results.json").write_text(json.dumps({**samples.results(), **(results or {})}))
    rows = "".join(json.dumps(row) + "\n" for row in samples.metrics())
    (folder / "metrics.jsonl").write_text(rows)
    if curve_rows:
        curves.write_csv(folder / "curves.csv", curve_rows)
    return str(folder)


@pytest.fixture
def two(tmp_path):
    return [write(tmp_path / name, activation=name) for name in ("relu", "mish")]


def test_the_page_has_what_differs_and_all_accuracies(two, tmp_path):
    other = write(
        tmp_path / "third",
        activation="elu",
        results={"robust_accuracy": {"square": 0.125}, "worst_case_accuracy": 0.125},
    )
    page = compare.render(compare.read([*two, other]))
    for text in ("relu", "mish", "elu", "activation", "12.50 %", "worst case"):
        assert text in page
    assert ">image_size<" not in page  # the same in all
    assert "attacks: not all runs were measured under the same ones" in page
    assert '<span aria-label="none">' in page  # what the third was not measured under


def test_runs_that_were_measured_alike_are_not_said_to_differ(two):
    page = compare.render(compare.read(two))
    assert "Not measured alike" not in page
    assert "Training loss" in page and page.count("data:image/png") >= 6  # light and dark


@pytest.mark.parametrize(
    "change, said",
    [
        ({"epsilon": 0.3}, "epsilon: 0.2 in one; 0.3 in two"),
        ({"norm": "l2"}, "norm: linf in one; l2 in two"),
        ({"dataset": "cifar10"}, "dataset: "),
        ({"examples": 7}, "examples: "),
    ],
)
def test_what_was_not_measured_alike_is_said_first(change, said, tmp_path):
    alike = {"epsilon": 0.2, "norm": "linf"}
    runs = [
        write(tmp_path / "one", results=alike),
        write(tmp_path / "two", results={**alike, **change}),
    ]
    page = compare.render(compare.read(runs))
    assert said in page and page.index("Not measured alike") < page.index("Accuracies")


def test_curves_lie_over_each_other(tmp_path):
    rows = samples.curves()
    runs = [write(tmp_path / name, curve_rows=rows) for name in ("one", "two")]
    panels = compare._curves(compare.read(runs))
    kinds = {row["curve"] for row in rows}
    assert len(panels) == len(kinds)
    for panel in panels:
        names = [line.name for line in panel.lines]
        assert any(name.startswith("one, ") for name in names)
        assert any(name.startswith("two, ") for name in names)


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    runs = [write(tmp_path / place / "run") for place in ("a", "b")]
    assert [run.name for run in compare.read(runs)] == ["a/run", "b/run"]


def test_what_cannot_be_compared_is_refused(two, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "results.json").write_text("{")
    for folders, message in (
        ([], "two runs or more"),
        (two[:1], "two runs or more"),
        ([two[0], two[0] + "/"], "given twice"),
        ([two[0], str(tmp_path / "nosuch")], "no results to read there"),
        ([two[0], str(tmp_path / "empty")], "no results to read there"),
        ([two[0], str(tmp_path / "damaged")], "no results to read there"),
    ):
        with pytest.raises(UserError, match=message):
            compare.read(folders)


@pytest.mark.slow
def test_it_is_a_command_of_one_line(two, tmp_path):
    command = [sys.executable, "-m", "sat_tf.reports.compare"]
    output = f"--output={tmp_path / 'page.html'}"
    done = subprocess.run([*command, *two, output], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == f"wrote {tmp_path / 'page.html'}\n"
    refused = subprocess.run([*command, two[0]], capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr == "error: compare: give the folders of two runs or more\n"
