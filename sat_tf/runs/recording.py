"""What TensorBoard gets of a training beside metrics: the attack, weights, gradients, a profile.

recording = Recording(config, strategy, model, first_batch)
logs.update(recording.attack_strength())
with recording.callbacks(part, folder) as callbacks: model.fit(..., callbacks=callbacks)
"""

import contextlib
import functools
import os

import numpy as np
import tensorflow as tf

from sat_tf.files import plain
from sat_tf.reports import summaries

_EXAMPLES = 128  # of the first training batch that are looked at


class Recording:
    """Looks at a training, without changing anything of it.

    Args:
      config: the run's Config.
      strategy: where it runs.
      model: the AdversarialModel.
      batches: called without arguments, returns the batches of the run from its first step on.
    """

    def __init__(self, config, strategy, model, batches):
        self._config, self._strategy, self._model = config, strategy, model
        self._batches = batches

    @functools.cached_property
    def _first_batch(self):
        images, labels = next(iter(self._batches().take(1)))
        return images[:_EXAMPLES], labels[:_EXAMPLES]

    def attack_strength(self) -> dict:
        """Returns what the attack does to images of the first training batch, {name: float}.

        The images, and the attack's start, are the same each time, so that epochs compare.
        """
        return {f"attack_{name}": float(value) for name, value in self._run(self._strength).items()}

    def gradient_norms(self) -> dict:
        """Returns the L2 norm of the loss' gradient on the first batch, {variable: float}."""
        names = (variable.name for variable in self._model.classifier.trainable_variables)
        return {name: float(norm) for name, norm in zip(names, self._run(self._norms))}

    def _run(self, traced):
        results = self._strategy.run(traced, args=self._first_batch)
        return tf.nest.map_structure(
            lambda value: self._strategy.experimental_local_results(value)[0], results
        )

    @functools.cached_property
    def _strength(self):
        seed = tf.constant([self._config.seed, 0], tf.int32)
        return tf.function(
            lambda images, labels: self._model.attack_strength(images, labels, seed),
            autograph=False,
        )

    @functools.cached_property
    def _norms(self):
        variables = self._model.classifier.trainable_variables

        def norms(images, labels):
            with tf.GradientTape() as tape:
                logits = self._model.logits(images)
                entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(entropies)
            gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
            return [tf.norm(tf.cast(gradient, tf.float32)) for gradient in gradients]

        return tf.function(norms, autograph=False)

    @contextlib.contextmanager
    def callbacks(self, part, folder):
        """Yields the callbacks for what was asked for; to be left after `fit`.

        Args:
          part: the `board.Part` of training.
          folder: the RunFolder, where profiles go.
        """
        settings, found = self._config.recording, []
        if settings.histogram_every:
            found.append(_Histograms(self, settings.histogram_every, part))
        if settings.profiled:
            found.append(_Profile(*settings.profiled, folder))
        try:
            yield found
        finally:
            for callback in found:
                callback.on_train_end()

    def write_histograms(self, part, step):
        """Writes histograms of the weights, and of the norms of their gradients."""
        norms = self.gradient_norms()
        part.write(
            summaries.write_histograms,
            {
                **{f"weights/{v.name}": v.numpy() for v in self._model.classifier.weights},
                "gradient_norm_of_each_variable": np.array(list(norms.values())),
            },
            step,
        )
        whole = float(np.sqrt(np.sum(np.square(list(norms.values())))))
        part.scalars(
            {"gradient_norm": whole, **{f"gradient_norms/{name}": n for name, n in norms.items()}},
            step,
        )


class _EachStep(tf.keras.callbacks.Callback):
    """Knows the step that begins and the steps that were executed together."""

    def on_epoch_begin(self, epoch, logs=None):
        self._first = int(self.model.global_step.numpy())
        self._done = 0


class _Histograms(_EachStep):
    """Writes weights and gradients' norms every so many steps."""

    def __init__(self, recording, every, part):
        super().__init__()
        self._recording, self._every, self._part = recording, every, part

    def on_train_batch_end(self, batch, logs=None):
        before, self._done = self._first + self._done, batch + 1
        step = self._first + self._done
        if step // self._every > before // self._every:
            self._recording.write_histograms(self._part, step)

    def on_train_end(self, logs=None):
        """Nothing is left open."""


class _Profile(_EachStep):
    """Profiles from one step to another; where they are executed together, those around them."""

    def __init__(self, first, last, folder):
        super().__init__()
        self._range, self._folder = (first, last), folder
        self._is_on = self._is_over = False

    def on_train_batch_begin(self, batch, logs=None):
        if not (self._is_on or self._is_over) and self._first + batch + 1 >= self._range[0]:
            if self._first + batch + 1 > self._range[1]:
                self._is_over = True  # an earlier process has done these steps
                return
            with self._folder.writing("a profile"):
                tf.profiler.experimental.start(
                    os.path.join(plain(self._folder.tensorboard), "train")
                )
            self._is_on = True

    def on_train_batch_end(self, batch, logs=None):
        if self._is_on and self._first + batch + 1 >= self._range[1]:
            self.on_train_end()

    def on_train_end(self, logs=None):
        if self._is_on:
            self._is_on, self._is_over = False, True
            with self._folder.writing("a profile"):
                tf.profiler.experimental.stop()
