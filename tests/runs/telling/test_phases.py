"""What a command is at, with seconds."""

import io
import time

import pytest
from terminal import Terminal

from sat_tf.runs.telling import phase, phases


def test_what_takes_a_moment_is_worth_a_line_only_where_something_was_found():
    stream = io.StringIO()
    with phase("looking", stream):
        pass
    with phase("counting", stream) as counting:
        counting.found = "3 things"
    assert stream.getvalue() == "counting: 0.0 s, 3 things\n"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_seconds_are_said_while_it_goes_on_and_at_the_end(stream, monkeypatch):
    monkeypatch.setattr(phases, "_FIRST_LINE_SECONDS", 1)
    with phase("building", stream):
        time.sleep(1.3)
    text = stream.getvalue()
    if stream.isatty():
        assert text.startswith("\r\033[Kbuilding ... 1.0 s\r\033[Kbuilding: 1.")
    else:
        assert text.startswith("building ... 1.0 s so far\nbuilding: 1.")


def test_what_fails_is_not_said_to_be_done():
    stream = Terminal()
    with pytest.raises(KeyError), phase("building", stream) as building:
        building.found = "nothing"
        raise KeyError
    assert stream.getvalue() == "\r\033[K"
