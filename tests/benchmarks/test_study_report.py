"""The statistics of a study, its tables and its plots."""

import csv
import io
import os

import pytest
from study_samples import STUDY, written

from benchmarks.study import numbers, plots, report
from benchmarks.study.spread import difference, spread


def test_a_spread_is_that_of_a_sample():
    assert spread([1.0, 3.0]) == pytest.approx((2.0, 2**0.5, 2))
    assert spread([4.0, None, float("nan")]) == (4.0, None, 1)
    assert spread([None]) is None


def test_differences_are_paired_by_seed_with_students_interval():
    measured = difference({0: 0.5, 1: 0.7, 2: 0.9, 3: 9.0}, {0: 0.4, 1: 0.5, 2: 0.6, 4: 1.0})
    # Differences 0.1, 0.2, 0.3: deviation 0.1; t of 2 degrees of freedom at 97.5 % is 4.302653.
    assert measured.n == 3 and measured.mean == pytest.approx(0.2)
    assert measured.half_width == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)
    assert measured.excludes_zero is False
    five = difference(dict(enumerate((1.0, 2.0, 3.0, 4.0, 5.0))), dict.fromkeys(range(5), 0.0))
    assert five.half_width == pytest.approx(2.776445 * 2.5**0.5 / 5**0.5, rel=1e-6)
    assert five.excludes_zero is True
    alone = difference({0: 1.0, 1: None}, {0: 0.5, 1: 0.1})
    assert alone == (0.5, None, 1) and alone.excludes_zero is None
    assert difference({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize("more, excludes", [(1, False), (2, True)])
def test_counts_that_differ_by_one_example_in_every_seed_do_not_differ(more, excludes):
    others = {seed: (300 + seed) / 360 for seed in range(3)}
    values = {seed: (300 + seed + more) / 360 for seed in range(3)}
    measured = difference(values, others, resolution=1 / 360)
    assert measured.half_width == pytest.approx(1 / 360) and measured.excludes_zero is excludes


def test_costs_are_of_processor_time_within_a_seed():
    cells = [
        written("plain", 0),
        written("plain", 1, processor_seconds_per_epoch=6.0, jobs=2),
        written("fast one", 0, processor_seconds_per_epoch=9.0, seconds_per_epoch=1.0),
        written("fast one", 1),
    ]
    assert [row["cost_ratio"] for row in numbers.table(cells, "plain")] == [1.0, 1.0, 3.0, 0.5]
    cells[2]["device"] = "GPU"  # where the processor waits
    del cells[3]["processor_seconds_per_epoch"]  # as cells of before it was taken
    rows = numbers.table(cells, "plain")
    assert [row["cost_ratio"] for row in rows] == [1.0, 1.0, None, None]
    assert "| fast one | 2 | 90.0 ± 0.0 | 50.0 ± 0.0 | 70.0 ± 0.0 | – |" in report.markdown(
        STUDY, "it", cells, rows
    )


@pytest.fixture
def cells():
    measured = dict.fromkeys(numbers.DIAGNOSTICS, 0.25)
    other = dict.fromkeys(numbers.DIAGNOSTICS, 0.375)
    return [
        written(
            row,
            seed,
            clean_accuracy=clean,
            robust_accuracy={"pgd-20": robust},
            substituted_robust_accuracy={"pgd-20": 0.45},
            diagnostics={"exact": measured, "substituted": other},
        )
        for row, seed, clean, robust in (
            ("plain", 0, 0.9, 0.5),
            ("plain", 1, 0.8, 0.4),
            ("fast one", 0, 0.7, 0.6),
            ("fast one", 1, 0.6, 0.502),
        )
    ]


def test_the_csv_has_a_line_a_cell(cells):
    rows = list(csv.DictReader(io.StringIO(report.csv_text(numbers.table(cells, "plain")))))
    assert [(row["row"], row["seed"]) for row in rows] == [
        ("plain", "0"),
        ("plain", "1"),
        ("fast one", "0"),
        ("fast one", "1"),
    ]
    assert [row["lower_robust_accuracy/pgd-20"] for row in rows] == ["0.45", "0.4", "0.45", "0.45"]
    assert rows[0]["diagnostics/exact/sign_flip_rate"] == "0.25"


def test_the_markdown_has_spreads_differences_and_smoothness(cells, tmp_path):
    study = STUDY._replace(
        columns=("clean", "robust", "substituted", "lower", "small"),
        diagnostics=True,
        substitute="parametric_softplus",
        rows={**STUDY.rows, "third": ()},
    )
    csv_path, path = report.write(study, "study_x", "the command", cells, tmp_path, ["a.png"])
    assert os.path.basename(csv_path) == "study_x.csv"
    text = open(path, encoding="utf-8").read()
    assert "| plain | 2 | 85.0 ± 7.1 | 45.0 ± 7.1 | 45.0 ± 0.0 | 42.5 ± 3.5 |" in text
    assert (
        "| fast one | 2 | **−20.0 [−20.3, −19.7]** | **+10.1 [+8.6, +11.6]** | +0.0 [−0.3" in text
    )
    assert "pgd-20, exact derivative (%)" in text
    assert "pgd-20 at epsilon 0.05, exact derivative (%)" in text
    assert "exact derivative" in text and "derivative of parametric_softplus" in text
    _, same_networks = text.split("## The same networks, derivative of parametric_softplus less")
    assert "| plain | 2 | **+0.125 [+0.125, +0.125]** |" in same_networks
    assert "![a.png](a.png)" in text and "`the command`: 360 examples" in text
    # Accuracies of 0.5, 0.4, 0.6 and 0.502 on 360 examples.
    assert "accuracy of 50 % on 360 examples has a binomial standard error of 2.6 points" in text
    assert "widened by one example, 0.28 points" in text


def _head(study, cells):
    return report.markdown(study, "it", cells, numbers.table(cells, "plain")).split("| row |")[0]


def test_the_head_says_what_the_cells_were_made_with_and_whether_it_is_the_same(cells):
    assert "Made with device CPU.\n" in _head(STUDY, cells)
    for cell in cells:
        cell.update(git_commit="0123456789abcdef", tensorflow="2.15.1")
    assert "Made with git commit 0123456789ab; TensorFlow 2.15.1; device CPU.\n" in _head(
        STUDY, cells
    )
    cells[0]["git_commit"], cells[1]["tensorflow"] = "fedcba9876543210", None
    head = _head(STUDY, cells)
    assert (
        "git commit fedcba987654 (1 of 4 cells), 0123456789ab (3 of 4 cells); TensorFlow "
        "2.15.1 (3 of 4 cells), not told (1 of 4 cells); device CPU. Differences" in head
    )
    for cell in cells:
        del cell["git_commit"], cell["tensorflow"], cell["device"]
    assert "Made with" not in _head(STUDY, cells)


def test_the_head_names_what_stopped_early_and_what_is_missing(cells):
    assert "Stopped early" not in _head(STUDY._replace(seeds=(0, 1)), cells)
    cells[1]["stopped"] = cells[2]["stopped"] = {"by": "patience", "reason": "no better"}
    cells[2]["checkpoints"] = {"best": {"step": 10}, "last": {"step": 14}}
    study = STUDY._replace(rows={**STUDY.rows, "third": ()}, seeds=(0, 1, 4))
    head = _head(study, cells)
    assert (
        "Stopped early: plain seed 1 at step 10 (patience), fast one seed 0 at step 14 (patience)."
    ) in head
    assert "Not there yet, or failed: plain seed 4, fast one seed 4, third." in head


def test_n_is_the_cells_of_a_row_and_a_field_with_fewer_numbers_says_its_own(cells):
    cells[2]["robust_accuracy"] = {}
    text = report.markdown(STUDY, "it", cells, numbers.table(cells, "plain"))
    assert "| fast one | 2 | 65.0 ± 7.1 | 50.2 (n = 1) | 70.0 ± 0.0 |" in text
    assert "| fast one | 2 | **−20.0 [−20.3, −19.7]** | +10.2 (n = 1) | +0.0" in text


def test_plots_are_small_and_only_of_what_there_is(cells, tmp_path):
    paths = plots.write(STUDY, "study_x", cells, tmp_path)
    assert [os.path.basename(path) for path in paths] == [
        "study_x_accuracy.png",
        "study_x_cost.png",
        "study_x_epochs.png",
    ]
    assert all(1000 < os.path.getsize(path) < 100_000 for path in paths)
    bare = [written("plain", 0, robust_accuracy={}, training_curve=[])]
    assert plots.write(STUDY, "bare", bare, tmp_path) == []


def test_numbers_of_any_size_keep_their_digits():
    lipschitz = numbers.DIAGNOSTICS["gradient_lipschitz_mean"]
    assert [lipschitz.show(value) for value in (0.02281, 12.34, None)] == ["0.0228", "12.3", "–"]
    assert numbers.DIAGNOSTICS["sign_flip_rate"].show(0.04777) == "4.8"


def test_bands_are_over_the_curves_that_reach_an_epoch():
    epochs, mean, deviation = plots.band([[[1, 0.2], [2, 0.4]], [[1, 0.4]]])
    assert epochs.tolist() == [1, 2]
    assert mean == pytest.approx([0.3, 0.4]) and deviation == pytest.approx([0.1 * 2**0.5, 0.0])


def test_labels_keep_their_distance_and_their_order():
    moved = plots.spaced([0.1, 0.1, 0.1, 0.9], gap=0.1)
    assert all(b - a >= 0.1 - 1e-9 for a, b in zip(moved, moved[1:]))
    assert sum(moved) == pytest.approx(1.2)
