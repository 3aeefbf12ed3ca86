"""One command's work: train, measure, export, predict.

    run = Run(config, strategy, RunFolder("runs/example"), description, network)
    run.train(interruption)
    run.evaluate(interruption)
    run.export()

This is where the rooms meet; each of them works without it.
"""

import dataclasses
import functools
import os
import sys
import time

import tensorflow as tf

from sat_tf import data, distribution, evaluation, saved_models
from sat_tf.config import Config
from sat_tf.reports import results
from sat_tf.runs import predict, weights, workers
from sat_tf.runs.assessment import Assessment
from sat_tf.runs.board import Board
from sat_tf.runs.folder import RunFolder
from sat_tf.runs.measurement import Measurement, exhibits
from sat_tf.runs.metrics import Rows
from sat_tf.runs.telling import AttackBars, phase
from sat_tf.runs.training import Training


class Run:
    """A network with its settings, on a strategy, with a folder for what comes of it.

    Args:
      config: all settings.
      strategy: where it runs.
      folder: where files are written.
      description: of the data.
      network: what is worked on, see `networks`.
      trains: whether the training images are read; else they need not be there.
    Raises: UserError where the evaluation's batches do not divide over the replicas.
    """

    def __init__(
        self,
        config: Config,
        strategy: tf.distribute.Strategy,
        folder: RunFolder,
        description: data.Description,
        network,
        *,
        trains: bool = True,
    ):
        distribution.check_divisible(
            "eval_batch_size", config.evaluation.batch_size, distribution.local_replicas(strategy)
        )
        self.config = config
        self.strategy = strategy
        self.folder = folder
        self.description = description
        self.network = network
        self._trains = trains
        self._rows = Rows(folder, config.optimizer.steps_per_epoch)
        self._board = Board(folder)

    @functools.cached_property
    def source(self) -> data.Source:
        """The data; exporting and predicting do without."""
        settings = self.config.data
        with phase(f"loading {settings.name}"):
            source = data.load(
                settings.name,
                settings.data_dir,
                download=settings.download,
                max_bad_records=settings.max_bad_records,
                eval_only=not self._trains,
            )
        # The description says what the network's logits stand for.
        return data.with_classes(source, self.description.class_names)

    def open_data(self):
        """Loads the data now: what is missing is said before minutes of building."""
        _ = self.source

    def load_weights(self, initial: weights.Initial | None = None):
        """Fills the network from a checkpoint; None: from this run's own."""
        flag = "init_checkpoint" if initial else "model_dir"
        self.network.load(
            initial or weights.Initial(self.folder.place),
            flag=flag,
            chosen=self.config.evaluation.checkpoint,
        )
        found = os.path.basename(self.network.checkpoint)
        workers.check_same(self.strategy, self.folder, f"the checkpoint {found}")

    def train(self, interruption, *, initial=None, resume=True, then_evaluates=False):
        """Trains to the configured step, from the run's newest checkpoint where there is one.

        The network is left with the weights that `config.evaluation.checkpoint` chooses.

        Args:
          interruption: an Interruption; once it is set, the state is saved and Interrupted raised.
          initial: the `weights.Initial` that a new run's weights start from, or None.
          resume: False replaces the run in the folder.
          then_evaluates: whether the caller measures the end, so that `eval_every` need not.
        Raises: RunFailure when the loss is not finite; UserError where the run is longer already.
        """
        with interruption.at_once():
            training = self.prepare_training()
        with self.folder.undoing():
            training.begin(description=self.description, initial=initial, resume=resume)
            self.network.follow(training)
            training.fit(
                interruption,
                functools.partial(self._evaluate_now, interruption),
                then_evaluates=then_evaluates,
            )
        if self.config.data.validation_examples:
            self.load_weights()

    def prepare_training(self) -> Training:
        """Returns the training of the network, which has not begun; nothing is on disk."""
        distribution.check_divisible(
            "batch_size", self.config.data.batch_size, self.strategy.num_replicas_in_sync
        )
        self.open_data()
        return Training(
            self.config,
            self.strategy,
            self.source,
            self.network.classifier,
            self.folder,
            self._rows,
            self._board,
        )

    def evaluate(self, interruption) -> dict:
        """Measures the network, the averaged one where training keeps it; returns the results.

        Of a run that keeps its best checkpoint, both that and the newest are measured.  The
        results are those of the one that is chosen, with both under "checkpoints".

        Writes results.json, a row of metrics.jsonl for each, TensorBoard's scalars and image grid,
        and the files of an `Assessment`; prints a table, and what makes the numbers doubtful.  An
        evaluation that was cut short is gone on with.
        """
        assessment = Assessment(
            self.config, self.measurement, self.folder, interruption, self.network
        )
        measure = self._measure_versions if self.network.versions else self._measure
        measured, result = measure(assessment.accuracies)
        self._report({**measured, **self.network.facts()})
        with self.network.evaluated(), self.source.reading():
            assessment.write_adversarial(result)
            curves = assessment.curves(self._fingerprint())
        assessment.write_report(result, curves)
        assessment.forget()
        return measured

    def _measure_versions(self, accuracies):
        """Measures the checkpoints that the run keeps, the chosen one last, so that it stays.

        Two of the same step need not be measured twice.
        """
        chosen = self.config.evaluation.checkpoint
        by_step, measured, result = {}, {}, None
        for name in sorted(self.network.versions, key=lambda name: name == chosen):
            self.network.take(name)
            step = self.network.step
            if step not in by_step:
                by_step[step], result = self._measure(accuracies)
            measured[name] = {**by_step[step], "checkpoint": self.network.checkpoint}
        return {
            **measured[chosen],
            "checkpoints": {name: measured[name] for name in ("best", "last")},
        }, result

    def _evaluate_now(self, interruption):
        """Measures what is being trained, as it is."""
        measured, _ = self._measure(
            lambda fingerprint: (
                self.measurement.accuracies(on_batch=lambda *unused: interruption.check()),
                None,
            )
        )
        self._report(measured)

    def _measure(self, accuracies):
        """Measures the network; adds to metrics.jsonl and TensorBoard.

        Args:
          accuracies: fingerprint of the weights -> evaluation.Result and warnings.
        Returns: what results.json says of it, and the Result.
        """
        start, step = time.monotonic(), self.network.step
        with self.network.evaluated(), self.source.reading():
            result, warnings = accuracies(self._fingerprint())
        self._board.write_evaluation(
            result,
            exhibits(result),
            class_names=self.network.class_names,
            step=step,
            best=self._rows.highest("eval", "worst_case_accuracy"),
        )
        measured = results.of(
            result.to_dict(),
            self.config,
            step=step,
            checkpoint=self.network.checkpoint,
            warnings=warnings,
        )
        seconds = round(time.monotonic() - start, 3)
        self._rows.append("eval", step, {**measured, "evaluation_seconds": seconds})
        return measured, result

    def _fingerprint(self):
        """Returns a text that is another one for other weights, settings or devices."""
        settings = [
            self.config.to_dict(),
            dataclasses.asdict(self.description),
            self.strategy.num_replicas_in_sync,
            distribution.device_type(self.strategy),
            *(surrogate.fingerprint for surrogate in self._surrogates.values()),
        ]
        return self.network.fingerprint(settings)

    def _report(self, measured):
        self.folder.write_results(measured)
        for name, column in measured.get("checkpoints", {"": measured}).items():
            for warning in column.get("warnings", ()):
                of = f" ({name} checkpoint)" if name else ""
                print(f"warning: {warning['name']}{of}: {warning['text']}", file=sys.stderr)
        print(evaluation.format_table(measured), flush=True)

    @functools.cached_property
    def measurement(self) -> Measurement:
        """What measures the network."""
        surrogates = {label: saved.logits_fn for label, saved in self._surrogates.items()}
        return Measurement(self.config, self.strategy, self.source, self.network, surrogates)

    @functools.cached_property
    def _surrogates(self):
        """The SavedClassifier that --transfer_from names, as {"transfer": it}; {} for none."""
        path = self.config.evaluation.transfer_from
        if not path:
            return {}
        if RunFolder(path).stored_config("transfer_from") is not None:
            path = RunFolder(path).saved_model
        size, classes = self.config.model.image_size, self.config.model.num_classes
        with self.strategy.scope():
            surrogate = saved_models.load(path, image_size=size, flag="transfer_from")
        saved_models.check_surrogate(surrogate, image_size=size, num_classes=classes)
        return {"transfer": saved_models.aligned(surrogate, self.network.class_names)}

    def export(self) -> str:
        """Writes the SavedModel of the evaluated weights; returns its path."""
        with phase("exporting"), self.network.evaluated(), self.folder.writing("saved_model"):
            saved_models.export(
                self.network.classifier,
                self.folder.saved_model,
                image_size=self.config.model.image_size,
                crop_padding=self.description.crop_padding,
                class_names=self.network.class_names,
            )
        print(f"exported {self.folder.saved_model}")
        return self.folder.saved_model

    def predict(self, interruption, pattern: str, output=None, *, top: int = 1):
        """Writes file, class and probability of every image `pattern` names, as CSV.

        Args:
          interruption: an Interruption, checked between the batches; the rows until then stay.
          pattern, top: see `predict.predict_files`.
          output: the CSV, a path or a text stream; None for predictions.csv of the folder.
        """
        on_replica = tf.function(lambda images: tf.nn.softmax(self.network.logits_fn(images)))

        def probabilities(images):
            interruption.check()
            answers = self.strategy.run(on_replica, args=(images,))
            return self.strategy.experimental_local_results(answers)[0]

        with AttackBars() as bars:
            said = predict.predict_and_say(
                probabilities,
                pattern,
                image_size=self.config.model.image_size,
                crop_padding=self.description.crop_padding,
                class_names=self.network.class_names,
                batch_size=self.config.evaluation.batch_size,
                output=output or self.folder.predictions,
                top=min(top, self.config.model.num_classes),
                max_bad=self.config.data.max_bad_records,
                on_batch=functools.partial(bars.show, "predicting"),
            )
        print(said)
