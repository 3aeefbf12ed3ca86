"""The recipes in flags/recipes: their resolved settings, and what their headers say.

A header is the comments on top of a recipe: a title, then entries `# Label: text`, which go on in
lines that begin with `#   `.  Entries with results read

    # Published: clean 69.7, PGD-10 43.0, PGD-20 42.2 (release README)
    # Published: nothing (why)

that is accuracies in per cent with the attack each was measured under (PGD-50x10 with ten restarts,
AutoAttack), `robust` where the attack is not known, and in parentheses where they are from and how
certain they are.
"""

import pathlib
import re
from typing import NamedTuple

from flags import definitions, to_config

ROOT = pathlib.Path(__file__).parents[1]
RECIPES = {path.stem: path for path in sorted((ROOT / "flags" / "recipes").glob("*.flags"))}
REQUIRED = ("Source", "Published", "Command", "Hardware", "Facts", "Assumptions")
OPTIONAL = ("Measured", "Not reproduced")
NOTHING = "–"  # in the table, where there is no number

_NUMBER = r"[0-9]+\.[0-9]+(?: ± [0-9]+\.[0-9]+)?"
_ACCURACY = rf"(?:clean|robust|AutoAttack|PGD-[0-9]+(?:x[0-9]+)?) {_NUMBER}"
_RESULT = re.compile(rf"(?P<values>nothing|{_ACCURACY}(?:, {_ACCURACY})*) \((?P<origin>.+)\)")


class Result(NamedTuple):
    """One entry of results: {"clean" or attack: accuracy as it is written}, and its origin."""

    accuracies: dict[str, str]
    origin: str


class Header(NamedTuple):
    title: str
    entries: dict[str, list[str]]

    def results(self, label):
        """Returns the parsed entries under `Published` or `Measured`."""
        return [_result(text) for text in self.entries.get(label, [])]


def _result(text):
    match = _RESULT.fullmatch(text)
    assert match, f"not of the form of a result: {text}"
    if match["values"] == "nothing":
        return Result({}, match["origin"])
    pairs = [accuracy.split(" ", 1) for accuracy in match["values"].split(", ")]
    return Result(dict(pairs), match["origin"])


def header(name: str) -> Header:
    """Returns the parsed header of a recipe; AssertionError where its form is another."""
    lines = RECIPES[name].read_text().split("\n--", 1)[0].splitlines()
    assert all(line.startswith("# ") and len(line) <= 100 for line in lines), name
    title, *texts = re.sub(r"\n#   ", " ", "\n".join(lines)).split("\n")
    entries = {}
    for text in texts:
        label, _, content = text[2:].partition(": ")
        assert label in REQUIRED + OPTIONAL and content, f"{name}: {text}"
        entries.setdefault(label, []).append(content)
    return Header(title[2:], entries)


def _flags(*arguments):
    flags = definitions.define()
    definitions.parse(flags, ["main.py", *arguments])
    return flags


def _network_in(folder):
    """The network of the recipe whose run has `folder` by default: no recipe has been run here."""
    [name] = [
        name
        for name, path in RECIPES.items()
        if to_config.default_model_dir(_flags(f"--flagfile={path}")) == folder
    ]
    return config(name).model


def resolve(*arguments: str):
    """Returns the Config of a command line; paths in it are relative to the working folder.

    A run that --sparta_from names is that of a recipe, and need not be there.
    """
    flags = _flags(*arguments)
    return to_config.to_config(
        flags, learnt=_network_in(flags.sparta_from) if flags.sparta_from else None
    )


def config(name: str):
    """Returns the Config of a recipe."""
    return resolve(f"--flagfile={RECIPES[name]}")


def _clean(results):
    return "; ".join(result.accuracies.get("clean", NOTHING) for result in results)


def _robust(results):
    return "; ".join(
        ", ".join(
            f"{accuracy} ({'attack not named' if attack == 'robust' else attack})"
            for attack, accuracy in result.accuracies.items()
            if attack != "clean"
        )
        or NOTHING
        for result in results
    )


def table_row(name: str) -> str:
    """Returns the recipe's row of docs/model_zoo.md."""
    model, top = config(name).model, header(name)
    published, measured = top.results("Published"), top.results("Measured")
    activation = model.activation
    if model.activation_alpha is not None:
        activation += f" (alpha {model.activation_alpha:g})"
    cells = (
        f"[{name}](../flags/recipes/{name}.flags)",
        model.name,
        activation,
        model.image_size,
        _clean(published),
        _robust(published),
        "; ".join(r.origin for r in published),
        _clean(measured),
        _robust(measured),
    )
    return "| " + " | ".join(map(str, cells)) + " |"
