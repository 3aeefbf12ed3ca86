"""A dry run: what a command would cost, from its graph and a few timed steps; nothing is written.

rehearse(run, subject, interruption)
"""

import time

import tensorflow as tf

from sat_tf import distribution
from sat_tf.runs import telling
from sat_tf.runs.telling import cost, estimate, phase
from sat_tf.runs.telling.words import large, size
from sat_tf.training import checkpoints

_TIMED_STEPS, _TIMED_SECONDS = 5, 20  # whichever is over first


def rehearse(run, subject, interruption):
    """Prints configuration, size and cost of a command, and how long it would take.

    Args:
      run: the open Run.
      subject: has its `mode`, `initial` and `resume`.
      interruption: an Interruption.
    Raises: UserError for what would be refused as well before the first step.
    """
    config, kind = run.config, distribution.device_type(run.strategy)
    trains, measures = "train" in subject.mode, "eval" in subject.mode
    begun = _begun(run, subject) if trains else 0
    print(f"configuration {config.to_json()}")
    with interruption.at_once():
        training_seconds, pass_seconds = None, None
        if trains:
            trained = run.prepare_training()
            trained.take(subject.initial if not begun else None)
            step_seconds = _time_steps(trained, config, interruption)
            pass_seconds = step_seconds / cost.passes_per_step(config) / config.data.batch_size
            training_seconds = (
                pass_seconds * config.data.batch_size * cost.training_passes(config, begun)
            )
            state = size(cost.size_in_bytes(trained.model.training_state))
        elif measures:
            with phase("timing the attacks' passes"):
                pass_seconds = run.measurement.seconds_per_pass()
        found = [*_network_rows(run), *([("checkpoint", state)] if trains else [])]
        if trains:
            found.insert(-1, ("a step", _step_cost(run)))
    for name, text in found:
        print(f"{name:14} {text}")
    if pass_seconds is not None:
        passes = cost.evaluation_passes(config, trains=trains, then_evaluates=measures, begun=begun)
        for line in estimate.sentences(training_seconds, pass_seconds * passes, kind):
            print(line)
    print("dry run: nothing was trained and nothing is written")


def _begun(run, subject):
    """Returns the step that training would go on from."""
    newest = checkpoints.latest_in(run.folder.checkpoints) if subject.resume else None
    return checkpoints.step_of(newest or "")


def _network_rows(run):
    classifier = getattr(run.network, "classifier", None)  # a SavedModel has none
    rows = [("parameters", f"{classifier.count_params():,}")] if classifier else []
    forward = cost.forward(run.network.logits_fn, run.config.model.image_size)
    if forward.operations:  # a SavedModel's are within functions that are not counted
        rows.append(
            (
                "an image",
                f"{large(forward.operations)}FLOP forward, {size(forward.moved_bytes)} moved",
            )
        )
    return rows


def _step_cost(run):
    config = run.config
    forward = cost.forward(run.network.logits_fn, config.model.image_size)
    forwards = cost.FORWARDS_PER_PASS * cost.passes_per_step(config) * config.data.batch_size
    return (
        f"{large(forwards * forward.operations)}FLOP, {size(forwards * forward.moved_bytes)} moved "
        f"by {cost.passes_per_step(config):g} passes of {config.data.batch_size:,} images, where "
        "nothing is fused"
    )


def _time_steps(trained, config, interruption):
    """Returns the seconds of a step with attack, the first aside, which is traced."""
    timer = _Timer()
    with telling.FirstStep(interruption) as first_step:
        trained.try_steps(
            1 + _TIMED_STEPS, epoch=config.method.clean_epochs, callbacks=[first_step, timer]
        )
    return timer.seconds_per_step


class _Timer(tf.keras.callbacks.Callback):
    """Measures the steps after the first, and ends when there are enough."""

    def on_train_begin(self, logs=None):
        self._ends = []

    def on_train_batch_end(self, batch, logs=None):
        self._ends.append((time.monotonic(), batch + 1))
        if len(self._ends) > 1 and self._ends[-1][0] - self._ends[0][0] > _TIMED_SECONDS:
            self.model.stop_training = True

    @property
    def seconds_per_step(self):
        (start, first), *_, (end, last) = self._ends
        return (end - start) / (last - first)
