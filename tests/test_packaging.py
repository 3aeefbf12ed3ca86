"""The installed package: what a wheel holds and needs, and that it works away from the checkout."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import pytest

import sat_tf

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# The first four are to be installed, the others are there to be left out.
PLACES = ("sat_tf", "flags", "tpu", "main.py", "tests", "benchmarks", "docs")


def _required():
    """Returns the requirements of requirements.txt, without comments."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in (re.sub(r"(^|\s+)#.*", "", line).strip() for line in lines) if line]


def test_dependencies_are_those_of_requirements_txt():
    extras = PROJECT["optional-dependencies"]
    for_tests = [line for line in _required() if line in extras["tests"]]
    assert for_tests == extras["tests"]
    assert [line for line in _required() if line not in for_tests] == PROJECT["dependencies"]


def test_for_gpus_tensorflow_is_the_same_one():
    pins = [line for line in PROJECT["dependencies"] if line.startswith("tensorflow==")]
    assert len(pins) == 2
    assert PROJECT["optional-dependencies"]["gpu"] == [
        pin.replace("tensorflow==", "tensorflow[and-cuda]==") for pin in pins
    ]


def test_the_newest_changes_are_of_this_version():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1)
    assert newest == sat_tf.__version__


def _call(*command, cwd, status=0):
    """Runs a command that sees neither the checkout nor a network; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, made of a copy, since building leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("build")
    (folder / "source").mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("pyproject.toml", "README.md", *PLACES):
        place, copy = ROOT / name, folder / "source" / name
        if place.is_dir():
            shutil.copytree(place, copy, ignore=ignored)
        else:
            shutil.copy(place, copy)
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir=.")
    _call(sys.executable, "-m", "pip", "wheel", *options, "./source", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment's folder of programs: the wheel, and this environment's packages."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    programs = folder / "bin"
    python = programs / "python"
    pip = (sys.executable, "-m", "pip", f"--python={python}")
    _call(*pip, "install", "--no-deps", wheel, cwd=folder)
    show_packages = "import sysconfig; print(sysconfig.get_path('purelib'))"
    (packages,) = _call(python, "-c", show_packages, cwd=folder).stdout.split()
    others = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    pathlib.Path(packages, "others.pth").write_text("\n".join(others) + "\n")
    return programs


@pytest.mark.slow
def test_a_wheel_holds_the_program_with_its_data_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    information = f"sat_tf-{sat_tf.__version__}.dist-info/"
    sources = {
        path.relative_to(ROOT).as_posix()
        for place in PLACES[:4]
        for path in [ROOT / place, *(ROOT / place).rglob("*")]
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in names if not name.startswith(information)} == sources
    assert {"main.py", "sat_tf/reports/page.html.jinja", "tpu/connect.py"} <= sources
    assert "flags/recipes/digits-pgd.flags" in sources


@pytest.mark.slow
@pytest.mark.smoke
def test_the_library_is_imported_from_anywhere(installed, tmp_path):
    code = "import sat_tf; print(sat_tf.__version__, sat_tf.__file__)"
    version, file = _call(installed / "python", "-c", code, cwd=tmp_path).stdout.split()
    assert version == sat_tf.__version__
    assert pathlib.Path(file).is_relative_to(installed.parent)


# A network that is quicker to build, to differentiate and to export than those of ours.
TINY = """
import tensorflow as tf
from sat_tf import models

def build(*, name, num_classes, image_size, **unused):
    inputs = tf.keras.Input((image_size, image_size, 3))
    logits = tf.keras.layers.Dense(num_classes)(tf.keras.layers.Flatten()(inputs))
    return tf.keras.Model(inputs, logits, name=name)

models.register("tiny", models.Row(build, "resnet", 8))
"""


@pytest.mark.slow
@pytest.mark.smoke
def test_the_command_runs_anywhere_with_a_recipe(installed, tmp_path):
    """The help says where recipes are; a run of one leaves its files in the working folder."""
    usage = _call(installed / "sat-tf", "--help", cwd=tmp_path).stdout
    assert usage.startswith("Usage: ") and "--epsilon" in usage
    recipes = pathlib.Path(re.search("RECIPE: (.*)/NAME.flags", usage).group(1))
    assert recipes.is_relative_to(installed.parent)
    (tmp_path / "tiny.py").write_text(TINY)
    command = (
        *("--plugin=tiny.py", f"--flagfile={recipes}/digits-standard.flags", "--model=tiny"),
        *("--epochs=1", "--train_examples=16", "--batch_size=8", "--eval_examples=8"),
        *("--eval_attacks=clean", "--eval_batch_size=8", "--model_dir=run"),
    )
    _call(installed / "sat-tf", *command, cwd=tmp_path)
    run = tmp_path / "run"
    config = json.loads((run / "config.json").read_text())
    assert config["versions"]["sat_tf"] == sat_tf.__version__ and config["git_commit"] is None
    assert json.loads((run / "results.json").read_text())["examples"] == 8
    assert "</html>" in (run / "report.html").read_text()


@pytest.mark.slow
def test_what_the_user_can_mend_is_one_line(installed, tmp_path):
    done = _call(installed / "sat-tf", "--modle=resnet50", cwd=tmp_path, status=2)
    # What TensorFlow itself logs while it is imported depends on its version and the machine.
    assert done.stderr.splitlines()[-1].startswith("error: --modle: no such flag")
    assert "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir())
