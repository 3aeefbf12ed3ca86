"""The two ways a run ends badly, told apart by its exit status."""

import difflib
import re
from collections.abc import Iterable


class UserError(ValueError):
    """What the user can mend; the message is one line naming the flag, the value and the remedy."""

    # AutoGraph leaves such an exception as it is; in what it traces, one of our own would else
    # become a StagingError of many lines, which is no ValueError.
    ag_pass_through = True


class UnreadableData(UserError):
    """More examples than allowed cannot be read; what was trained until then is good."""


class RunFailure(RuntimeError):
    """The run itself failed, as when the loss is no longer finite; what it had saved is kept."""


class NonFinite(RunFailure, ValueError):
    """A network's outputs are NaN or infinite, so that there is nothing to report."""


class NotTrustworthy(RunFailure):
    """A robust accuracy would mean nothing, so it is not reported.

    `check` is the self-check that says so, by its name in docs/evaluation.md.
    """

    def __init__(self, check, text):
        super().__init__(f"{check.replace('_', ' ')}: {text}")
        self.check = check


def look_up(table: dict, kind: str, name):
    """Returns table[name]; ValueError lists the known names."""
    if name not in table:
        meant = did_you_mean(name, table)
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(table)}{meant}")
    return table[name]


def did_you_mean(name, known: Iterable[str]) -> str:
    """Returns "; did you mean X or Y?", the names most like one that is unknown, or ""."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), by_lower, n=2)
    return f"; did you mean {' or '.join(by_lower[one] for one in near)}?" if near else ""


def add(table: dict, kind: str, name: str, row):
    """Adds a row from outside to a table.

    Raises: ValueError for what is no name, and for a name that is taken.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][\w.-]*", name):
        raise ValueError(f"{kind} {name!r}: a name has letters, digits, -, _ and . only")
    if name in table:
        raise ValueError(f"{kind} {name!r} is there already: give yours another name")
    table[name] = row


def few(items) -> str:
    """Returns the first three of `items` and how many more there are, as text."""
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(map(str, items[:3])) + more or "none"


def one_line(error: BaseException) -> str:
    """Returns the message of `error` without line breaks, graph node names and tracebacks."""
    text = str(getattr(error, "message", None) or error)
    text = re.sub(r"\{\{.*?\}\} ?| ?\[Op:\w+\]( name:\s?\S*)?", "", text)
    first_lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(first_lines[:2])[:1000] or type(error).__name__
