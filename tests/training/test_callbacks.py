"""What is measured around training, and where a loss that is not finite ends it."""

import math

import pytest
import tiny

from sat_tf import errors
from sat_tf.config import SavingConfig
from sat_tf.training import AdversarialModel, callbacks, create


def test_throughput_leaves_the_traced_step_out_of_both_speeds(monkeypatch):
    wall, used = iter((0.0, 100.0, 102.0, 104.0)), iter((0.0, 200.0, 204.0, 204.0))
    monkeypatch.setattr(callbacks.throughput.time, "monotonic", lambda: next(wall))
    monkeypatch.setattr(callbacks.throughput.time, "process_time", lambda: next(used))
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


@pytest.mark.parametrize("steps, expected", [(3, [3, 6, 9]), (4, [4, 8]), (20, [])])
def test_states_are_saved_within_epochs_but_not_at_their_end(steps, expected):
    saved, done = [], [0]
    every = callbacks.SaveEvery(lambda: saved.append(done[0]), SavingConfig(str(steps)).interval)
    every.set_params({"steps": 10})
    every.on_epoch_begin(0)
    for batch in range(10):
        done[0] = batch + 1
        every.on_train_batch_end(batch)
    assert saved == expected


def test_an_interval_may_be_a_time():
    assert SavingConfig("30min").interval == (None, 1800.0)
    assert SavingConfig("1.5h").interval == (None, 5400.0)
    assert not SavingConfig("0").is_on and SavingConfig("500").interval == (500, None)
