"""What is seen of training while it goes on."""

import io

import pytest
import tiny
from terminal import Terminal

from sat_tf.runs.telling import TrainingBar, training_bar
from sat_tf.training import AdversarialModel, callbacks, create


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_progress_shows_loss_accuracies_speed_and_what_is_left(stream):
    model = AdversarialModel(tiny.network(), create("pgd", epsilon=0.1))
    model.compile("sgd")
    images, labels = tiny.examples(32)
    with TrainingBar(2, 8, stream=stream) as bar:
        model.fit(
            images,
            labels,
            batch_size=8,
            epochs=2,
            verbose=0,
            callbacks=[callbacks.Throughput(8), bar],
        )
    text = stream.getvalue()
    for part in (
        "epoch 1/2",
        "epoch 2/2",
        "loss ",
        "clean accuracy ",
        "adversarial accuracy ",
        " %",
        "images/s ",
        " left",
    ):
        assert part in text
    assert ("[" in text) == stream.isatty()  # the bar itself is for terminals
    assert "processor" not in text
    assert " left" not in text.splitlines()[-1].split("\r")[-1]  # it is over


class _Model:
    """As much of a model as a bar looks at."""

    class global_step:
        numpy = staticmethod(lambda: 10)


class _Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(training_bar, "time", clock)
    return clock


@pytest.fixture
def bar(clock):
    bar = TrainingBar(3, 30, stream=io.StringIO())
    bar.set_model(_Model())
    bar.set_params({"steps": 10})
    bar.on_epoch_begin(1)
    return bar


def end_step(bar, clock, batch, now):
    clock.now = now
    bar.on_train_batch_end(batch, {"loss": 1.0, "images_per_second": 0.0471})


def test_a_log_has_a_line_within_an_epoch_and_rates_have_digits(bar, clock):
    end_step(bar, clock, 0, 700.0)
    end_step(bar, clock, 1, 720.0)
    bar._beat()
    line = bar._stream.getvalue()
    # 20 s a step: 8 steps are left of the epoch, 18 of training.
    assert line == (
        "epoch 2/3 2/10  loss 1.0000  images/s 0.047  2 min 40 s left of the epoch  6 min left\n"
    )
    clock.now = 749.0
    bar._beat()
    assert bar._stream.getvalue() == line  # the next is due in 30 s
    clock.now = 751.0
    bar._beat()
    assert bar._stream.getvalue().endswith("(31 s since the last step)\n")


def test_a_signal_is_answered_with_what_ending_takes(bar, clock):
    assert bar.ending(None) == "saving after the step under way"
    end_step(bar, clock, 0, 700.0)
    end_step(bar, clock, 1, 720.0)
    assert bar.ending(1.5) == (
        "saving after the step under way, which takes 20 s; the last state was saved in 1.5 s"
    )
