"""Lays the project's docstrings out in Markdown, for the pages of `docs/api`.

The sections of ours may begin on the line of their header (`Returns: a Result.`), need no empty
line above, and name several arguments at once; parsers of Google's style read them otherwise.
"""

import ast
import inspect
import re

import griffe

_HEADER = re.compile(r"(Args|Attributes|Returns|Raises|Reference):(?: (.*))?$")
_ENTRY = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)$")


class Sections(griffe.Extension):
    """Rewrites each docstring before it is rendered."""

    def on_object(self, *, obj, **unused):
        if obj.name == "__post_init__":  # what it raises, the class says
            obj.docstring = None
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text: str) -> str:
    """Returns the docstring with its sections as headed paragraphs and lists, code fenced."""
    lines = inspect.cleandoc(text).splitlines()
    starts = [number for number, line in enumerate(lines) if _HEADER.match(line)] or [len(lines)]
    parts = [_body(lines[: starts[0]])]
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        if start < end:
            header, first = _HEADER.match(lines[start]).groups()
            parts.append(_section(header, first, lines[start + 1 : end]))
    return "\n\n".join(filter(None, parts))


def _body(lines):
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip("\n"))
    return "\n\n".join(map(_fenced_if_code, paragraphs))


def _fenced_if_code(paragraph):
    code = inspect.cleandoc("\n" + paragraph)
    return f"```python\n{code}\n```" if _is_code(code) else paragraph


def _is_code(text):
    if not re.search(r"[(=]|import", text):
        return False
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _section(header, first, lines):
    own = inspect.cleandoc("\n" + "\n".join(lines)).splitlines()
    if first:
        return "\n".join([f"**{header}:** {first}", *own])
    listed = []
    for line in own:
        entry = _ENTRY.match(line)
        if entry:
            names = ", ".join(f"`{name}`" for name in entry[1].split(", "))
            listed.append(f"- {names}: {entry[2]}")
        elif line.startswith(" ") or not listed:
            listed.append(f"  {line.strip()}" if listed else line)
        else:  # a sentence on all of them
            listed.append(f"\n{line}")
    return f"**{header}:**\n\n" + "\n".join(listed)
