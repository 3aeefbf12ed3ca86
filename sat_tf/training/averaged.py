"""A Keras model around a classifier whose weights may be averaged as they are trained.

class Model(Averaged, tf.keras.Model):    # or keras.Model, of Keras 3
    ...
logits = Model(classifier, ema_decay=0.999, name="averaged")(images)    # of the averaged weights
"""

import contextlib
import warnings

import tensorflow as tf

from sat_tf.training.weight_average import WeightAverage


class Averaged:
    """Whoever uses the model from outside gets the average; training moves the classifier's own.

    What is swapped is the classifier's weights, for as long as the call takes.  It stands before
    the Keras model, of either generation, among the bases of a class.

    Args:
      classifier: a Keras model that is built.
      ema_decay: of the `WeightAverage`; 0 for none.
      name: of this model.
    """

    def __init__(self, classifier, ema_decay, *, name):
        super().__init__(name=name)
        self.classifier = classifier
        self.global_step = tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            name="global_step",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self.average = WeightAverage(classifier, ema_decay) if ema_decay else None
        self._holds_average = False
        self._note()
        self.built = True  # as the classifier is
        self._describe_input()

    def _describe_input(self):
        """Tells Keras what images the classifier takes, where its generation wants to know."""

    def call(self, inputs, training=None):
        return self.classifier(inputs, training=training)

    def __call__(self, inputs, training=None, **kwargs):
        """The classifier's outputs; unless `training`, with the averaged weights where there are.

        Raises: RuntimeError with an average within `strategy.run`, where weights of the replicas
          cannot be swapped.
        """
        with contextlib.nullcontext() if training else self.evaluated_weights():
            return super().__call__(inputs, training=training, **kwargs)

    @property
    def input_shape(self):
        return self.classifier.input_shape

    @property
    def output_shape(self):
        return self.classifier.output_shape

    @contextlib.contextmanager
    def evaluated_weights(self):
        """Within this context the classifier holds the averaged weights, where there are.

        For many calls in a row it saves swapping the weights at each of them.  Contexts nest.

        Raises: ValueError where the classifier's weights were changed behind the average;
          RuntimeError as `__call__`.
        """
        if self.average is None or self._holds_average:
            yield
            return
        if tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context():
            raise RuntimeError(
                f"model {self.name!r} keeps averaged weights, which cannot be taken within "
                "strategy.run: enter `with model.evaluated_weights():` around it"
            )
        if tf.executing_eagerly():
            self.average.check(int(self.global_step.numpy()))
        self._holds_average = True
        try:
            with self.average.in_classifier():
                yield
        finally:
            self._holds_average = False

    def restart_average(self):
        """Starts the average, where there is one, from the classifier's weights as they are."""
        if self.average is not None:
            self.average.reset()
            self._note()

    def _note(self):
        if self.average is not None:
            self.average.note(int(self.global_step.numpy()))

    def _check(self):
        if self.average is not None and not self._holds_average:
            self.average.check(int(self.global_step.numpy()))

    def fit(self, *args, **kwargs):
        """As Keras' `fit`."""
        self._check()
        try:
            return super().fit(*args, **kwargs)
        finally:
            self._note()

    def train_on_batch(self, *args, **kwargs):
        """As Keras' `train_on_batch`."""
        self._check()
        try:
            return super().train_on_batch(*args, **kwargs)
        finally:
            self._note()

    def evaluate(self, *args, **kwargs):
        """As Keras' `evaluate`, on the averaged weights where there are."""
        with self.evaluated_weights():
            return super().evaluate(*args, **kwargs)

    def test_on_batch(self, *args, **kwargs):
        """As Keras' `test_on_batch`, on the averaged weights where there are."""
        with self.evaluated_weights():
            return super().test_on_batch(*args, **kwargs)

    def predict(self, *args, **kwargs):
        """As Keras' `predict`, with the averaged weights where there are."""
        with self.evaluated_weights():
            return super().predict(*args, **kwargs)

    def predict_on_batch(self, *args, **kwargs):
        """As Keras' `predict_on_batch`, with the averaged weights where there are."""
        with self.evaluated_weights():
            return super().predict_on_batch(*args, **kwargs)

    def save(self, filepath, *args, **kwargs):
        """Saves the bare classifier, with the averaged weights where there are.

        Warns where the file will hold layers of sat_tf, which Keras finds only once sat_tf is
        imported; `export` writes what opens without it.
        """
        with self.evaluated_weights():
            self.classifier.save(filepath, *args, **kwargs)
        if str(filepath).endswith((".keras", ".h5")) and _has_layers_of_ours(self.classifier):
            warnings.warn(
                f"{filepath} holds layers of sat_tf: load it after `import sat_tf`; "
                "export(PATH) writes a SavedModel that opens without it",
                stacklevel=2,
            )

    def export(self, *args, **kwargs):
        """Exports the bare classifier, as Keras' `export`, averaged where there is an average."""
        with self.evaluated_weights():
            self.classifier.export(*args, **kwargs)

    def save_weights(self, *args, **kwargs):
        """Saves the bare classifier's weights, averaged where there is an average."""
        with self.evaluated_weights():
            self.classifier.save_weights(*args, **kwargs)

    def load_weights(self, *args, **kwargs):
        """Loads the bare classifier's weights; an average starts anew from them."""
        status = self.classifier.load_weights(*args, **kwargs)
        self.restart_average()
        return status

    def _trackable_children(self, save_type="checkpoint", **kwargs):
        if save_type == "savedmodel" and self.average is not None:
            raise ValueError(
                f"model {self.name!r} keeps averaged weights, and tf.saved_model.save would take "
                "the others: use export(PATH), or save the classifier within "
                "`with model.evaluated_weights():`"
            )
        return super()._trackable_children(save_type, **kwargs)


def _has_layers_of_ours(classifier):
    parts = getattr(classifier, "submodules", ())  # a model of Keras 3 has none, and none of ours
    layers = (part for part in parts if isinstance(part, tf.keras.layers.Layer))
    return any(type(layer).__module__.startswith("sat_tf.") for layer in layers)
