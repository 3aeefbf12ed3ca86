"""AdversarialModel for classifiers of Keras 3 on TensorFlow, which trains through Keras 3's `fit`.

    model = sat_tf.AdversarialModel(keras_3_classifier, "pgd", epsilon=8/255)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    model.fit(images, labels)

Only where Keras 3 is installed beside tf-keras can it be imported; AdversarialModel does so when it
is given such a classifier.  Before a whole model is loaded that was saved by
`keras.saving.save_model`, do it as well: `import sat_tf.training.keras3`.
"""

import keras
import tensorflow as tf

from sat_tf.training import classifiers, step
from sat_tf.training.adversarial import Adversarial
from sat_tf.training.averaged import Averaged
from sat_tf.training.callbacks import CountsEpochs
from sat_tf.training.saving import Saved


class Weights(step.Weights):
    """`step.Weights` under an optimizer of Keras 3."""

    def scaled(self, loss):
        return self._optimizer.scale_loss(loss)

    def unscaled(self, gradients):
        return gradients  # the optimizer does it, with what it adds, when they are applied


class Epochs(CountsEpochs, keras.callbacks.Callback):
    """`CountsEpochs` among the callbacks of Keras 3."""

    judges = (keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau)


@keras.saving.register_keras_serializable(package="sat_tf")
class Keras3AdversarialModel(Adversarial, Saved, Averaged, keras.Model):
    """What AdversarialModel, whose arguments and behaviour it has, gives for a Keras 3 classifier.

    Optimizers, metrics and callbacks are Keras 3's own.  Derivatives of activations cannot be
    replaced, as the classifier has none of ours.

    Raises: ValueError, besides those of AdversarialModel, for another backend than TensorFlow, for
      `attack_gradient` and `update_gradient`, and for a classifier that was made in the scope of
      another tf.distribute strategy; in training on several replicas, for one whose layers add
      losses of their activations.
    """

    _keras, _weights_kind, _epochs_kind = keras, Weights, Epochs

    def __init__(self, classifier, method, **kwargs):
        if not classifiers.is_keras_3(classifier):
            raise ValueError(
                f"classifier is a {type(classifier).__name__}: give a keras.Model of Keras 3, and "
                "any other one to sat_tf.AdversarialModel"
            )
        if keras.config.backend() != "tensorflow":
            raise ValueError(
                f"classifier {classifier.name!r} runs on the backend {keras.config.backend()!r}: "
                "set KERAS_BACKEND=tensorflow before Keras is imported"
            )
        super().__init__(classifier, method, **kwargs)
        self._check_scope()

    def _check_scope(self):
        """Raises ValueError where the variables are not those of the strategy to train with."""
        strategy = self.distribute_strategy
        variables = {f"classifier {self.classifier.name!r}": self.classifier.variables}
        if self.compiled:
            variables["the optimizer"] = [self.optimizer.iterations]
        for what, of_it in variables.items():
            if not all(strategy.extended.variable_created_in_scope(v.value) for v in of_it):
                raise ValueError(
                    f"{what} was made in another scope than that of {type(strategy).__name__}, "
                    "which is to train it: make classifier, AdversarialModel and optimizer within "
                    "one `with strategy.scope():`"
                )

    def _own_loss(self):
        # Its layers keep these for the whole process, not for each replica: where one waits for
        # the others within a pass, as synchronised batch norm does, they get mixed up.
        of_weights = sum(v.regularizer is not None for v in self.classifier.trainable_variables)
        replicas = self.distribute_strategy.num_replicas_in_sync
        if replicas > 1 and len(self.classifier.losses) > of_weights:
            raise ValueError(
                f"classifier {self.classifier.name!r} has activity regularizers or calls add_loss, "
                f"which Keras 3 does not keep apart for {replicas} replicas: leave them out, or "
                "train on one replica"
            )
        return super()._own_loss()

    def compile(self, optimizer="sgd", *, jit_compile=False, **kwargs):
        """As `AdversarialModel.compile`, with Keras 3's optimizers and metrics.

        Args:
          jit_compile: False, as in Keras 2; Keras 3's own "auto" would compile by XLA on a GPU,
            which draws other noise from the same seed.
        Raises: ValueError for an optimizer that was made outside of the strategy's scope.
        """
        with self.distribute_strategy.scope():  # an optimizer by its name is made here
            super().compile(optimizer, jit_compile=jit_compile, **kwargs)
        self._check_scope()

    def fit(self, *args, callbacks=None, **kwargs):
        """As `AdversarialModel.fit`.

        Raises: ValueError for callbacks that are not Keras 3's, and in another strategy's scope.
        """
        for callback in tf.nest.flatten(callbacks):
            if not isinstance(callback, (keras.callbacks.Callback, type(None))):
                raise ValueError(
                    f"callbacks: {type(callback).__name__} is no callback of Keras 3, as the "
                    "model is: give one of keras.callbacks"
                )
        self._check_scope()
        return super().fit(*args, callbacks=callbacks, **kwargs)
