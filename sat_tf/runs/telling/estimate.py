"""How long a command will take and how much memory it needs, from what its first steps took."""

import math
import resource
import sys
import time

import tensorflow as tf

from sat_tf import distribution
from sat_tf.runs.telling import cost
from sat_tf.runs.telling.words import duration, size

_LONG_SECONDS = 3600
_MEASURED_SECONDS, _MEASURED_STEPS = 3, 2  # before the first estimate
# By so much of it, and by a minute, an estimate has to be another one to be said.
_CHANGED, _CHANGED_SECONDS = 0.2, 60
SHORTER = (
    "a smaller --model, fewer --num_steps, --train_steps or --train_examples, and to measure fewer "
    "--eval_examples, or --eval_attacks=clean,fgsm"
)


def peak_memory(kind: str) -> str:
    """Returns the most memory in use until now, of the process and of the first GPU."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = size(used if sys.platform == "darwin" else used * 1024)
    if kind == "GPU":
        text += f", and {size(tf.config.experimental.get_memory_info('GPU:0')['peak'])} of the GPU"
    return text


def sentences(training_seconds, evaluation_seconds, kind) -> list[str]:
    """Returns the estimate, and what to do where it is long on a CPU.

    Args:
      training_seconds: None where there is no training.
      evaluation_seconds: at most; 0 for nothing to measure.
      kind: "CPU", "GPU" or "TPU".
    """
    parts = []
    if training_seconds is not None:
        parts.append(f"training {duration(training_seconds)}")
    if evaluation_seconds:
        parts.append(f"evaluation up to {duration(evaluation_seconds)}")
    parts.append(f"peak memory so far {peak_memory(kind)}")
    found = [f"estimate of what is left: {', '.join(parts)}"]
    if kind == "CPU" and (training_seconds or 0) + evaluation_seconds > _LONG_SECONDS:
        found.append(f"that is more than an hour on a CPU; it is shorter with {SHORTER}")
    return found


class Estimate(tf.keras.callbacks.Callback):
    """Says after the first measured steps how long the run will take, and again when that changes.

    Training is told from the passes that are left and what a pass took, evaluation from the same,
    should no attack break any example.

    Args:
      config: the run's Config.
      strategy: where it runs.
      then_evaluates: whether the end is measured.
      stream: where; None means standard output.
    """

    def __init__(self, config, strategy, *, then_evaluates, stream=None):
        super().__init__()
        self._config, self._then_evaluates = config, then_evaluates
        self._kind = distribution.device_type(strategy)
        self._stream = stream or sys.stdout
        self._traced, self._said = False, None
        self._passes = self._seconds = self._measured = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._begun = int(self.model.global_step.numpy())
        attacked = epoch >= self._config.method.clean_epochs
        self._each = cost.passes_per_step(self._config, attacked=attacked)
        self._done, self._since = 0, time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        now, steps = time.monotonic(), batch + 1 - self._done
        if self._traced:
            self._measured += steps
            self._passes += steps * self._each
            self._seconds += now - self._since
        self._traced, self._done, self._since = True, batch + 1, now
        if (
            self._said is None
            and self._seconds >= _MEASURED_SECONDS
            and self._measured >= _MEASURED_STEPS
        ):
            self._say()

    def on_epoch_end(self, epoch, logs=None):
        ends = self._begun + self._done >= self._config.optimizer.train_steps
        if not self._passes or (ends and not self._then_evaluates):
            return
        if self._said is None or self._has_changed():
            self._say()

    def _has_changed(self):
        when, said = self._said
        expected = max(0.0, said - (time.monotonic() - when))
        return abs(sum(self._left()) - expected) > max(_CHANGED_SECONDS, _CHANGED * said)

    def _left(self):
        """Returns the seconds of training and of evaluation that are left."""
        pass_of_batch = self._seconds / self._passes
        step = self._begun + self._done
        measuring = cost.evaluation_passes(
            self._config, trains=True, then_evaluates=self._then_evaluates, begun=step
        )
        return (
            pass_of_batch * cost.training_passes(self._config, step),
            pass_of_batch / self._config.data.batch_size * measuring,
        )

    def _say(self):
        left = self._left()
        if not math.isfinite(sum(left)):
            return
        was_long = self._said is not None
        self._said = time.monotonic(), sum(left)
        first, *notes = sentences(*left, self._kind)
        print(first, file=self._stream, flush=True)
        for note in () if was_long else notes:
            print(f"note: {note}", file=sys.stderr, flush=True)
