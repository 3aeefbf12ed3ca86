"""What is decided at the end of an epoch: has robustness collapsed, and is this the best state.

decisions = EpochEnd(config, model, measurement, folder, rows)
decisions.belong_to(model.training_state)            # what is remembered is a part of it
decisions.begin(interruption, validation_writer)
for decide in decisions.open():                      # what an interruption has left undecided
    decide()
"""

import functools
import time

from sat_tf.reports import summaries
from sat_tf.training import Collapse, Stop, Watch, checkpoints


class EpochEnd:
    """The decisions of a run; of one that watches nothing, there are none.

    Args:
      config: the run's Config.
      model: the AdversarialModel.
      measurement: the TrainingMeasurement.
      folder: the RunFolder, where the best state is kept.
      rows: the `metrics.Rows` of the folder.

    Attributes:
      watch: the Watch, or None where nothing is watched.
    """

    def __init__(self, config, model, measurement, folder, rows):
        self._config = config
        self._model = model
        self._measurement = measurement
        self._folder = folder
        self._rows = rows
        watches = config.data.validation_examples or config.method.catastrophic_drop
        self.watch = Watch() if watches else None

    def belong_to(self, state):
        """Makes what is remembered a part of a training state, of which the best are kept."""
        if self.watch:
            state.watch = self.watch
        self._best = checkpoints.Checkpoints(state, self._folder.best)

    def forget_after(self, step: int):
        """Removes the best states of later steps, which no state from there on knows of."""
        self._best.forget_after(step)

    def begin(self, interruption, validation):
        """Gives what `fit` has: an Interruption, and the `board.Part` of what is measured."""
        self._interruption = interruption
        self._part = validation

    @property
    def stop(self) -> Stop | None:
        """Why training goes no further, where that is not its length."""
        return self.watch and self.watch.stop(
            self._config.evaluation.patience,
            at_end=self._step >= self._config.optimizer.train_steps,
        )

    @property
    def step_to_go_back_to(self) -> int | None:
        """The step that the state would be taken back to now."""
        return int(self.watch.batch_step) if self.watch else None

    @property
    def _step(self):
        return int(self._model.global_step.numpy())

    def look_for_collapse(self, epoch, logs):
        """Raises Collapse where accuracy on the first batch has fallen by too much.

        It is the trained weights that are measured, not their average, which would notice late.
        """
        if epoch < self._config.method.clean_epochs:
            return
        accuracy = self._measurement.first_batch()
        logs["first_batch_robust_accuracy"] = accuracy
        if self.watch.is_collapse(accuracy, drop=self._config.method.catastrophic_drop):
            raise Collapse(accuracy)
        self.watch.note_batch(accuracy, step=self._step)

    def validate(self, epoch, unused_logs):
        """Measures the examples held out; keeps the state if it is the best.

        It is judged by the lowest of the accuracies under attack: with a replaced derivative there
        are several, and one of them may only look high.
        """
        start = time.monotonic()
        with self._model.evaluated_weights():
            result = self._measurement.held_out(on_batch=lambda *unused: self._interruption.check())
        is_best = self.watch.note_validation(
            min(result.robust_accuracy.values()),
            step=self._step,
            counts=epoch >= self._config.method.clean_epochs,
        )
        if is_best:
            with self._folder.writing("the best checkpoint"):
                self._best.save(self._step)
        self._model.stop_training = self.stop is not None
        self._report(result, is_best, time.monotonic() - start)

    def _report(self, result, is_best, seconds):
        robust = "  ".join(
            f"{name} {100 * value:.1f} %" for name, value in result.robust_accuracy.items()
        )
        print(
            f"validation on {result.examples} examples: clean accuracy "
            f"{100 * result.clean_accuracy:.1f} %  {robust}"
            f"{' (the highest so far)' if is_best else ''}",
            flush=True,
        )
        self._rows.append(
            "validation",
            self._step,
            {
                "clean_accuracy": result.clean_accuracy,
                "robust_accuracy": result.robust_accuracy,
                "examples": result.examples,
                "best_step": int(self.watch.best_step),
                "validation_seconds": round(seconds, 3),
            },
        )
        self._part.scalars(summaries.accuracies(result), self._step)

    def open(self) -> list:
        """Returns what an interruption at the end of an epoch has left to be decided about it."""
        settings, step = self._config.optimizer, self._step
        at_end = step > 0 and (step % settings.steps_per_epoch == 0 or step == settings.train_steps)
        if not self.watch or not at_end or self.stop:
            return []
        epoch = (step - 1) // settings.steps_per_epoch
        decisions = []
        if (
            self._config.method.catastrophic_drop
            and self.watch.batch_step != step
            and epoch >= self._config.method.clean_epochs
        ):
            decisions.append(functools.partial(self.look_for_collapse, epoch, {}))
        if self._config.data.validation_examples and self.watch.validated_step != step:
            decisions.append(functools.partial(self.validate, epoch, {}))
        return decisions
