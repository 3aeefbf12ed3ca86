"""How long a run will take, from what its first steps took."""

import io

import pytest
from flag_values import resolve

from sat_tf import evaluation
from sat_tf.runs.telling import Estimate, cost, estimate

# 4 epochs of 4 steps of 16 images, the first without attack.
SHORT = (
    "--train_examples=64",
    "--batch_size=16",
    "--epochs=4",
    "--clean_epochs=1",
    "--num_steps=3",
    "--eval_examples=100",
    "--eval_attacks=clean,pgd-10",
)


class _Clock:
    now = 0.0

    def monotonic(self):
        return self.now


class _Model:
    """As much of a model as an estimate looks at."""

    class global_step:
        value = 0

        @classmethod
        def numpy(cls):
            return cls.value


@pytest.mark.parametrize(
    "flags, passes",
    [
        (("--method=standard",), 1),
        (("--method=standard", "--sam_rho=0.1"), 2),
        (("--method=pgd", "--num_steps=7"), 8),
        (("--method=pgd", "--num_steps=7", "--sam_rho=0.1"), 9),
        (("--method=fast",), 2),
        (("--method=trades", "--num_steps=10"), 12.5),
        (("--method=converge_smooth",), 3),
    ],
)
def test_a_step_costs_the_passes_of_its_method(flags, passes):
    assert cost.passes_per_step(resolve(*flags)) == passes


def test_what_is_left_counts_clean_epochs_and_all_that_is_measured():
    config = resolve(*SHORT)
    assert cost.training_passes(config) == 4 * 1 + 12 * 4
    assert cost.training_passes(config, begun=2) == 2 * 1 + 12 * 4
    assert cost.training_passes(config, begun=15) == 4
    once = 100 * (0.5 + 10.5)
    measured = {"trains": True, "then_evaluates": True}
    assert cost.evaluation_passes(config, **measured) == once
    assert cost.evaluation_passes(config, trains=True, then_evaluates=False) == 0
    each_epoch = resolve(*SHORT, "--eval_every=1", "--validation_examples=16")
    held_out = 16 * (0.5 + 10.5)
    # Three of 48 examples in an epoch; best and last are both measured at the end.
    epochs = -(-each_epoch.optimizer.train_steps // each_epoch.optimizer.steps_per_epoch)
    assert cost.evaluation_passes(each_epoch, **measured) == (epochs * (once + held_out) + 2 * once)
    curves = resolve(*SHORT, "--curves=restarts", "--curve_attack=pgd-5")
    assert cost.evaluation_passes(curves, **measured) == once + 100 * (0.5 + 10 * 5.5)


def test_more_attacks_are_more_work():
    def passes(attacks, *flags):
        config = resolve(*SHORT, f"--eval_attacks={attacks}", *flags)
        return cost.evaluation_passes(config, trains=False, then_evaluates=True) / 100

    assert passes("pgd-10x3") == 0.5 + 3 * 10.5
    assert passes("square-100") == 0.5 + 50.5
    assert passes("apgd-ce-10-eot4") == 0.5 + 4 * 11 + 0.5
    assert passes("pgd-10", "--attack_gradient=softplus", "--activation=relu") == 0.5 + 2 * 10.5
    assert passes("autoattack") > 1000
    assert evaluation.work.at_most({"clean": None}, 10) == 5


@pytest.fixture
def told(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(estimate, "time", clock)

    def steps(seconds, config, *, epoch=1, then_evaluates=True, told=None):
        """Returns the callback after an epoch whose steps took so long, each."""
        if told is None:
            told = Estimate(config, None, then_evaluates=then_evaluates, stream=io.StringIO())
            told.set_model(_Model())
        _Model.global_step.value = 4 * epoch
        told.on_epoch_begin(epoch)
        for batch, taken in enumerate(seconds):
            clock.now += taken
            told.on_train_batch_end(batch)
        told.on_epoch_end(epoch)
        return told

    monkeypatch.setattr(estimate.distribution, "device_type", lambda strategy: "CPU")
    return steps


def test_it_is_said_after_the_first_measured_steps_of_all_that_is_left(told, capsys):
    said = told((100, 2, 2), resolve(*SHORT))._stream.getvalue()
    assert said.count("\n") == 1
    # Two steps of four passes took 4 s: half a second a pass of 16; 9 steps are left, of the 7 of
    # which the estimate was made; 1,100 passes of one example for the evaluation.
    seconds = cost.training_passes(resolve(*SHORT), begun=7) * 0.5
    measuring = 1100 * 0.5 / 16
    assert f"training {seconds:.0f} s, evaluation up to {measuring:.0f} s" in said
    assert "peak memory so far" in said
    assert not capsys.readouterr().err


def test_it_is_renewed_where_it_has_changed(told):
    config = resolve(*SHORT, "--epochs=40")
    first = told((100, 2, 2, 2), config)
    told((2, 2, 2, 2), config, epoch=2, told=first)
    assert first._stream.getvalue().count("\n") == 1
    told((30, 30, 30, 30), config, epoch=3, told=first)
    assert first._stream.getvalue().count("\n") == 2


def test_an_hour_on_a_cpu_is_said_with_what_shortens_it(told, capsys):
    told((100, 300, 300), resolve(*SHORT))
    note = capsys.readouterr().err
    assert note.startswith("note: that is more than an hour on a CPU") and note.count("\n") == 1
    for flag in ("model", "num_steps", "train_steps", "train_examples", "eval_examples"):
        assert f"--{flag}" in note
    assert "--eval_attacks" in note
