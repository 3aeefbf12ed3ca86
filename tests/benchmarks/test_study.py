"""The studies: their grids, which flag wins, what the command line takes, and a whole one."""

import json
import os

import pytest
from study_samples import STUDY

from benchmarks.study import __main__ as command
from benchmarks.study import grids, numbers, plots, schedule
from sat_tf import activations, errors


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
