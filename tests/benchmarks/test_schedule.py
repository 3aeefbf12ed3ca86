"""Which cells of a study run, again or at all, and on which cores."""

import json
import os
import signal
import types

import pytest
from study_samples import STUDY

from benchmarks.study import grids, schedule
from sat_tf import errors
from sat_tf.interruption import Interrupted


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
