"""How a run is cut into `fit` calls, its table, and the callbacks around them."""

import io
import math

import pytest
import report_samples
import tiny
from terminal import Terminal

from sat_tf import errors
from sat_tf.reports.results import format_table
from sat_tf.runs.training import epoch_segments
from sat_tf.training import AdversarialModel, callbacks, create


@pytest.mark.parametrize(
    "start, stop, expected",
    [
        (0, 12, [(0, 3, 4)]),
        (0, 2, [(0, 1, 2)]),
        (6, 12, [(1, 2, 2), (2, 3, 4)]),
        (6, 7, [(1, 2, 1)]),
        (5, 14, [(1, 2, 3), (2, 3, 4), (3, 4, 2)]),
        (12, 12, []),
    ],
)
def test_segments_take_every_step_once(start, stop, expected):
    assert list(epoch_segments(start, stop, 4)) == expected
    assert sum((last - first) * steps for first, last, steps in expected) == stop - start


def test_the_table_is_in_per_cent():
    table = format_table(
        {
            "clean_accuracy": 0.975,
            "robust_accuracy": {"pgd-20": 0.5},
            "examples": 40,
            "epsilon": 4 / 255,
            "step": 7,
        }
    )
    assert table.splitlines() == [
        "accuracy at step 7 on 40 examples, Linf epsilon 0.01569 (4/255)",
        "clean   97.50 %",
        "pgd-20  50.00 %",
    ]


def test_the_table_says_what_each_attack_has_broken():
    table = format_table(report_samples.results())
    assert [line.split() for line in table.splitlines()[1:]] == [
        line.split()
        for line in (
            "clean 98.89 %",
            "fgsm 88.61 % broke 37 of 356 in 0.4 s",
            "pgd-20 85.00 % broke 50 of 356 in 3.2 s",
            "autoattack 81.94 % broke 61 of 356 in 80.1 s",
            "apgd-ce 83.61 % broke 55 of 356 in 11.2 s",
            "apgd-t 81.94 % broke 6 of 301 in 41.5 s",
            "fab-t 81.94 % broke 0 of 295 in 19.5 s",
            "square 81.94 % broke 0 of 295 in 7.8 s",
            "pgd-20:parametric_softplus 86.11 %",
            "worst case 81.67 %",
        )
    ]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_progress_shows_loss_accuracies_and_speed(stream):
    model = AdversarialModel(tiny.network(), create("pgd", epsilon=0.1))
    model.compile("sgd")
    images, labels = tiny.examples(32)
    model.fit(
        images,
        labels,
        batch_size=8,
        epochs=2,
        verbose=0,
        callbacks=[callbacks.Throughput(8), callbacks.Progress(2, stream=stream)],
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
    ):
        assert part in text
    assert ("[" in text) == stream.isatty()  # the bar itself is for terminals
    assert "processor" not in text


def test_throughput_leaves_the_traced_step_out_of_both_speeds(monkeypatch):
    wall, used = iter((0.0, 100.0, 102.0, 104.0)), iter((0.0, 200.0, 204.0, 204.0))
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(wall))
    monkeypatch.setattr(callbacks.time, "process_time", lambda: next(used))
    throughput, logs = callbacks.Throughput(8), {}
    throughput.on_epoch_begin(0)
    throughput.on_train_batch_end(0, logs)
    assert not logs
    throughput.on_train_batch_end(1, logs)
    assert logs == {"images_per_second": 4.0, "images_per_processor_second": 2.0}
    throughput.on_epoch_end(0, logs)  # 8 images in 4 s, of which the last 2 did not compute
    assert logs == {"images_per_second": 2.0, "images_per_processor_second": 2.0}


def test_the_step_is_traced_once_over_epochs_and_batches():
    method = create("pgd", epsilon=0.1, num_steps=3)
    traces = []

    def perturb(*args):
        traces.append(args)
        return method.perturb(*args)

    model = AdversarialModel(tiny.network(), type(method)(perturb, method.loss, method.metrics))
    model.compile("sgd")
    images, labels = tiny.examples(32)
    for _ in range(2):
        model.fit(images, labels, batch_size=8, epochs=2, verbose=0)
    assert len(traces) == 1


def test_a_non_finite_loss_names_step_rate_and_checkpoint():
    class Saved:
        latest = "folder/checkpoint-at-step-3"

    model = AdversarialModel(tiny.network(), create("standard"))
    model.compile("sgd")
    stop = callbacks.StopOnNonFinite(Saved())
    stop.set_model(model)
    stop.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(errors.RunFailure, match=r"nan at step 0 \(learning rate 0.01\).*step-3"):
        stop.on_train_batch_end(1, {"loss": math.nan})
