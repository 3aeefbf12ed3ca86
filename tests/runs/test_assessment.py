"""How far an evaluation has come, as it is shown."""

import io

import pytest
from terminal import Terminal

from sat_tf.runs import assessment


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_each_attack_has_its_progress(stream, monkeypatch):
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(assessment, "_QUIET_SECONDS", 0)
    with assessment._Bars() as bars:
        for done in (8, 16, 24):
            bars.show("pgd-20", done, 24)
        bars.show("square", 4, 8)
    text = stream.getvalue()
    assert "\x1b" not in text and ("\r" in text) == stream.isatty()
    if not stream.isatty():  # in a log each state stays, on a line of its own
        names, states = zip(*(line.split(":", 1) for line in text.splitlines()))
        assert list(dict.fromkeys(names)) == ["pgd-20", "square"]
        assert any("16/24" in state and "examples/s" in state for state in states)


def test_a_short_attack_is_not_worth_a_line(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with assessment._Bars() as bars:
        bars.show("fgsm", 8, 24)
        bars.show("fgsm", 24, 24)
    assert stream.getvalue() == ""
