"""One run from its configuration: train, measure, export, predict.

    run = Run(config, strategy, RunFolder("runs/example"))
    run.train(interruption)
    run.evaluate(interruption)
    run.export()

This is where the rooms meet; each of them works without it.
"""

import contextlib
import functools
import math
import sys
import time
from typing import Optional

import tensorflow as tf

from sat_tf import attacks, data, distribution, export, models, predict, summaries, training
from sat_tf.config import Config
from sat_tf.errors import UnreadableData, UserError
from sat_tf.interruption import Interrupted
from sat_tf.measurement import Measurement
from sat_tf.run_folder import RunFolder
from sat_tf.training import callbacks, checkpoints


def epoch_segments(start: int, stop: int, steps_per_epoch: int):
    """Yields (initial_epoch, epochs, steps_per_epoch) of the `fit` calls from `start` to `stop`.

    Whole epochs go into one call; an epoch begun before an interruption, or cut by the end of
    training, gets one of its own.
    """
    while start < stop:
        epoch, offset = divmod(start, steps_per_epoch)
        whole = (stop - start) // steps_per_epoch
        if offset or not whole:
            steps = min(steps_per_epoch - offset, stop - start)
            yield epoch, epoch + 1, steps
            start += steps
        else:
            yield epoch, epoch + whole, steps_per_epoch
            start += whole * steps_per_epoch


class Run:
    """A configured run on a strategy, with its folder.

    `description` is of the data, None for asking; with `trains` False the training images are not
    read and need not be there.  The classifier is built on first use, in the strategy's scope, so
    that what cannot work is refused before minutes of building.
    """

    def __init__(self, config: Config, strategy: tf.distribute.Strategy, folder: RunFolder,
                 description: Optional[data.Description] = None, trains: bool = True):
        self.config = config
        self.strategy = strategy
        self.folder = folder
        self.description = description or data.describe(config.data.name, config.data.data_dir)
        self._trains = trains
        distribution.check_divisible("eval_batch_size", config.evaluation.batch_size, strategy)
        self._model = None  # the AdversarialModel, in training only
        self._checkpoint = None  # what the classifier's weights were read from
        self._step = 0
        self._start = time.monotonic()

    @functools.cached_property
    def source(self) -> data.Source:
        """The data; exporting and predicting do without."""
        settings = self.config.data
        return data.load(settings.name, settings.data_dir, download=settings.download,
                         max_bad_records=settings.max_bad_records, eval_only=not self._trains)

    def open_data(self):
        """Loads the data now: what is missing is said before minutes of building."""
        _ = self.source

    @functools.cached_property
    def classifier(self) -> tf.keras.Model:
        with self.strategy.scope():
            return models.build(self.config.model, seed=self.config.seed)

    def load_weights(self, initial=None):
        """Fills the classifier from a `checkpoints.Initial`; None: from this run's newest.

        Where training keeps averaged weights, those are taken.
        """
        flag = "init_checkpoint" if initial else "model_dir"
        initial = initial or checkpoints.Initial(self.folder.path)
        prefix = checkpoints.find(initial.path, flag)
        checkpoints.load_classifier(self.classifier, prefix, flag, channels=initial.channels,
                                    averaged=initial.averaged)
        self._checkpoint, self._step = prefix, checkpoints.step_of(prefix)

    def train(self, interruption, *, initial=None, resume=True, then_evaluates=False):
        """Trains to the configured step, from the run's newest checkpoint where there is one.

        Args:
          interruption: an Interruption; once it is set, the state is saved and Interrupted raised.
          initial: the `checkpoints.Initial` that a new run's weights start from, or None.
          resume: False replaces the run in the folder.
          then_evaluates: whether the caller measures the end, so that `eval_every` need not.
        Raises: RunFailure when the loss is not finite; UserError where the run is longer already.
        """
        distribution.check_divisible("batch_size", self.config.data.batch_size, self.strategy)
        self.open_data()
        with self.strategy.scope():
            method = training.build_method(
                self.config, compiled=self._compiled_form(), loss_scale=self._loss_scale())
            self._model = training.build(self.config, self.classifier, method)
        goes_on = resume and tf.train.latest_checkpoint(self.folder.checkpoints) is not None
        if initial and goes_on:
            print("note: the run goes on from its own checkpoint; --init_checkpoint is not read",
                  file=sys.stderr)
        elif initial:
            self.load_weights(initial)
            self._model.restart_average()
        if not resume:
            self.folder.clear()
        saved = checkpoints.Checkpoints(self._model.training_state, self.folder.checkpoints)
        if saved.restore():
            print(f"continuing from {saved.latest}", flush=True)
        self._step = int(self._model.global_step.numpy())
        if self._step > self.config.optimizer.train_steps:
            raise UserError(f"--train_steps={self.config.optimizer.train_steps}: the run is at step "
                            f"{self._step} already; give at least that, or another --model_dir")
        self.folder.start(self.config, self.description,
                          initial._asdict() if initial and not goes_on else None)
        self._start -= self.folder.forget_metrics_after(self._step)
        with self._writer("train") as writer:
            self._fit(saved, writer, interruption, then_evaluates)
        self._checkpoint = saved.latest

    def _fit(self, saved, writer, interruption, then_evaluates):
        settings = self.config.optimizer
        with self.folder.writing("tensorboard"):
            summaries.write_config(writer, self.config.to_json())
        record = callbacks.Record(self.folder, writer, self._append_row)
        throughput = callbacks.Throughput(self.config.data.batch_size)
        epochs_in_all = math.ceil(settings.train_steps / settings.steps_per_epoch)
        try:
            for first, last, steps in epoch_segments(
                    self._step, settings.train_steps, settings.steps_per_epoch):
                every_epoch = [
                    throughput,
                    callbacks.StopOnNonFinite(saved),
                    callbacks.Progress(epochs_in_all),
                    record,
                    callbacks.SaveState(saved, self.folder),
                    *self._evaluate_every(saved, interruption, then_evaluates),
                    callbacks.CheckInterruption(interruption)]
                with self.source.reading():
                    self._model.fit(
                        self._training_batches(), initial_epoch=first, epochs=last,
                        steps_per_epoch=steps, verbose=0, callbacks=every_epoch)
                self._step = int(self._model.global_step.numpy())
        except (Interrupted, UnreadableData) as stop:
            self._step = int(self._model.global_step.numpy())
            with self.folder.writing("a checkpoint"):
                prefix = saved.save(self._step)
            if isinstance(stop, Interrupted):
                print(f"saved {prefix}; the same command goes on from there", file=sys.stderr)
            raise

    def _compiled_form(self):
        return attacks.compiled_form(
            self.config.distribution.xla, distribution.device_type(self.strategy))

    def _loss_scale(self):
        """The release's factor where float16 would round small input gradients to zero."""
        return 128.0 if self.config.distribution.precision == "float16" else 1.0

    def _training_batches(self):
        settings = self.config.data
        return distribution.deal(self.strategy, settings.batch_size, functools.partial(
            data.training_batches, self.source, batch_size=settings.batch_size,
            image_size=self.config.model.image_size, augment=settings.augment,
            seed=self.config.seed, start_step=self._step, num_examples=settings.train_examples,
            randaugment_layers=settings.randaugment_layers,
            randaugment_magnitude=settings.randaugment_magnitude))

    def _writer(self, part):
        with self.folder.writing("tensorboard"):
            return summaries.create_writer(self.folder.tensorboard, part)

    def _evaluate_every(self, saved, interruption, then_evaluates):
        def evaluate():
            self._step, self._checkpoint = int(self._model.global_step.numpy()), saved.latest
            if not (then_evaluates and self._step == self.config.optimizer.train_steps):
                self.evaluate(interruption)

        every = self.config.evaluation.every
        return [callbacks.Evaluate(evaluate, every)] if every else []

    def evaluate(self, interruption) -> dict:
        """Measures the classifier, the averaged one where training keeps it; returns the results.

        Writes results.json, a row of metrics.jsonl, and TensorBoard's scalars and image grid, and
        prints a table.
        """
        start = time.monotonic()
        with self._evaluated_weights(), self.source.reading():
            result = self._measurement.accuracies(on_batch=lambda *unused: interruption.check())
            exhibits = self._measurement.exhibits()
        self._write_summaries(result, exhibits)
        results = {
            "clean_accuracy": result.clean_accuracy, "robust_accuracy": result.robust_accuracy,
            "examples": result.examples, "epsilon": self.config.attack.epsilon,
            "step": self._step, "checkpoint": self._checkpoint}
        self.folder.write_results(results)
        self._append_row("eval", self._step,
                         {**results, "evaluation_seconds": round(time.monotonic() - start, 3)})
        print(format_table(results), flush=True)
        return results

    def _append_row(self, kind, step, values):
        """Adds a row to metrics.jsonl; its seconds are those the run has taken, pauses left out."""
        self.folder.append_metrics({
            "kind": kind, "step": step,
            "epoch": round(step / self.config.optimizer.steps_per_epoch, 3),
            "seconds": round(time.monotonic() - self._start, 3), **values})

    @functools.cached_property
    def _measurement(self):
        return Measurement(self.config, self.strategy, self.source, self._logits,
                           compiled=self._compiled_form(), loss_scale=self._loss_scale())

    def _logits(self, images):
        return tf.cast(self.classifier(images, training=False), tf.float32)

    @property
    def _class_names(self):
        """The data set's names, unless the network was given another number of classes."""
        names = self.description.class_names
        return names if len(names) == self.config.model.num_classes else ()

    def _evaluated_weights(self):
        return self._model.evaluated_weights() if self._model else contextlib.nullcontext()

    def _write_summaries(self, result, exhibits):
        scalars = {"eval/clean_accuracy": result.clean_accuracy}
        for name, accuracy in result.robust_accuracy.items():
            tag = name.replace("-", "_").replace(":", "/")
            scalars[f"eval/robust_accuracy/{tag}"] = accuracy
        with self._writer("eval") as writer, self.folder.writing("tensorboard"):
            summaries.write_scalars(writer, scalars, self._step)
            if exhibits is not None:
                summaries.write_grid(writer, *exhibits, self._class_names, self._step)

    def export(self):
        """Writes the SavedModel of the evaluated weights; returns its path."""
        description = self.description
        with self._evaluated_weights(), self.folder.writing("saved_model"):
            export.export(
                self.classifier, self.folder.saved_model,
                image_size=self.config.model.image_size, crop_padding=description.crop_padding,
                class_names=self._class_names)
        print(f"exported {self.folder.saved_model}")
        return self.folder.saved_model

    def predict(self, interruption, pattern: str, output=None):
        """Writes file, class and probability of every image `pattern` names, as CSV."""
        description = self.description
        on_replica = tf.function(lambda images: tf.nn.softmax(self._logits(images)))

        def probabilities(images):
            interruption.check()
            results = self.strategy.run(on_replica, args=(images,))
            return self.strategy.experimental_local_results(results)[0]

        path = output or self.folder.predictions
        try:
            rows = predict.predict_files(
                probabilities, pattern,
                image_size=self.config.model.image_size, crop_padding=description.crop_padding,
                class_names=self._class_names,
                batch_size=self.config.evaluation.batch_size, output=path)
        except OSError as error:  # unreadable images are named before anything is written
            raise UserError(f"--output={path}: cannot be written: {error.strerror}; name another "
                            "file") from error
        print(f"wrote {rows} rows to {path}")


def format_table(results: dict) -> str:
    """Returns the accuracies of a results dictionary as a small table, in per cent."""
    rows = [("clean", results["clean_accuracy"]), *results["robust_accuracy"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:{width}}  {100 * accuracy:6.2f} %" for name, accuracy in rows]
    epsilon = results["epsilon"]
    title = (f"accuracy at step {results['step']} on {results['examples']} examples, "
             f"Linf epsilon {epsilon:.4g} ({epsilon * 255:.3g}/255)")
    return "\n".join([title, *lines])
