"""How far an evaluation has come, as it is shown."""

import io
import time

import numpy as np
import pytest
import tiny
from terminal import Terminal

from sat_tf import attacks, evaluation
from sat_tf.evaluation.work import Work
from sat_tf.runs.telling import AttackBars, attack_bars


@pytest.fixture
def told_always(monkeypatch):
    monkeypatch.setattr(attack_bars, "QUIET_SECONDS", 0)


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_each_attack_has_its_progress(stream, monkeypatch, told_always):
    monkeypatch.setattr("sys.stderr", stream)
    with AttackBars() as bars:
        for done in (8, 16, 24):
            bars.show("pgd-20", done, 24)
            bars._shown -= 1
        bars.show("square", 4, 8)
    text = stream.getvalue()
    assert ("\r" in text) == stream.isatty()
    assert "16/24 examples" in text and "examples/s" in text and "square" in text
    if not stream.isatty():  # in a log each state stays, on a line of its own
        names, _ = zip(*(line.split(":", 1) for line in text.splitlines()))
        assert list(dict.fromkeys(names)) == ["pgd-20", "square"]


def test_a_short_attack_is_not_worth_a_line(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with AttackBars() as bars:
        bars.show("fgsm", 8, 24)
        bars.show("fgsm", 24, 24)
    assert stream.getvalue() == ""


def test_what_is_left_is_told_from_passes_before_any_example_is_finished(monkeypatch, told_always):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with AttackBars() as bars:
        bars.show("apgd-ce", 0, 100)
        bars._since -= 10  # the attack began ten seconds ago
        bars.count(Work(made=100.0, left=50.0, later=6000.0))
        bars.show("apgd-ce", 0, 100)
    last = stream.getvalue().splitlines()[-1]
    assert "0/100" in last and "5.0 s left" in last
    assert "then up to 10 min" in last and "examples/s" not in last


def test_a_log_has_a_line_though_nothing_is_finished(monkeypatch, told_always):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with AttackBars() as bars:
        bars.show("apgd-ce", 0, 100)
        before = len(stream.getvalue())
        time.sleep(1.2)  # of a call to the devices that takes long
        assert len(stream.getvalue()) > before


def test_passes_left_fall_to_nothing_and_agree_with_what_is_made():
    model = tiny.network()
    images, labels = tiny.examples(24)
    ensemble = attacks.create("autoattack", epsilon=0.02, version="apgd-ce-10,square-30")
    told = []
    evaluation.Evaluator(
        lambda images: model(images, training=False), {"autoattack": ensemble}, seed=0
    )([(images[at : at + 8], labels[at : at + 8]) for at in (0, 8, 16)], on_work=told.append)
    parts = [work for work in told if work.later], [work for work in told if not work.later]
    for part, search in zip(parts, ensemble.stages.values()):
        made = [work.made for work in part]
        assert part and made == sorted(made) and part[-1].left == pytest.approx(0)
        assert made[-1] <= len(images) * evaluation.work.of_example(search) + 1e-6
    assert np.isclose(evaluation.work.at_most({"autoattack": ensemble}, 1), 0.5 + 11.5 + 15.5)
