"""A run as TensorBoard shows it: what is written of it, and what is taken back.

board = Board(folder)
board.go_on_from(step)
with board.part("train") as part:
    part.scalars({"loss": 0.7}, step)
"""

import contextlib

import tensorflow as tf

from sat_tf.config import flag_values
from sat_tf.reports import events, hparams, summaries
from sat_tf.runs.measurement import exhibited_attack


class Board:
    """The event files of a run's folder; each access says what a full disk means.

    Args:
      folder: the RunFolder.
    """

    def __init__(self, folder):
        self._folder = folder

    def go_on_from(self, step: int):
        """Takes back what was written of later steps, which are about to be taken again."""
        with self._writing():
            events.forget(
                self._folder.tensorboard,
                lambda part, of_step, tag: of_step > step or tag in ("config", "stopped"),
            )

    def write_settings(self, config):
        """Writes the run's row of the table of hyperparameters."""
        with self._writing():
            hparams.write(self._folder.tensorboard, flag_values(config))

    @contextlib.contextmanager
    def part(self, name: str):
        """Yields a `Part` of the run, one of `events.PARTS`, which is closed at the end."""
        with self._writing():
            opened = events.create_writer(self._folder.tensorboard, name)
        with opened as writer:
            yield Part(writer, self._writing)

    def write_evaluation(self, result, shown, *, class_names, step: int, best: float):
        """Writes what was measured at a step, in the place of what was measured there before.

        Args:
          result: an `evaluation.Result`.
          shown: what `measurement.exhibits` returns.
          class_names: in label order, or ().
          step: of the weights.
          best: the highest robust accuracy of the run's evaluations before.
        """
        scalars = summaries.accuracies(result)
        if result.robust_accuracy:
            scalars[hparams.BEST] = max(best, result.worst_case_accuracy)
        with self._writing():
            events.forget(
                self._folder.tensorboard,
                lambda part, of_step, tag: (
                    part == "eval" and of_step == step and tag in {*scalars, summaries.GRID}
                ),
            )
        with self.part("eval") as part:
            part.scalars(scalars, step)
            if shown is not None:
                attack = exhibited_attack(result)
                part.write(summaries.write_grid, *shown, class_names, step, attack=attack)

    def _writing(self):
        return self._folder.writing("tensorboard")


class Part:
    """The open event file of one part of a run.

    Attributes:
      writer: the summary writer.
    """

    def __init__(self, writer, writing):
        self.writer, self._writing = writer, writing

    def write(self, function, *arguments, **options):
        """Calls a function of `reports.summaries` with the writer."""
        with self._writing():
            function(self.writer, *arguments, **options)

    def scalars(self, values: dict, step: int):
        """Writes {name: number}."""
        self.write(summaries.write_scalars, values, step)

    def graph(self, logits_fn, image_size: int):
        """Writes the graph of a network, of float32 [N, S, S, 3] images."""
        images = tf.TensorSpec([None, image_size, image_size, 3], tf.float32)
        traced = tf.function(logits_fn, autograph=False).get_concrete_function(images)
        self.write(summaries.write_graph, traced.graph)
