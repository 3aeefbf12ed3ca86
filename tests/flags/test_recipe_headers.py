"""What the recipes' headers say, in docs/model_zoo.md and the README too."""

import re
import shlex

import pytest
import recipes

from sat_tf.config import settings as config_settings

every_recipe = pytest.mark.parametrize("name", recipes.RECIPES)


@every_recipe
def test_headers_are_complete(name):
    header = recipes.header(name)
    assert header.title.endswith(".")
    for label in recipes.REQUIRED:
        assert header.entries.get(label), label
        assert label == "Published" or len(header.entries[label]) == 1, label
    assert header.results("Published")
    if not name.startswith("digits"):
        assert re.match("not (stated by the paper|known here)", header.entries["Hardware"][0])
        assert re.search(r"arXiv [0-9]{4}\.[0-9]{5}\b", header.entries["Source"][0])


@every_recipe
def test_the_command_is_that_of_the_recipe(name, monkeypatch):
    monkeypatch.chdir(recipes.ROOT)
    [command] = recipes.header(name).entries["Command"]
    python, script, flagfile, *others = shlex.split(command)
    assert (python, script) == ("python", "main.py")
    assert flagfile == f"--flagfile=flags/recipes/{name}.flags"
    assert others == ([] if name.startswith("digits") else ["--data_dir=DATA"])
    assert (
        config_settings.differences(recipes.config(name), recipes.resolve(flagfile, *others)) == []
    )


ZOO = (recipes.ROOT / "docs" / "model_zoo.md").read_text()


ROWS = re.findall(r"^\| \[(.+?)\]\(.*$", ZOO, re.MULTILINE)


def test_the_zoo_lists_every_recipe_once():
    assert sorted(ROWS) == sorted(recipes.RECIPES)


@every_recipe
def test_the_zoo_repeats_the_header(name):
    assert recipes.table_row(name) in ZOO.splitlines()


def test_the_readme_repeats_the_headers():
    readme = (recipes.ROOT / "README.md").read_text()
    for method in ("pgd", "standard"):
        [measured] = recipes.header(f"digits-{method}").results("Measured")
        clean, robust = (measured.accuracies[kind] for kind in ("clean", "PGD-20"))
        assert f"| {method} | swish | {clean} | {robust} |" in readme
    for activation, title in (("relu", "ReLU"), ("swish", "swish")):
        paper = recipes.header(f"imagenet-resnet50-{activation}").results("Published")[0].accuracies
        assert f"| ResNet-50, {title} | {paper['clean']} | {paper['PGD-200']} |" in readme


@pytest.mark.parametrize(
    "text, accuracies",
    [
        ("nothing (why)", {}),
        ("clean 69.7 (here (twice))", {"clean": "69.7"}),
        (
            "clean 99.7 ± 0.3, PGD-20 85.1 ± 0.7 (x)",
            {"clean": "99.7 ± 0.3", "PGD-20": "85.1 ± 0.7"},
        ),
        ("robust 58.6 (x)", {"robust": "58.6"}),
        ("AutoAttack 43.2, PGD-50x10 46.1 (x)", {"AutoAttack": "43.2", "PGD-50x10": "46.1"}),
    ],
)
def test_results_are_read(text, accuracies):
    assert recipes.Header("", {"Published": [text]}).results("Published")[0][0] == accuracies


@pytest.mark.parametrize(
    "text",
    [
        "clean 69.7",
        "69.7 (x)",
        "clean 69 (x)",
        "clean 69.7; PGD-10 43.0 (x)",
        "nothing",
        "pgd 3.0 (x)",
        "PGD-50x 3.0 (x)",
    ],
)
def test_other_forms_of_results_are_refused(text):
    with pytest.raises(AssertionError, match="not of the form"):
        recipes.Header("", {"Published": [text]}).results("Published")
