"""Adversarial training through Keras' own `compile` and `fit`.

model = AdversarialModel(classifier, "pgd", epsilon=8/255, num_steps=7)
model.compile("sgd", metrics=["accuracy"])    # measured clean and under attack
model.fit(images, labels, epochs=10, callbacks=[tf.keras.callbacks.CSVLogger("log.csv")])
model.save("robust.keras")  # the bare classifier
"""

import tensorflow as tf

from sat_tf.training import classifiers, step
from sat_tf.training.adversarial import Adversarial
from sat_tf.training.averaged import Averaged
from sat_tf.training.callbacks import Epochs
from sat_tf.training.saving import Saved


@tf.keras.utils.register_keras_serializable(package="sat_tf")
class AdversarialModel(Adversarial, Saved, Averaged, tf.keras.Model):
    """A Keras classifier with an adversarial `train_step` and `test_step`.

    Data is (images, labels) or (images, labels, sample_weight): float images within the method's
    `bounds`, integer class indices [batch].  Training reports `loss`, `clean_accuracy` (in
    inference mode, on a quarter of each batch, unless the method measures it anyway),
    `adversarial_accuracy`, and the perturbation's mean and maximum.  Validation and `evaluate`
    report clean loss, clean accuracy and accuracy under the method's own attack: a progress
    signal, not a robustness claim.  Weights, losses and metrics count as Keras counts them: the
    classifier's own losses (regularizers, `add_loss`) belong to the loss, those of its
    activations as the mean over the passes of a step; sample weights weigh the loss and the
    `weighted_metrics`.

    All randomness of a step is a function of (seed, step, replica); everything that training
    changes is in `training_state`.

    Args:
      classifier: any Keras model from images to logits, or to probabilities.  For one of Keras 3 on
        TensorFlow, which may be installed beside tf.keras, a `keras3.Keras3AdversarialModel` is
        made, which is a model of Keras 3 and takes its optimizers, metrics and callbacks.
      method: a row of METHODS by its name, or a `methods.Method`.
      seed: of the attack's random starts.
      weight_decay, weight_decay_on: see `optimization.weight_decay_loss`, `decayed_variables`; of
        the layers that are trainable when `compile` was last called.
      ema_decay: 0 for none; else what is evaluated, predicted, exported and saved has the averaged
        weights, as has a direct call outside training; see `evaluated_weights`.
      clean_epochs: epochs of training, over all calls of `fit`, before the attack begins.
      sam: a `sam.SAM` for sharpness-aware updates, or None.
      from_logits: False where the classifier gives probabilities; ValueError where what comes out
        is something else.  See `classifiers.logits_of` for what is then attacked.
      attack_gradient, update_gradient: None, or the row of `ACTIVATIONS` whose derivative replaces
        the activations' own in what `method.perturb` and `method.loss` run; values stay.
      name: of this model; None for "adversarial_" and that of the classifier.
      **settings: of a method that is given by name, as of `training.create`.
    Raises: ValueError for a classifier that `classifiers.check` refuses, and for one with none of
      our activations where their derivative is to be replaced.
    """

    _keras, _weights_kind, _epochs_kind = tf.keras, step.Weights, Epochs

    def __new__(cls, *args, **kwargs):
        classifier = kwargs.get("classifier", args[0] if args else None)
        if not classifiers.is_keras_3(classifier):
            return super().__new__(cls, *args, **kwargs)
        if cls is not AdversarialModel:
            raise ValueError(
                f"classifier {classifier.name!r} is of Keras 3, and {cls.__name__} is derived from "
                "a model of tf.keras: derive it from sat_tf.training.keras3.Keras3AdversarialModel"
            )
        from sat_tf.training import keras3  # which only those who have Keras 3 can import

        return keras3.Keras3AdversarialModel(*args, **kwargs)

    def _describe_input(self):
        spec = (
            getattr(self.classifier, "inputs", None) or (self.classifier.save_spec() or [None])[0]
        )
        if spec:
            self._set_save_spec(tf.TensorSpec(spec[0].shape, spec[0].dtype))
