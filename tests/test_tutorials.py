"""The notebooks of docs/tutorials run from their first cell to their last."""

import importlib.util
import json
import pathlib

import matplotlib
import pytest
from matplotlib import pyplot

from sat_tf import activations, attacks

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


@pytest.fixture
def _as_it_was(tmp_path, monkeypatch):
    """An empty folder to write into, no window for pictures, and the tables as they are now.

    AutoAttack, which has tests of its own, is two short attacks.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(attacks.VERSIONS, "standard", ("apgd-ce-5", "square-20"))
    matplotlib.use("agg")
    tables = (activations.ACTIVATIONS, attacks.ATTACKS)
    rows = [dict(table) for table in tables]
    yield
    pyplot.close("all")
    for table, before in zip(tables, rows):
        table.clear()
        table.update(before)


def code_cells(path):
    """Yields the code cells, as Jupyter stores them, that can run with what is installed."""
    for cell in json.loads(path.read_text())["cells"]:
        needs_foolbox = "needs-foolbox" in cell["metadata"].get("tags", ())
        if needs_foolbox and importlib.util.find_spec("foolbox") is None:
            continue
        if cell["cell_type"] == "code":
            yield cell


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # findings of the checks, on so few examples
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_the_code_runs(path, _as_it_was):
    names = {}
    for cell in code_cells(path):
        exec(compile("".join(cell["source"]), path.name, "exec"), names)
    result = names["result"]
    assert 0 < min(result.robust_accuracy.values()) <= result.clean_accuracy <= 1
    if path.stem == "first_steps":
        assert (pathlib.Path("digits_saved_model") / "saved_model.pb").exists()
    else:
        assert names["again"].robust_accuracy["corners"] == result.robust_accuracy["corners"]


def test_there_are_both():
    assert NAMES == ["first_steps", "own_data_model_activation"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_small_and_has_its_outputs(path):
    assert path.stat().st_size < 300_000
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
