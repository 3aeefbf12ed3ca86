"""The reference in docs/api has every public name, and lays docstrings out as they are meant."""

import importlib.util
import inspect
import pathlib
import re
import sys
import types

import pytest

import sat_tf

ROOT = pathlib.Path(__file__).parents[1]
WINGS = ["activations", "attacks", "data", "evaluation", "models", "saved_models", "training"]


@pytest.fixture
def to_markdown(monkeypatch):
    """The function of the site's extension, whose parser is not a requirement of ours."""
    monkeypatch.setitem(sys.modules, "griffe", types.SimpleNamespace(Extension=object))
    spec = importlib.util.spec_from_file_location(
        "docstrings", ROOT / "docs" / "site" / "docstrings.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.to_markdown


@pytest.mark.parametrize("wing", WINGS)
def test_a_page_names_what_has_no_docstring_of_its_own(wing):
    """The others come from their docstrings, functions named as their file from their file's."""
    page = (ROOT / "docs" / "api" / f"{wing}.md").read_text()
    package = getattr(sat_tf, wing)
    assert f"\n::: sat_tf.{wing}\n" in page
    for name in package.__all__:
        thing = getattr(package, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            assert f"`{name}`" in page, name
        elif thing.__module__ == f"sat_tf.{wing}.{name}":
            assert f"::: sat_tf.{wing}.{name}.{name}\n" in page, name
        elif thing.__module__.startswith("sat_tf"):
            assert inspect.getdoc(thing), name


def test_the_first_page_of_the_reference_names_all_packages():
    page = (ROOT / "docs" / "api" / "sat_tf.md").read_text()
    linked = re.findall(r"\[(\w+)\]\(", page)
    assert set(linked) == set(sat_tf.__all__)


def test_help_has_the_map_of_public_names():
    text = inspect.getdoc(sat_tf)
    assert all(re.search(rf"^    {name}\b", text, re.MULTILINE) for name in sat_tf.__all__)


def test_sections_become_lists(to_markdown):
    text = to_markdown(
        """Returns the sum.

        Args:
          a, b: numbers, of any
            size.
          **more: ignored.
          None stands for 0.
        Returns: a float,
          never None.
        Raises: ValueError if not.
        """
    )
    assert text == (
        "Returns the sum.\n\n"
        "**Args:**\n\n- `a`, `b`: numbers, of any\n  size.\n- `**more`: ignored.\n\n"
        "None stands for 0.\n\n"
        "**Returns:** a float,\nnever None.\n\n"
        "**Raises:** ValueError if not."
    )


def test_code_is_fenced_indented_or_not(to_markdown):
    for indent in ("", "    "):
        text = to_markdown(f"Sums.\n\n{indent}import m\n{indent}m.add(1, 2)\n\nMore (here).")
        assert text == "Sums.\n\n```python\nimport m\nm.add(1, 2)\n```\n\nMore (here)."
