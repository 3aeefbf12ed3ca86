"""The table of methods: what flags reach a method, and what it is said to cost."""

import re

import pytest
import tensorflow as tf

from flags import definitions, to_config
from sat_tf import training
from sat_tf.training import methods


def _config(*arguments):
    flags = definitions.define()
    definitions.parse(flags, ["main.py", *arguments])
    return to_config.to_config(flags)


def _made(monkeypatch, *arguments):
    """The keywords that the configured method is made with."""
    config = _config(*arguments)
    row = training.row(config.method.name)
    seen = {}
    monkeypatch.setitem(
        training.METHODS,
        config.method.name,
        type(row)(**{**vars(row), "make": lambda **settings: seen.update(settings)}),
    )
    training.build_method(config, compiled="none", loss_scale=1.0)
    return seen


def test_constants_reach_their_method(monkeypatch):
    seen = _made(
        monkeypatch,
        "--method=backward_smoothing",
        "--backward_smoothing_beta=3",
        "--backward_smoothing_gamma=0.5",
        "--epsilon=0.1",
    )
    assert (seen["beta"], seen["gamma"], seen["num_steps"], seen["step_size"]) == (3, 0.5, 1, 0.1)
    assert _made(monkeypatch, "--method=trades", "--trades_beta=2", "--num_steps=7") == {
        "beta": 2.0,
        "num_steps": 7,
        "epsilon": 0.2,
        "step_size": 0.2 / 7,
        "norm": "linf",
        "label_smoothing": 0.0,
        "compiled": "none",
        "loss_scale": 1.0,
    }


@pytest.mark.parametrize(
    "arguments, boundaries",
    [
        ((), (5, 30)),  # triangular: no sudden drops; the attack begins after five epochs
        (("--schedule=step", "--clean_epochs=0"), (0, 9, 18, 27, 30)),
        (("--schedule=late_step", "--epochs=110"), (18, 100, 105, 110)),
        (("--schedule=step", "--clean_epochs=10"), (10, 18, 27, 30)),
        (("--schedule=step", "--drops=1/2"), (5, 15, 30)),
        (("--schedule=triangular", "--drops=1/2"), (5, 30)),
    ],
)
def test_converge_smooth_knows_where_the_rate_jumps(monkeypatch, arguments, boundaries):
    seen = _made(monkeypatch, "--method=converge_smooth", *arguments)
    assert seen["boundaries"] == pytest.approx(boundaries)


@pytest.mark.parametrize("name", training.METHODS)
def test_every_method_is_built_from_the_command_line(name):
    method = training.build_method(_config(f"--method={name}"), compiled="none", loss_scale=1.0)
    assert method.bounds == (0.0, 1.0)


@pytest.mark.parametrize("name", training.METHODS)
def test_passes_are_those_that_run(name):
    """Counted forwards, two of them a pass; every one but the clean logits has its backward."""
    row = training.METHODS[name]
    steps = row.num_steps or 3
    settings = {"epsilon": 0.1} if row.attack_settings else {}
    if "num_steps" in row.attack_settings:
        settings["num_steps"] = steps
    method = training.create(name, **settings)
    if method.state is not None:
        method.state.build()
    counts = {
        "forward": tf.Variable(0, trainable=False),
        "backward": tf.Variable(0, trainable=False),
    }

    @tf.custom_gradient
    def counted(logits):
        counts["forward"].assign_add(1)

        def backward(upstream):
            counts["backward"].assign_add(1)
            return upstream

        return logits, backward

    weights = tf.Variable(tf.random.normal([12, 4]))

    def logits_fn(images):
        return counted(tf.reshape(images, [-1, 12]) @ weights)

    images, labels = tf.random.uniform([2, 2, 2, 3]), tf.constant([0, 1])
    adversarial = method.perturb(logits_fn, images, labels, tf.constant([0, 1]))
    with tf.GradientTape() as tape:
        loss, _ = method.loss(logits_fn, images, adversarial, labels)
    tape.gradient(loss, weights)
    assert sum(int(count.numpy()) for count in counts.values()) / 2 == row.passes(steps)


def test_the_documented_costs_are_the_tables():
    text = " ".join(methods.__doc__.split()).split("attack steps: ")[1]
    for name, cost in re.findall(r"`(\w+)` (K \+ [\d.]+|\d+)", text):
        more = re.fullmatch(r"K \+ ([\d.]+)", cost)
        expected = 10 + float(more.group(1)) if more else float(cost)
        assert training.METHODS[name].passes(10) == expected
