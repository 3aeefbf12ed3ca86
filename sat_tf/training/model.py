"""Adversarial training through Keras' own `compile` and `fit`.

model = AdversarialModel(classifier, training.create("pgd", epsilon=8/255, num_steps=7))
model.compile("sgd")
model.fit(images, labels, epochs=10, callbacks=[tf.keras.callbacks.CSVLogger("log.csv")])
model.save("robust.keras")  # the bare classifier
"""

import contextlib

import tensorflow as tf

from sat_tf import activations, attacks, seeds
from sat_tf.training import classifiers, methods, optimization, step
from sat_tf.training import sam as sharpness
from sat_tf.training.callbacks import Epochs


class AdversarialModel(tf.keras.Model):
    """A Keras classifier with an adversarial `train_step` and `test_step`.

    Data is (images, labels) or (images, labels, sample_weight): float images within the method's
    `bounds`, integer class indices [batch].  Training reports `loss`, `clean_accuracy` (in
    inference mode, on a quarter of each batch, unless the method measures it anyway),
    `adversarial_accuracy`, and the perturbation's mean and maximum.  Validation and `evaluate`
    report clean loss, clean accuracy and accuracy under the method's own attack: a progress
    signal, not a robustness claim.

    All randomness of a step is a function of (seed, step, replica); everything that training
    changes is in `training_state`.

    Args:
      classifier: any Keras model from images to logits, or to probabilities.
      method: a `methods.Method`.
      seed: of the attack's random starts.
      weight_decay, weight_decay_on: see `optimization.weight_decay_loss`, `decayed_variables`.
      ema_decay: 0 for none; else `evaluate`, `save` and `save_weights` use the averaged weights.
      clean_epochs: epochs of `fit` before the attack begins.
      sam: a `sam.SAM` for sharpness-aware updates, or None.
      from_logits: False where the classifier gives probabilities; ValueError where that is plain
        to see and True was given.  See `classifiers.logits_of` for what is then attacked.
      attack_gradient, update_gradient: None, or the row of `ACTIVATIONS` whose derivative replaces
        the activations' own in what `method.perturb` and `method.loss` run; values stay.
    Raises: ValueError for a classifier that is not built, and for one with none of our activations
      where their derivative is to be replaced.
    """

    def __init__(
        self,
        classifier,
        method,
        *,
        seed=0,
        weight_decay=0.0,
        weight_decay_on="kernels",
        ema_decay=0.0,
        clean_epochs=0,
        sam=None,
        from_logits=True,
        attack_gradient=None,
        update_gradient=None,
    ):
        super().__init__(name="adversarial_" + classifier.name)
        classifiers.check(classifier, from_logits)
        if not isinstance(sam, (sharpness.SAM, type(None))):
            raise ValueError(
                f"sam={sam!r}: give a sat_tf.training.SAM, as in SAM(rho=0.05), or None"
            )
        for name in (attack_gradient, update_gradient):
            classifiers.check_derivative(classifier, name)
        self.classifier = classifier
        self.method = method
        self.clean_epochs = clean_epochs
        self.global_step = tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            name="global_step",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self.attacking = tf.Variable(
            clean_epochs == 0,
            trainable=False,
            name="attacking",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self.average = optimization.WeightAverage(classifier, ema_decay) if ema_decay else None
        self._attack_gradient, self._update_gradient = attack_gradient, update_gradient
        if method.state is not None:
            method.state.build()
        self._seed = seed
        self.sam = sam
        self._to_logits = classifier if from_logits else classifiers.logits_of(classifier)
        self._weight_decay = weight_decay
        self._decayed = (
            optimization.decayed_variables(classifier.trainable_variables, weight_decay_on)
            if weight_decay
            else []
        )
        self._means = {
            name: tf.keras.metrics.Mean(name)
            for name in (
                "loss",
                "clean_accuracy",
                "adversarial_accuracy",
                "perturbation_mean",
                "perturbation_max",
                *method.metrics,
            )
        }

    def compile(self, optimizer="sgd", *, loss=None, metrics=None, **kwargs):
        """As Keras' `compile`, but without `loss` and `metrics`, which the method defines."""
        if loss is not None or metrics is not None:
            raise ValueError(
                "the training method defines the loss and the metrics: call "
                "compile(optimizer) without loss and metrics"
            )
        super().compile(optimizer, **kwargs)
        if hasattr(self.optimizer, "build"):  # so that its slots exist before any restore
            with self.distribute_strategy.scope():
                self.optimizer.build(self.classifier.trainable_variables)

    def call(self, inputs, training=None):
        return self.classifier(inputs, training=training)

    @property
    def metrics(self):
        return list(self._means.values())

    @property
    def training_state(self) -> tf.train.Checkpoint:
        """Everything that training changes, as one checkpointable object; compile first."""
        parts = dict(classifier=self.classifier, optimizer=self.optimizer, step=self.global_step)
        if self.average is not None:
            parts["average"] = self.average
        if self.method.state is not None:
            parts["method"] = self.method.state
        return tf.train.Checkpoint(**parts)

    def logits(self, images, training=False):
        """Returns float32 [batch, classes]."""
        return tf.cast(self._to_logits(images, training=training), tf.float32)

    def _attack_logits(self, images):
        with activations.derivative_of(self._attack_gradient):
            return self.logits(images)

    def _update_logits(self, images):
        with activations.derivative_of(self._update_gradient):
            return self.logits(images, training=True)

    def fit(self, *args, callbacks=None, **kwargs):
        """As Keras' `fit`; the attack begins after `clean_epochs` epochs."""
        if self.clean_epochs or self.method.state is not None:
            callbacks = self._with_epochs(callbacks)
        return super().fit(*args, callbacks=callbacks, **kwargs)

    def _with_epochs(self, callbacks):
        epochs = Epochs()
        if isinstance(callbacks, tf.keras.callbacks.CallbackList):  # made by the caller, in full
            epochs.set_model(self)
            callbacks.callbacks.insert(0, epochs)
            return callbacks
        return [epochs, *tf.nest.flatten([] if callbacks is None else callbacks)]

    def train_step(self, data):
        images, labels, sample_weight = self._unpack(data)
        seed = seeds.replica_seed(self._seed, seeds.TRAINING_ATTACK, self.global_step)
        adversarial = step.perturb(
            self.method,
            self._attack_logits,
            images,
            labels,
            seed,
            attacking=self.attacking if self.clean_epochs else None,
        )

        def compute_loss():
            per_example, measured = self.method.loss(
                self._update_logits, images, adversarial, labels
            )
            if sample_weight is not None:
                per_example *= tf.cast(sample_weight, per_example.dtype)
            return tf.reduce_mean(per_example), measured

        clean = {}
        if "clean_accuracy" not in self.method.metrics:
            clean["clean_accuracy"] = self._sampled_clean_accuracy(images, labels)
        with contextlib.nullcontext() if self.method.state is None else self.method.state.step():
            loss, measured = self._descend(compute_loss)
        if self.method.state is not None:
            self.method.state.update(measured)
        if self.average is not None:
            self.average.update(self.global_step)
        self.global_step.assign_add(1)
        mean, largest = step.perturbation_size(images, adversarial)
        return self._report(
            None, loss=loss, **clean, **measured, perturbation_mean=mean, perturbation_max=largest
        )

    def _descend(self, compute_loss):
        """Moves the weights by one step, plain or sharpness-aware, on the loss and the decay."""

        def decay_loss():
            return optimization.weight_decay_loss(self._decayed, self._weight_decay)

        def compute_both():
            loss, measured = compute_loss()
            return loss + decay_loss(), measured

        if self.sam is not None:
            return sharpness.apply_gradients(
                self.sam, self.optimizer, self.classifier, compute_loss, decay_loss
            )
        return step.apply_gradients(
            self.optimizer, self.classifier.trainable_variables, compute_both
        )

    def test_step(self, data):
        images, labels, sample_weight = self._unpack(data)
        seed = seeds.replica_seed(self._seed, seeds.EVALUATION_ATTACK, self.global_step)
        adversarial = self.method.perturb(self._attack_logits, images, labels, seed)
        logits = self.logits(images)
        return self._report(
            sample_weight,
            loss=methods.cross_entropy(logits, labels),
            clean_accuracy=methods.is_correct(logits, labels),
            adversarial_accuracy=methods.is_correct(self.logits(adversarial), labels),
        )

    def evaluated_weights(self):
        """Returns a context in which the classifier holds the averaged weights, where there are."""
        return contextlib.nullcontext() if self.average is None else self.average.in_classifier()

    def evaluate(self, *args, **kwargs):
        """As Keras' `evaluate`, on the averaged weights where there are."""
        with self.evaluated_weights():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args, **kwargs):
        """As Keras' `predict`, with the averaged weights where there are."""
        with self.evaluated_weights():
            return super().predict(*args, **kwargs)

    def save(self, *args, **kwargs):
        """Saves the bare classifier, with the averaged weights where there are."""
        with self.evaluated_weights():
            self.classifier.save(*args, **kwargs)

    def save_weights(self, *args, **kwargs):
        """Saves the bare classifier's weights, averaged where there is an average."""
        with self.evaluated_weights():
            self.classifier.save_weights(*args, **kwargs)

    def load_weights(self, *args, **kwargs):
        """Loads the bare classifier's weights; an average starts anew from them."""
        status = self.classifier.load_weights(*args, **kwargs)
        self.restart_average()
        return status

    def restart_average(self):
        """Starts the average, where there is one, from the classifier's weights as they are."""
        if self.average is not None:
            self.average.reset()

    def _sampled_clean_accuracy(self, images, labels):
        # A quarter of the batch costs a few per cent of a step; all of it would cost a fifth of
        # training with a single-step attack.
        quarter = (tf.shape(images)[0] + 3) // 4
        return methods.is_correct(self.logits(images[:quarter]), labels[:quarter])

    def _report(self, sample_weight, **values):
        for name, value in values.items():
            self._means[name].update_state(value, sample_weight)
        return {name: self._means[name].result() for name in values}

    def _unpack(self, data):
        images, labels, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(data)
        if labels is None:
            raise ValueError("there are no labels: give (images, labels)")
        images = attacks.images_within(images, self.method.bounds)
        return images, attacks.class_indices(labels), sample_weight
