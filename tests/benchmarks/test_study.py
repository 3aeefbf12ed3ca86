"""The studies: their grids, what runs again, which flag wins, the statistics and the files."""

import csv
import io
import json
import os
import signal
import types

import pytest
import tensorflow as tf

from benchmarks.study import __main__ as command
from benchmarks.study import cell as cell_process
from benchmarks.study import grids, numbers, plots, report, schedule
from benchmarks.study.spread import difference, spread
from sat_tf import activations, attacks, errors
from sat_tf.interruption import Interrupted

STUDY = grids.Study(
    "Does it work?",
    {"plain": ("--method=standard",), "fast one": ("--method=fast", "--epochs=3")},
    common=("--epsilon=8/255", "--epochs=2"),
    columns=("clean", "robust", "small", "cost"),
)


def _written(row, seed, **changes):
    """What a finished cell writes, as far as the reports read it."""
    return {
        "row": row,
        "seed": seed,
        "clean_accuracy": 0.9,
        "robust_accuracy": {"pgd-20": 0.5},
        "small_robust_accuracy": 0.7,
        "small_epsilon": 0.05,
        "epsilon": 0.2,
        "examples": 360,
        "step": 10,
        "seconds_per_epoch": 2.0,
        "processor_seconds_per_epoch": 3.0,
        "jobs": 1,
        "cores": 2,
        "load_average": 1.0,
        "device": "CPU",
        "training_curve": [[1.0, 0.2], [2.0, 0.4]],
        "validation_curve": [],
        **changes,
    }


def test_every_study_is_whole():
    for study in grids.STUDIES.values():
        for row in study.rows.values():
            assert grids.given_flags([*study.common, *row])
        assert len(set(map(grids.slug, study.rows))) == len(study.rows)  # folders of their own
        assert set(study.columns) <= set(numbers.COLUMNS)
        assert len(study.rows) <= len(plots.COLOURS)
        if study.substitute:
            assert study.substitute in activations.ACTIVATIONS
    assert [len(study.rows) for study in grids.STUDIES.values()] == [9, 4, 8]


def test_a_flag_of_the_row_wins_over_the_command_line_and_that_over_the_study():
    plain, fast = grids.cells(STUDY, [7], "runs", ["--epochs=5", "--epsilon=0.25"])
    assert plain.asked["flags"] == {"method": "standard", "epsilon": 0.25, "epochs": 5.0, "seed": 7}
    assert fast.asked["flags"]["epochs"] == 3.0
    assert (plain.folder, fast.folder) == ("runs/plain-7", "runs/fast-one-7")


def test_cells_go_seed_by_seed():
    cells = grids.cells(STUDY, [0, 1], "runs")
    assert [(c.row, c.seed) for c in cells] == [
        ("plain", 0),
        ("fast one", 0),
        ("plain", 1),
        ("fast one", 1),
    ]


@pytest.mark.parametrize(
    "extra, part",
    [
        (["--seed=3"], "--seed=3: not for a study; give --seeds"),
        (["--model_dir=x"], "give --runs"),
        (["--mode=eval"], "leave it out"),
        (["--init_checkpoint=x"], "every cell starts with new weights"),
        (["--epoch=3"], "did you mean --epochs"),
        (["3"], "not a flag"),
    ],
)
def test_flags_that_cannot_go_to_all_cells_are_refused(extra, part):
    with pytest.raises(errors.UserError, match=part):
        grids.check_extra(extra)


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["--seeds", "0", "0"], "give different integers"),
        (["--seeds", "-2"], "at least 0"),
        (["--jobs=0"], "give 1 to"),
        (["--jobs=4096"], "give 1 to"),
        (["--epochs=1", "--label="], "need a name of their own"),
        (["--seeds", "0"], "with fewer seeds than declared"),
        (
            [
                f"--{name}=1"
                for name in (
                    "epochs",
                    "train_examples",
                    "eval_examples",
                    "num_steps",
                    "clean_epochs",
                    "warmup_epochs",
                )
            ],
            "too long a name",
        ),
    ],
)
def test_the_command_line_refuses_in_one_line(arguments, part, tmp_path, capsys):
    assert command.main(["methods", f"--runs={tmp_path}", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --") and part in error and error.count("\n") == 1
    assert not os.listdir(tmp_path)


def test_results_with_other_flags_get_names_of_their_own():
    def name(*argv):
        return command._file_name("methods", *command.parse(["methods", *argv]))

    assert name("--jobs=2", "--seeds", "3", "2", "1", "0") == "methods"
    assert name("--dataset=cifar10", "--model=preact-resnet18") == (
        "methods_dataset-cifar10_model-preact-resnet18"
    )
    assert name("--dataset=cifar10", "--label=small try") == "methods_small-try"


def test_reports_are_headed_by_the_whole_command():
    def headed(*argv):
        return command._command(*command.parse(["methods", *argv]))

    assert headed("--jobs=2", "--runs=x", "--results", "y") == "python -m benchmarks.study methods"
    assert headed(
        "--label=a b", "--rows", "standard + SAM", "pgd", "--seeds", "3", "0", "--epochs=2"
    ) == (
        "python -m benchmarks.study methods --seeds 3 0 --rows 'standard + SAM' pgd '--label=a b' "
        "--epochs=2"
    )


def test_a_finished_cell_is_one_with_the_same_flags_and_measurements(tmp_path):
    cell = grids.cells(STUDY, [0], str(tmp_path))[0]
    assert schedule.read_cell(cell) is None
    os.makedirs(cell.folder)
    path = tmp_path / "plain-0" / "cell.json"
    written = {"asked": json.loads(json.dumps(cell.asked)), "clean_accuracy": 1.0}
    path.write_text(json.dumps(written))
    assert schedule.read_cell(cell) == written
    spelt_otherwise = grids.cells(
        STUDY._replace(common=("--epochs", "2.0", "--epsilon=8/255")), [0], str(tmp_path)
    )[0]
    assert schedule.read_cell(spelt_otherwise) == written
    for other in (
        grids.cells(STUDY, [0], str(tmp_path), ["--epsilon=4/255"])[0],
        grids.cells(STUDY._replace(small_share=0.5), [0], str(tmp_path))[0],
        grids.cells(STUDY._replace(diagnostics=True), [0], str(tmp_path))[0],
    ):
        assert other.folder == cell.folder and schedule.read_cell(other) is None
    config = tmp_path / "plain-0" / "config.json"
    config.write_text(json.dumps({"git_commit": "abc", "versions": {"tensorflow": "2.15.1"}}))
    assert schedule.read_cell(cell) == {**written, "git_commit": "abc", "tensorflow": "2.15.1"}
    for broken, remedy in ((config, "remove the cell's folder"), (path, "remove it")):
        broken.write_text("{")
        with pytest.raises(errors.UserError, match=f"{broken.name} cannot be read.*{remedy}"):
            schedule.read_cell(cell)


@pytest.mark.parametrize(
    "cores, jobs, expected",
    [({0, 1}, 2, [[0], [1]]), ({3, 5, 7}, 2, [[3], [5, 7]]), ({0, 1, 2, 3}, 1, [[0, 1, 2, 3]])],
)
def test_every_job_has_cores_of_its_own(cores, jobs, expected):
    assert schedule.shares(cores, jobs) == expected


class _Process:
    """A cell that ends after `polls` looks at it, or when it is told to."""

    def __init__(self, status, polls=2):
        self.status, self.polls, self.returncode = status, polls, None

    def poll(self):
        self.polls -= 1
        if self.polls <= 0:
            self.returncode = self.status
        return self.returncode

    def terminate(self):
        self.returncode = -signal.SIGTERM

    def wait(self):
        assert self.returncode is not None
        return self.returncode


@pytest.fixture
def fake_cells(tmp_path, monkeypatch):
    """Cells, and the processes that `schedule` thinks it starts for them."""
    cells, started = grids.cells(STUDY, [0, 1], str(tmp_path)), []

    def start(cell, jobs, cores):
        os.makedirs(cell.folder)
        fails = (cell.row, cell.seed) == ("plain", 0)
        (tmp_path / os.path.basename(cell.folder) / "cell.log").write_text("it\nerror: no\n\n")
        (tmp_path / os.path.basename(cell.folder) / "cell.json").write_text(
            json.dumps({"asked": cell.asked})
        )
        started.append((cell, cores, _Process(2 if fails else 0)))
        return started[-1][2]

    monkeypatch.setattr(schedule, "_start", start)
    monkeypatch.setattr(schedule, "_shares_here", lambda jobs: [[0], [1]][:jobs])
    return cells, started


def test_a_failed_cell_is_named_and_the_others_go_on(fake_cells, capsys):
    cells, started = fake_cells
    failed = schedule.run(cells, 2, types.SimpleNamespace(check=lambda: None))
    assert failed == [cells[0]] and len(started) == 4
    assert {tuple(cores) for _, cores, _ in started[:2]} == {(0,), (1,)}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and "plain, seed 0: FAILED with status 2: error: no; see" in lines[0]


def test_an_interruption_ends_the_cells_that_run(fake_cells):
    cells, started = fake_cells

    def check():
        raise Interrupted(signal.SIGINT)

    with pytest.raises(Interrupted):
        schedule.run(cells, 1, types.SimpleNamespace(check=check))
    assert [process.returncode for _, _, process in started] == [-signal.SIGTERM]


def test_seconds_are_the_median_after_the_warm_up():
    rows = [
        {"epoch": float(epoch), "speed": speed}
        for epoch, speed in enumerate((1.0, 1.0, 50.0, 100.0, 200.0), 1)
    ]
    assert cell_process.seconds_per_epoch(rows, "speed", first=2, images=300) == 3.0
    assert cell_process.seconds_per_epoch(rows, "speed", first=3, images=300) == 2.0
    assert cell_process.seconds_per_epoch(rows, "speed", first=5, images=300) is None
    assert cell_process.seconds_per_epoch(rows, "of other name", first=2, images=300) is None


def test_curves_are_of_training_and_of_the_examples_held_out():
    part = types.SimpleNamespace
    config = part(
        method=part(clean_epochs=1), optimizer=part(steps_per_epoch=2), data=part(batch_size=8)
    )
    measured = cell_process._of_training(
        config,
        [
            {"kind": "train", "epoch": 1.0, "clean_accuracy": 0.5, "images_per_second": 9.0},
            {"kind": "validation", "epoch": 1.0, "robust_accuracy": {"pgd-10": 0.2}},
            {"kind": "train", "epoch": 2.0, "adversarial_accuracy": 0.4, "images_per_second": 9.0},
            {
                "kind": "train",
                "epoch": 3.0,
                "adversarial_accuracy": 0.5,
                "images_per_second": 8.0,
                "images_per_processor_second": 4.0,
            },
            {"kind": "eval", "epoch": 3.0, "robust_accuracy": {"pgd-20": 0.3}},
        ],
    )
    assert measured == {
        "training_curve": [[2.0, 0.4], [3.0, 0.5]],
        "validation_curve": [[1.0, 0.2]],
        "seconds_per_epoch": 2.0,
        "processor_seconds_per_epoch": 4.0,
    }


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
        _written("plain", 0),
        _written("plain", 1, processor_seconds_per_epoch=6.0, jobs=2),
        _written("fast one", 0, processor_seconds_per_epoch=9.0, seconds_per_epoch=1.0),
        _written("fast one", 1),
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
        _written(
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
    bare = [_written("plain", 0, robust_accuracy={}, training_curve=[])]
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


@pytest.mark.parametrize("strategy, diagnosed", [("one_device", True), ("mirrored", False)])
def test_a_network_is_measured_with_both_derivatives_on_every_replica(
    strategy, diagnosed, request, monkeypatch
):
    strategy, part = request.getfixturevalue(strategy), types.SimpleNamespace
    with strategy.scope():  # brighter images wake its one unit; until then it has no gradient
        unit = tf.keras.layers.Dense(
            1,
            kernel_initializer=tf.constant_initializer(1 / 192),
            bias_initializer=tf.constant_initializer(-0.55),
        )
        logits = tf.keras.layers.Dense(
            2,
            kernel_initializer=tf.constant_initializer([0.0, 10.0]),
            bias_initializer=tf.constant_initializer([0.1, 0.0]),
        )
        inputs = tf.keras.Input((8, 8, 3))
        classifier = tf.keras.Model(
            inputs, logits(activations.create("relu")()(unit(tf.keras.layers.Flatten()(inputs))))
        )
    grey = tf.data.Dataset.from_tensors(
        (tf.fill([4, 8, 8, 3], 0.5), tf.zeros([4], tf.int32), tf.ones([4], tf.bool))
    )
    monkeypatch.setattr(cell_process, "_batches", lambda run, batch_size: grey)
    run = part(
        classifier=classifier,
        strategy=strategy,
        config=part(
            seed=0,
            attack=part(epsilon=0.2),
            data=part(eval_examples=4),
            distribution=part(xla="auto", precision="float32"),
            evaluation=part(attacks=("clean", "pgd-2"), batch_size=4, step_size=None),
        ),
    )
    asked = {"small_share": 0.25, "substitute": "parametric_softplus", "diagnostics": diagnosed}
    measured = cell_process._measure(run, asked, part(check=lambda: None))
    assert measured["small_epsilon"] == pytest.approx(0.05)
    exact = cell_process._robust(
        run, {"pgd-2": attacks.create("pgd-2", epsilon=0.2)}, part(check=lambda: None)
    )
    assert exact == {"pgd-2": 1.0} and measured["substituted_robust_accuracy"] == {"pgd-2": 0.0}
    if diagnosed:
        exact, substituted = (measured["diagnostics"][name] for name in ("exact", "substituted"))
        assert exact["sign_zero_share"] == 1.0 and substituted["sign_zero_share"] == 0.0


def test_a_cell_refuses_hardware_in_one_line_as_main_does(tmp_path, capsys):
    about = {"asked": {"argv": ["--tpu=local", "--strategy=tpu"]}}
    assert cell_process.main(["cell", str(tmp_path / "run"), json.dumps(about)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --tpu=local: no TPU there") and error.count("\n") == 1


@pytest.mark.slow
def test_a_study_runs_end_to_end_and_the_second_time_nothing_runs(tmp_path, monkeypatch, capsys):
    tiny = (
        "--model=resnet20",
        "--epsilon=0.1",
        "--num_steps=1",
        "--train_steps=2",
        "--train_examples=16",
        "--batch_size=8",
        "--eval_examples=16",
        "--eval_batch_size=16",
        "--eval_attacks=clean,pgd-2",
        "--clean_epochs=0",
    )
    study = grids.Study(
        "Two rows",
        {"standard": ("--method=standard",), "pgd": ("--method=pgd",)},
        common=tiny,
        seeds=(0,),
        columns=("clean", "robust", "small", "seconds", "cost"),
    )
    monkeypatch.setitem(grids.STUDIES, "methods", study)
    arguments = [
        "methods",
        f"--runs={tmp_path}/runs",
        f"--results={tmp_path}",
        f"--plots={tmp_path}",
    ]
    assert command.main(arguments) == 0, capsys.readouterr()
    assert "2 cells, 0 of them finished" in capsys.readouterr().out
    cell = json.loads((tmp_path / "runs" / "pgd-0" / "cell.json").read_text())
    assert cell["step"] == 2 and set(cell["robust_accuracy"]) == {"pgd-2"}
    assert cell["small_robust_accuracy"] <= cell["clean_accuracy"]
    assert cell["jobs"] == 1 and len(cell["training_curve"]) == 1
    report_before = (tmp_path / "study_methods.md").read_text()

    def start(*unused):
        raise AssertionError("a finished cell ran again")

    monkeypatch.setattr(schedule, "_start", start)
    assert command.main(arguments) == 0
    assert "2 cells, 2 of them finished" in capsys.readouterr().out
    assert (tmp_path / "study_methods.md").read_text() == report_before
