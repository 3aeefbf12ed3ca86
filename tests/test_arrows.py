"""Who may import whom: downwards only, through a wing's `__init__`, and never in a circle."""

import ast
import functools
import graphlib
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# All may use these, and each other only as they stand here.
GROUND = {
    "errors": set(),
    "files": set(),
    "seeds": set(),
    "interruption": set(),
    "distribution": {"errors"},
}
WINGS = {
    "config": set(),
    "activations": set(),
    "attacks": set(),
    "data": set(),
    "reports": set(),
    "models": {"activations", "config"},
    "release": {"models"},
    "saved_models": {"data", "config"},
    "evaluation": {"attacks"},
    "training": {"attacks", "activations", "config"},
    "runs": {
        "training",
        "release",
        "evaluation",
        "saved_models",
        "reports",
        "data",
        "models",
        "config",
    },
}
# Flags take their choices from the tables of the wings, and make what `runs` works on.
ABOVE = {
    "tpu": set(),
    "flags": {
        "runs",
        "training",
        "release",
        "saved_models",
        "reports",
        "data",
        "models",
        "attacks",
        "activations",
        "config",
    },
    "main": {"flags", "runs", "tpu"},
}
OURS = ("sat_tf", "flags", "tpu", "main", "benchmarks")
FILES = sorted(
    path.relative_to(ROOT)
    for start in OURS
    for path in [*(ROOT / start).rglob("*.py"), ROOT / f"{start}.py"]
    if path.exists()
)


def _module(path):
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _exists(module):
    stem = ROOT.joinpath(*module.split("."))
    return stem.with_suffix(".py").exists() or (stem / "__init__.py").exists()


@functools.cache
def _imports(path):
    """Returns {(module, name)}: what a file imports of ours; the name is None for the module."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            found |= {(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {(alias.name, None) for alias in node.names}
    # The version is a literal above all imports of the package, and everybody's.
    return {
        (module, name)
        for module, name in found
        if module.split(".")[0] in OURS and (module, name) != ("sat_tf", "__version__")
    }


def _place(module, name=None):
    """Returns the row of the table that a module is in."""
    parts = [*module.split("."), *([name] if module == "sat_tf" and name else [])]
    return parts[1] if parts[0] == "sat_tf" and len(parts) > 1 else parts[0]


def test_the_table_has_every_place():
    names = {path.stem for path in (ROOT / "sat_tf").iterdir() if path.name[0] not in "._"}
    assert names == {*GROUND, *WINGS}
    assert len(names) + 1 <= 17  # and __init__


@pytest.mark.parametrize("path", FILES, ids=str)
def test_arrows_go_down(path):
    here = _place(_module(path))
    if here in ("sat_tf", "benchmarks"):  # the first hands its wings on; the second is above all
        return
    allowed = {**{wing: {*below, *GROUND} for wing, below in (WINGS | ABOVE).items()}, **GROUND}
    for module, name in _imports(path):
        there = _place(module, name)
        assert there == here or there in allowed[here], f"{path} imports {there}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_wing_is_entered_through_its_init(path):
    for module, name in _imports(path):
        if _place(module, name) == _place(_module(path)) or not module.startswith("sat_tf."):
            continue
        wing = _place(module)
        if wing in GROUND:
            continue
        assert module in (f"sat_tf.{wing}", "sat_tf"), f"{path} imports {module}"
        assert name in importlib.import_module(module).__all__, f"{path} imports {module}.{name}"


def test_no_circles():
    graph = {}
    for path in FILES:
        below = graph.setdefault(_module(path), set())
        for module, name in _imports(path):
            inner = f"{module}.{name}"
            below.add(inner if name and _exists(inner) else module)
    for package in ("sat_tf", *(f"sat_tf.{wing}" for wing in WINGS)):  # handing on is no use
        assert package in graph
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_nothing_in_the_library_knows_the_command_line():
    for path in FILES:
        if path.parts[0] == "sat_tf":
            assert {module.split(".")[0] for module, _ in _imports(path)} <= {"sat_tf"}


def test_a_file_is_one_room():
    tests = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py")]
    lengths = {
        str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in (*FILES, *tests)
    }
    assert {path: length for path, length in lengths.items() if length > 300} == {}


def test_main_is_short():
    text = (ROOT / "main.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    assert text.count("flags.") <= 3  # parsed, and given to the subject
