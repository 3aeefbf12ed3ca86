"""One run from its configuration: train, measure, export, predict.

    run = Run(config, strategy, RunFolder("runs/example"))
    run.train(interruption)
    run.evaluate(interruption)
    run.export()

This is where the rooms meet; each of them works without it.
"""

import contextlib
import dataclasses
import functools
import sys
import time

import tensorflow as tf

from sat_tf import (
    data,
    distribution,
    export,
    models,
    predict,
    results,
    saved_model,
    summaries,
    weights,
)
from sat_tf.assessment import Assessment
from sat_tf.config import Config
from sat_tf.errors import UserError
from sat_tf.evaluation_progress import fingerprint
from sat_tf.measurement import Measurement, attack_form, exhibits
from sat_tf.run_folder import Rows, RunFolder
from sat_tf.saved_model import SavedClassifier
from sat_tf.training import checkpoints
from sat_tf.training_run import Training


class Run:
    """A configured run on a strategy, with its folder.

    `description` is of the data, None for asking; with `trains` False the training images are not
    read and need not be there.  The classifier is built on first use, in the strategy's scope, so
    that what cannot work is refused before minutes of building.  With `saved`, which has its own
    weights, that is measured, and nothing is built.
    """

    def __init__(
        self,
        config: Config,
        strategy: tf.distribute.Strategy,
        folder: RunFolder,
        description: data.Description | None = None,
        trains: bool = True,
        saved: SavedClassifier | None = None,
    ):
        self.config = config
        self.strategy = strategy
        self.folder = folder
        self.description = description or data.describe(config.data.name, config.data.data_dir)
        self._trains = trains
        distribution.check_divisible("eval_batch_size", config.evaluation.batch_size, strategy)
        self._training = None  # where the classifier holds what is being trained
        self._saved = saved
        self._checkpoint = saved and saved.path  # what the network's weights were read from
        self._kept = {}  # "best" and "last" -> the run's checkpoint, where it keeps both
        self._stop = None  # why training ended early
        self._rows = Rows(folder, config.optimizer.steps_per_epoch)
        self._measured = None  # what the last evaluation counted

    @functools.cached_property
    def source(self) -> data.Source:
        """The data; exporting and predicting do without."""
        settings = self.config.data
        return data.load(
            settings.name,
            settings.data_dir,
            download=settings.download,
            max_bad_records=settings.max_bad_records,
            eval_only=not self._trains,
        )

    def open_data(self):
        """Loads the data now: what is missing is said before minutes of building."""
        _ = self.source

    @functools.cached_property
    def classifier(self) -> tf.keras.Model:
        with self.strategy.scope():
            return models.build(self.config.model, seed=self.config.seed)

    def load_weights(self, initial=None):
        """Fills the classifier from a `weights.Initial`; None: from this run's.

        Of a run that keeps its best checkpoint, `config.evaluation.checkpoint` says whether that or
        the newest.  Where training keeps averaged weights, those are taken.
        Raises: UserError where there is no such checkpoint.
        """
        flag = "init_checkpoint" if initial else "model_dir"
        initial = initial or weights.Initial(self.folder.path)
        self._training = None
        self._kept = checkpoints.kept_of(initial.path)
        chosen = self.config.evaluation.checkpoint
        if not self._kept and chosen == "best" and checkpoints.is_run(initial.path):
            raise UserError(
                f"--eval_checkpoint=best: {initial.path} has none yet; train on, or "
                "give --eval_checkpoint=last"
            )
        initial = initial._replace(path=checkpoints.resolve(initial.path, flag, chosen))
        self._checkpoint = weights.load_initial(self.classifier, initial, flag)
        self._stop = checkpoints.stop_of(self._kept.get("last", self._checkpoint))

    def train(self, interruption, *, initial=None, resume=True, then_evaluates=False):
        """Trains to the configured step, from the run's newest checkpoint where there is one.

        The classifier is left with the weights that `config.evaluation.checkpoint` chooses.

        Args:
          interruption: an Interruption; once it is set, the state is saved and Interrupted raised.
          initial: the `weights.Initial` that a new run's weights start from, or None.
          resume: False replaces the run in the folder.
          then_evaluates: whether the caller measures the end, so that `eval_every` need not.
        Raises: RunFailure when the loss is not finite; UserError where the run is longer already.
        """
        distribution.check_divisible("batch_size", self.config.data.batch_size, self.strategy)
        self.open_data()
        self._training = Training(
            self.config, self.strategy, self.source, self.classifier, self.folder, self._rows
        )
        self._training.begin(description=self.description, initial=initial, resume=resume)
        self._training.fit(
            interruption,
            functools.partial(self._evaluate_now, interruption),
            then_evaluates=then_evaluates,
        )
        self._checkpoint, self._stop = self._training.checkpoint, self._training.stop
        if self.config.data.validation_examples:
            self.load_weights()

    def evaluate(self, interruption) -> dict:
        """Measures the classifier, the averaged one where training keeps it; returns the results.

        Of a run that keeps its best checkpoint, both that and the newest are measured.  The results
        are those of the one that is chosen, with both under "checkpoints".

        Writes results.json, a row of metrics.jsonl for each, TensorBoard's scalars and image grid,
        and the files of an `Assessment`; prints a table, and what makes the numbers doubtful.  An
        evaluation that was cut short is gone on with.
        """
        assessment = Assessment(
            self.config, self._measurement, self.folder, interruption, class_names=self._class_names
        )
        if not self._kept:
            measured = self._measure(assessment.accuracies)
        else:
            measured = self._measure_kept(assessment)
        self._report(measured)
        with self._evaluated_weights(), self.source.reading():
            assessment.write_adversarial(self._measured)
            curves = assessment.curves(self._fingerprint())
        assessment.write_report(self._measured, curves)
        assessment.forget()
        return measured

    def _measure_kept(self, assessment):
        chosen = self.config.evaluation.checkpoint
        measured = {}
        for name in sorted(self._kept, key=lambda name: name == chosen):  # it stays in place
            twin = self._measured_at(checkpoints.step_of(self._kept[name]), measured)
            self._checkpoint = weights.load_initial(
                self.classifier, weights.Initial(self._kept[name]), "model_dir"
            )
            measured[name] = (
                {**twin, "checkpoint": self._checkpoint}
                if twin
                else self._measure(assessment.accuracies)
            )
        return {
            **measured[chosen],
            "checkpoints": {name: measured[name] for name in ("best", "last")},
        }

    @staticmethod
    def _measured_at(step, measured):
        """Returns the results of that step, which need not be measured twice, or None."""
        return next((found for found in measured.values() if found["step"] == step), None)

    def _evaluate_now(self, interruption):
        """Measures what is being trained, as it is."""
        self._checkpoint = self._training.checkpoint
        self._report(
            self._measure(
                lambda fingerprint: (
                    self._measurement.accuracies(on_batch=lambda *unused: interruption.check()),
                    None,
                )
            )
        )

    def _measure(self, accuracies) -> dict:
        """Measures the classifier; adds to metrics.jsonl and TensorBoard.

        Args:
          accuracies: fingerprint of the weights -> evaluation.Result and warnings.
        """
        start, step = time.monotonic(), checkpoints.step_of(self._checkpoint or "")
        with self._evaluated_weights(), self.source.reading():
            result, warnings = accuracies(self._fingerprint())
        self._measured = result
        self._write_summaries(result, exhibits(result), step)
        measured = results.of(
            result, self.config, step=step, checkpoint=self._checkpoint, warnings=warnings
        )
        self._rows.append(
            "eval", step, {**measured, "evaluation_seconds": round(time.monotonic() - start, 3)}
        )
        return measured

    def _fingerprint(self):
        """Returns a text that is another one for other weights, settings or devices."""
        variables = () if self._saved else self.classifier.variables
        return fingerprint(
            [
                self.config.to_dict(),
                dataclasses.asdict(self.description),
                self.strategy.num_replicas_in_sync,
                distribution.device_type(self.strategy),
                *(saved and saved.fingerprint for saved in (self._saved, self._surrogate)),
            ],
            variables,
        )

    def _report(self, measured):
        if self._stop:
            measured = {**measured, "stopped": self._stop._asdict()}
        self.folder.write_results(measured)
        for name, column in measured.get("checkpoints", {"": measured}).items():
            for warning in column.get("warnings", ()):
                of = f" ({name} checkpoint)" if name else ""
                print(f"warning: {warning['name']}{of}: {warning['text']}", file=sys.stderr)
        print(results.format_table(measured), flush=True)

    @functools.cached_property
    def _measurement(self):
        return Measurement(
            self.config,
            self.strategy,
            self.source,
            self._logits,
            surrogate=self._surrogate and self._surrogate.logits_fn,
            differentiable=(self._saved is None or self._saved.differentiable),
            **attack_form(self.config, self.strategy),
        )

    @functools.cached_property
    def _surrogate(self):
        """Returns the SavedClassifier that --transfer_from names, or None."""
        path = self.config.evaluation.transfer_from
        if not path:
            return None
        if RunFolder(path).stored_config("transfer_from") is not None:
            path = RunFolder(path).saved_model
        size, classes = self.config.model.image_size, self.config.model.num_classes
        with self.strategy.scope():
            surrogate = saved_model.load(path, image_size=size, flag="transfer_from")
        saved_model.check_surrogate(surrogate, image_size=size, num_classes=classes)
        return surrogate

    def _logits(self, images):
        if self._saved:
            return self._saved.logits_fn(images)
        return tf.cast(self.classifier(images, training=False), tf.float32)

    @property
    def _class_names(self):
        """The data set's names, unless the network was given another number of classes."""
        names = self.description.class_names
        return names if len(names) == self.config.model.num_classes else ()

    def _evaluated_weights(self):
        return (
            self._training.model.evaluated_weights() if self._training else contextlib.nullcontext()
        )

    def _write_summaries(self, result, exhibits, step):
        with (
            self.folder.writing("tensorboard"),
            summaries.create_writer(self.folder.tensorboard, "eval") as writer,
        ):
            summaries.write_scalars(writer, summaries.accuracies("eval", result), step)
            if exhibits is not None:
                summaries.write_grid(writer, *exhibits, self._class_names, step)

    def export(self):
        """Writes the SavedModel of the evaluated weights; returns its path."""
        description = self.description
        with self._evaluated_weights(), self.folder.writing("saved_model"):
            export.export(
                self.classifier,
                self.folder.saved_model,
                image_size=self.config.model.image_size,
                crop_padding=description.crop_padding,
                class_names=self._class_names,
            )
        print(f"exported {self.folder.saved_model}")
        return self.folder.saved_model

    def predict(self, interruption, pattern: str, output=None):
        """Writes file, class and probability of every image `pattern` names, as CSV."""
        description = self.description
        on_replica = tf.function(lambda images: tf.nn.softmax(self._logits(images)))

        def probabilities(images):
            interruption.check()
            answers = self.strategy.run(on_replica, args=(images,))
            return self.strategy.experimental_local_results(answers)[0]

        path = output or self.folder.predictions
        try:
            rows = predict.predict_files(
                probabilities,
                pattern,
                image_size=self.config.model.image_size,
                crop_padding=description.crop_padding,
                class_names=self._class_names,
                batch_size=self.config.evaluation.batch_size,
                output=path,
            )
        except OSError as error:  # unreadable images are named before anything is written
            raise UserError(
                f"--output={path}: cannot be written: {error.strerror}; name another file"
            ) from error
        print(f"wrote {rows} rows to {path}")
