"""The adversarial steps of a Keras model, which do not depend on the generation of its Keras.

class Model(Adversarial, Saved, Averaged, tf.keras.Model):    # or keras.Model, of Keras 3
    ...
"""

import contextlib

import tensorflow as tf

from sat_tf import activations, seeds
from sat_tf.training import batches, classifiers, methods, optimization, step
from sat_tf.training import sam as sharpness
from sat_tf.training.measures import ADVERSARIAL, Measures
from sat_tf.training.method_table import resolve

_REPORTED = (
    "loss",
    "cross_entropy",
    "clean_accuracy",
    "adversarial_accuracy",
    "perturbation_mean",
    "perturbation_max",
)


def _of_first_replica(value, dtype, name):
    return tf.Variable(
        value,
        dtype=dtype,
        trainable=False,
        name=name,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


class Adversarial:
    """An adversarial `train_step` and `test_step`, for `AdversarialModel` and its twin of Keras 3.

    What differs between the generations of Keras are the attributes of the class: `_keras`, the
    module; `_weights_kind`, a `step.Weights`; and `_epochs_kind`, the callback that counts epochs.
    """

    def __init__(
        self,
        classifier: tf.keras.Model,
        method: str | methods.Method,
        *,
        seed: int = 0,
        weight_decay: float = 0.0,
        weight_decay_on: str = "kernels",
        ema_decay: float = 0.0,
        clean_epochs: int = 0,
        sam: sharpness.SAM | None = None,
        from_logits: bool = True,
        attack_gradient: str | None = None,
        update_gradient: str | None = None,
        name: str | None = None,
        **settings,
    ):
        method = resolve(method, settings)
        classifiers.check(classifier, from_logits=from_logits, bounds=method.bounds)
        super().__init__(classifier, ema_decay, name=name or "adversarial_" + classifier.name)
        if not isinstance(sam, (sharpness.SAM, type(None))):
            raise ValueError(
                f"sam={sam!r}: give a sat_tf.training.SAM, as in SAM(rho=0.05), or None"
            )
        for replaced in (attack_gradient, update_gradient):
            classifiers.check_derivative(classifier, replaced)
        self.method = method
        self.clean_epochs = clean_epochs
        self.attacking = _of_first_replica(clean_epochs == 0, tf.bool, "attacking")
        self.epochs = _of_first_replica(0, tf.int64, "epochs")
        self._attack_gradient, self._update_gradient = attack_gradient, update_gradient
        if method.state is not None:
            method.state.build()
        self._seed = seed
        self.sam = sam
        self._from_logits = from_logits
        self._to_logits = (
            (lambda images, training: classifier(images, training=training))
            if from_logits
            else classifiers.logits_of(classifier)
        )
        optimization.decayed_variables([], weight_decay_on)  # refuses an unknown name now
        self._weight_decay, self._weight_decay_on = weight_decay, weight_decay_on
        self._means = tuple(dict.fromkeys((*_REPORTED, *method.metrics)))
        self._measures = Measures(self._means, kinds=self._keras.metrics)

    def compile(self, optimizer="sgd", *, loss=None, metrics=None, weighted_metrics=None, **kwargs):
        """As Keras' `compile`, but without `loss`, which the method defines.

        Args:
          metrics, weighted_metrics: measured of images as they are, under their own names, and of
            perturbed ones, as `adversarial_NAME`.  In training these are the passes of the loss,
            in training mode; where that has no pass of clean images, a quarter of the batch
            in inference mode.  They see what the classifier gives, logits or probabilities.
        """
        if loss is not None or kwargs.get("loss_weights") is not None:
            raise ValueError(
                "the training method defines the loss: call compile(optimizer) without loss and "
                "loss_weights"
            )
        super().compile(optimizer, **kwargs)
        self._compiled = dict(metrics=metrics, weighted_metrics=weighted_metrics)
        with self.distribute_strategy.scope():
            self._measures = Measures(
                self._means,
                metrics=metrics,
                weighted=weighted_metrics,
                from_logits=self._from_logits,
                kinds=self._keras.metrics,
            )
            if hasattr(self.optimizer, "build"):  # so that its slots exist before any restore
                self.optimizer.build(self.classifier.trainable_variables)

    @property
    def metrics(self):
        return self._measures.all

    @property
    def training_state(self) -> tf.train.Checkpoint:
        """Everything that training changes, as one checkpointable object; compile first."""
        parts = dict(classifier=self.classifier, optimizer=self.optimizer, step=self.global_step)
        parts["epochs"] = self.epochs
        if self.average is not None:
            parts["average"] = self.average
        if self.method.state is not None:
            parts["method"] = self.method.state
        return tf.train.Checkpoint(**parts)

    def logits(self, images, training: bool = False) -> tf.Tensor:
        """Returns float32 [batch, classes]."""
        return tf.cast(self._to_logits(images, training=training), tf.float32)

    def _attack_logits(self, images):
        with activations.derivative_of(self._attack_gradient):
            return self.logits(images)

    def _update_logits(self, images):
        with activations.derivative_of(self._update_gradient):
            return self.logits(images, training=True)

    def _own_loss(self):
        return classifiers.own_loss(self.classifier)

    def fit(self, *args, callbacks=None, **kwargs):
        """As Keras' `fit`; the attack begins after `clean_epochs` epochs of training."""
        return super().fit(*args, callbacks=self._with_epochs(callbacks), **kwargs)

    def _with_epochs(self, callbacks):
        if isinstance(callbacks, self._keras.callbacks.CallbackList):  # the caller's own, in full
            epochs = self._epochs_kind(callbacks.callbacks)
            epochs.set_model(self)
            callbacks.callbacks.insert(0, epochs)
            return callbacks
        others = tf.nest.flatten([] if callbacks is None else callbacks)
        return [self._epochs_kind(others), *others]

    def train_step(self, data):
        images, labels, sample_weight = batches.unpack(data, bounds=self.method.bounds)
        seed = seeds.replica_seed(self._seed, seeds.TRAINING_ATTACK, self.global_step)
        adversarial = step.perturb(
            self.method,
            self._attack_logits,
            images,
            labels,
            seed,
            attacking=self.attacking if self.clean_epochs else None,
        )
        passes = step.Passes(self._update_logits, self._own_loss)

        def compute_loss():
            with passes.of_a_loss():
                per_example, measured = self.method.loss(passes, images, adversarial, labels)
            return batches.weighted_mean(per_example, sample_weight) + passes.own_loss(), measured

        sampled = None
        if "clean_accuracy" not in self.method.metrics:
            sampled = self._quarter(images, labels, sample_weight)
        with contextlib.nullcontext() if self.method.state is None else self.method.state.step():
            loss, measured = self._descend(compute_loss)
        if self.method.state is not None:
            self.method.state.update(measured)
        if self.average is not None:
            self.average.update(self.global_step)
        self.global_step.assign_add(1)
        mean, largest = step.perturbation_size(images, adversarial)
        clean = {} if sampled is None else {"clean_accuracy": methods.is_correct(*sampled[:2])}
        size = tf.size(labels)
        names = self._report_means(
            size, loss=loss, **clean, **measured, perturbation_mean=mean, perturbation_max=largest
        )
        seen_last = passes.logits_of(adversarial)
        if seen_last is not None:  # without decay, smoothing and what else the loss consists of
            entropy = methods.cross_entropy(seen_last, labels)
            names += self._report_means(size, cross_entropy=entropy)
        for prefix, seen in (("", images), (ADVERSARIAL, adversarial)):
            logits = passes.logits_of(seen)
            if logits is not None:
                names += self._report_metrics(prefix, logits, labels, sample_weight)
            elif not prefix and sampled is not None:
                names += self._report_metrics(prefix, *sampled)
        return self._measures.results(names)

    def attack_strength(self, images, labels, seed) -> dict:
        """Returns what the attack of training does to images, the network in inference mode.

        Args:
          images: float32 [batch, height, width, channels].
          labels: int32 [batch].
          seed: integer [2], of the attack's start.
        Returns: float32 scalars: `loss_before` and `loss_after` the attack, mean cross-entropies,
          and `flipped`, the share of predictions that it changes.
        """
        adversarial = self.method.perturb(self._attack_logits, images, labels, seed)
        before, after = self.logits(images), self.logits(adversarial)
        flipped = tf.not_equal(tf.argmax(before, -1), tf.argmax(after, -1))
        return {
            "loss_before": tf.reduce_mean(methods.cross_entropy(before, labels)),
            "loss_after": tf.reduce_mean(methods.cross_entropy(after, labels)),
            "flipped": tf.reduce_mean(tf.cast(flipped, tf.float32)),
        }

    def _descend(self, compute_loss):
        """Moves the weights by one step, plain or sharpness-aware, on the loss and the decay."""
        weights = self._weights_kind(self.classifier, self.optimizer)
        decayed = optimization.decayed_variables(weights.variables, self._weight_decay_on)

        def decay_loss():
            return optimization.weight_decay_loss(decayed, self._weight_decay)

        def compute_both():
            loss, measured = compute_loss()
            return loss + decay_loss(), measured

        if self.sam is not None:
            return sharpness.apply_gradients(self.sam, weights, compute_loss, decay_loss)
        return step.apply_gradients(weights, compute_both)

    def test_step(self, data):
        images, labels, sample_weight = batches.unpack(data, bounds=self.method.bounds)
        seed = seeds.replica_seed(self._seed, seeds.EVALUATION_ATTACK, self.global_step)
        adversarial = self.method.perturb(self._attack_logits, images, labels, seed)
        passes = step.Passes(self.logits, self._own_loss)
        with passes.of_a_loss():
            clean = passes(images)
        attacked = self.logits(adversarial)
        loss = batches.weighted_mean(methods.cross_entropy(clean, labels), sample_weight)
        names = self._report_means(
            tf.size(labels),
            loss=loss + passes.own_loss(),
            clean_accuracy=methods.is_correct(clean, labels),
            adversarial_accuracy=methods.is_correct(attacked, labels),
        )
        names += self._report_metrics("", clean, labels, sample_weight)
        names += self._report_metrics(ADVERSARIAL, attacked, labels, sample_weight)
        return self._measures.results(names)

    def _quarter(self, images, labels, sample_weight):
        """Returns logits, labels and sample weights of a quarter of the batch."""
        # That costs a few per cent of a step; all of it would cost a fifth of training with a
        # single-step attack.
        quarter = (tf.shape(images)[0] + 3) // 4
        weights = None if sample_weight is None else sample_weight[:quarter]
        return self.logits(images[:quarter]), labels[:quarter], weights

    def _report_means(self, size, **values):
        """Adds scalars, means over a batch of `size`, and values of each example."""
        for name, value in values.items():
            self._measures.add_mean(name, value, weight=size if value.shape.rank == 0 else None)
        return list(values)

    def _report_metrics(self, prefix, logits, labels, sample_weight):
        predictions = logits if self._from_logits else tf.nn.softmax(logits)
        return self._measures.add_predictions(prefix, labels, predictions, sample_weight)
