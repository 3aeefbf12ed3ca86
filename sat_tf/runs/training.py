"""The training of a run: from its newest state to the last step, epoch by epoch.

    training = Training(config, strategy, source, classifier, folder, rows)
    training.begin()
    training.fit(interruption, evaluate=lambda: None)

What happens at the end of an epoch has an order.  The decisions about it (`epoch_end`) come before
the state is saved, so that a saved state always holds them; what they put on disk before that is
taken back by a run that goes on from an older state.
"""

import contextlib
import functools
import sys

from sat_tf import data, distribution, training
from sat_tf.errors import UnreadableData, UserError
from sat_tf.interruption import Interrupted
from sat_tf.reports import summaries
from sat_tf.runs import activation_transfer, telling, weights, workers
from sat_tf.runs.epoch_end import EpochEnd
from sat_tf.runs.recording import Recording
from sat_tf.runs.segments import epoch_segments
from sat_tf.runs.states import States
from sat_tf.runs.training_measurement import TrainingMeasurement
from sat_tf.training import Collapse, Stop, callbacks, checkpoints


class Training:
    """The training of a run's classifier.

    Args:
      config, strategy, source, classifier, folder: the run's.
      rows, board: the `metrics.Rows` and the `board.Board` of the folder.

    Attributes:
      model: the AdversarialModel around the classifier.
    """

    def __init__(self, config, strategy, source, classifier, folder, rows, board):
        self._config = config
        self._strategy = strategy
        self._source = source
        self._folder = folder
        self._rows, self._board = rows, board
        form = training.attack_form(config, distribution.device_type(strategy))
        with strategy.scope():
            self.model = training.build(config, classifier, training.build_method(config, **form))
        settings = config.data
        self._batches = functools.partial(
            data.training_batches,
            source,
            batch_size=settings.batch_size,
            image_size=config.model.image_size,
            augment=settings.augment,
            seed=config.seed,
            num_examples=settings.train_examples,
            held_out=settings.validation_examples,
            randaugment_layers=settings.randaugment_layers,
            randaugment_magnitude=settings.randaugment_magnitude,
        )
        self._recording = Recording(config, strategy, self.model, self._batches)
        self._decisions = EpochEnd(
            config,
            self.model,
            TrainingMeasurement(
                config, strategy, source, self.model.logits, training_batches=self._batches
            ),
            folder,
            rows,
        )

    @property
    def step(self) -> int:
        return int(self.model.global_step.numpy())

    @property
    def checkpoint(self) -> str:
        """The newest checkpoint's path prefix."""
        return self._states.latest

    @property
    def stop(self) -> Stop | None:
        """Why training goes no further, where that is not its length."""
        return self._decisions.stop

    def evaluated_weights(self):
        """Returns a context within which the classifier has the weights that are evaluated."""
        return self.model.evaluated_weights()

    def begin(self, *, description, initial=None, resume=True):
        """Takes up the newest state in the folder, or makes it a new run's.

        Args:
          description: of the data, for config.json.
          initial: the `weights.Initial` that a new run's weights start from, or None.
          resume: False replaces the run in the folder.
        Raises: UserError where the run is longer already.
        """
        goes_on = resume and checkpoints.latest_in(self._folder.checkpoints) is not None
        if initial and goes_on:
            print(
                "note: the run goes on from its own checkpoint; --init_checkpoint is not read",
                file=sys.stderr,
            )
        elif not goes_on:
            self.take(initial)
        if not resume:
            self._folder.replace()
        self._restore()
        workers.check_same(self._strategy, self._folder, f"a run at step {self.step}")
        length = self._config.optimizer.train_steps
        if self.step > length:
            raise UserError(
                f"--train_steps={length}: the run is at step {self.step} already; give "
                "at least that, or another --model_dir"
            )
        self._folder.start(
            self._config, description, initial._asdict() if initial and not goes_on else None
        )
        self._decisions.forget_after(self.step)
        self._rows.go_on_from(self.step)
        self._board.go_on_from(self.step)

    def take(self, initial):
        """Fills a new run's weights from the checkpoint and the activations that were named.

        Args:
          initial: the `weights.Initial`, or None.
        """
        learnt = self._config.model.sparta_from
        if initial:
            prefix = weights.load_initial(self.model.classifier, initial)
            print(f"began with the weights of {prefix}", flush=True)
        if learnt:
            names, prefix = activation_transfer.transfer(self.model.classifier, learnt)
            repeated = sum(name != there for name, there in names.items())
            print(
                f"took {len(names)} activations from {prefix}, {repeated} of them from the last "
                "block of a group",
                flush=True,
            )
        if initial or learnt:
            self.model.restart_average()

    def _restore(self):
        state = self.model.training_state
        self._decisions.belong_to(state)
        keep = self._config.saving.keep
        self._states = States(state, self._folder, self._decisions, keep)
        if self._states.restore():
            print(f"continuing from {self._states.latest}", flush=True)

    def fit(self, interruption, evaluate, *, then_evaluates=False):
        """Trains to the configured step, unless `stop` says why not.

        Args:
          interruption: an Interruption; once it is set, the state is saved and Interrupted raised.
          evaluate: called without arguments after every `eval_every` epochs.
          then_evaluates: whether the caller measures the end, so that `evaluate` need not.
        Raises: RunFailure when the loss is not finite.
        """
        self._interruption, self._begun_at = interruption, self.step
        with contextlib.ExitStack() as writers:
            self._part = writers.enter_context(self._board.part("train"))
            self._decisions.begin(
                interruption,
                writers.enter_context(
                    self._board.part("validation")
                    if self._config.data.validation_examples
                    else contextlib.nullcontext()
                ),
            )
            self._board.write_settings(self._config)
            self._part.write(summaries.write_config, self._config.to_json())
            recorded = writers.enter_context(self._recording.callbacks(self._part, self._folder))
            bar = writers.enter_context(telling.TrainingBar.of(self._config))
            shown = writers.enter_context(telling.FirstStep(interruption)), bar
            writers.enter_context(interruption.doing(lambda: bar.ending(self._states.seconds)))
            estimate = telling.Estimate(self._config, self._strategy, then_evaluates=then_evaluates)
            every_epoch = self._callbacks((*shown, estimate, *recorded), evaluate, then_evaluates)
            try:
                with self._source.reading():
                    self._fit_epochs(every_epoch)
            except Collapse as collapse:
                self._states.undo_epoch(collapse.accuracy)
            except (Interrupted, UnreadableData) as stop:
                self._save_unfinished(stop)
                raise
            if self.stop:
                self._report_stop()

    def _fit_epochs(self, every_epoch):
        settings = self._config.optimizer
        self._decide_what_is_open()
        for first, last, steps in epoch_segments(
            self.step, settings.train_steps, settings.steps_per_epoch
        ):
            if self.stop:
                return
            self.model.epochs.assign(first)  # an epoch that was cut is gone on with
            self._fit_steps(first, last, steps, every_epoch)

    def _fit_steps(self, first, last, steps, every_epoch):
        batches = distribution.deal(
            self._strategy,
            self._config.data.batch_size,
            functools.partial(self._batches, start_step=self.step),
        )
        self.model.fit(
            batches,
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            verbose=0,
            callbacks=every_epoch,
        )

    def try_steps(self, steps: int, *, epoch: int, callbacks: list):
        """Makes so many steps, or calls of several, as in an epoch; keeps nothing on disk.

        The weights are then those of no run.
        """
        steps *= self._config.distribution.steps_per_execution
        self.model.epochs.assign(epoch)
        with self._source.reading():
            self._fit_steps(epoch, epoch + 1, steps, callbacks)

    def _callbacks(self, shown, evaluate, then_evaluates):
        config = self._config
        settings = config.optimizer
        every, saving = config.evaluation.every, config.saving

        def evaluate_unless_last():
            is_last = self.step == settings.train_steps or self.stop
            if not (then_evaluates and is_last):
                evaluate()

        decide, decisions = callbacks.AtEpochEnd, self._decisions
        return [
            callbacks.Throughput(config.data.batch_size),
            callbacks.StopOnNonFinite(self._states),
            *shown,
            *([decide(decisions.look_for_collapse)] if config.method.catastrophic_drop else []),
            decide(self._show_graph),
            *([decide(self._look_at_attack)] if config.method.name != "standard" else []),
            callbacks.Record(self._rows.append, self._part.scalars),
            *([decide(decisions.validate)] if config.data.validation_examples else []),
            callbacks.SaveState(self._states.save),
            *([callbacks.SaveEvery(self._save_between, saving.interval)] if saving.is_on else []),
            *([callbacks.Evaluate(evaluate_unless_last, every)] if every else []),
            callbacks.CheckInterruption(self._interruption),
        ]

    def _show_graph(self, epoch, unused_logs):
        if epoch == 0:  # not before the first step, which waits for enough
            self._part.graph(self.model.logits, self._config.model.image_size)

    def _look_at_attack(self, epoch, logs):
        if epoch >= self._config.method.clean_epochs:
            logs.update(self._recording.attack_strength())

    def _decide_what_is_open(self):
        still_open = self._decisions.open()
        for decide in still_open:
            decide()
        if still_open:
            self._states.save(self.step)

    def _save_between(self):
        return self._states.save_between(self.step)

    def _save_unfinished(self, stop):
        if isinstance(stop, Interrupted) and self.step == self._begun_at:
            print("no step was done: the same command begins where this one did", file=sys.stderr)
            return
        prefix = self._save_between()
        if isinstance(stop, Interrupted):
            print(f"saved {prefix}; the same command goes on from there", file=sys.stderr)

    def _report_stop(self):
        # The same folder would stop again, and takes no other settings.
        remedy = (
            f"; to train on from there: --init_checkpoint={self.checkpoint} --model_dir=NEW "
            "--catastrophic_drop=0"
            if self.stop.by == "catastrophic_drop"
            else ""
        )
        print(
            f"stopped at step {self.step} by --{self.stop.by}: {self.stop.reason}{remedy}",
            flush=True,
        )
        self._rows.append("stopped", self.step, self.stop._asdict())
        self._part.write(summaries.write_note, "stopped", self.stop.reason, self.step)
