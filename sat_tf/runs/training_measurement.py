"""What a run measures of its network on training data while it trains.

The graphs are traced once and kept, as in `measurement`.  The test set has no part in it: what is
measured here decides when training ends and which checkpoint is used.
"""

import functools

import tensorflow as tf

from sat_tf import data, distribution, evaluation, training


class TrainingMeasurement:
    """Accuracies on the held-out training examples, and on the first training batch.

    Args:
      config: the run's Config.
      strategy: where it runs.
      source: the loaded data.
      logits_fn: the network in inference mode; its variables are read at each call.
      training_batches: called without arguments, returns the batches of the run from its first
        step on, as `data.training_batches`.
    """

    def __init__(self, config, strategy, source, logits_fn, *, training_batches):
        self._config = config
        self._source = source
        self._training_batches = training_batches
        self._evaluator = functools.partial(
            evaluation.Evaluator, logits_fn, seed=config.seed, strategy=strategy
        )
        self._suite = evaluation.Suite(
            epsilon=config.attack.epsilon,
            norm=config.attack.norm,
            num_classes=config.model.num_classes,
            **training.attack_form(config, distribution.device_type(strategy)),
        )

    @functools.cached_property
    def _held_out_evaluator(self):
        # Not the evaluation's step, which may change between two commands: epochs would then be
        # compared under two attacks.
        return self._evaluator(
            self._suite.named(
                [self._config.evaluation.validation_attack],
                derivatives=training.replaced_derivatives(self._config),
            )
        )

    @functools.cached_property
    def _first_batch_evaluator(self):
        step_size = self._config.attack.epsilon / 4
        return self._evaluator(
            {"pgd": self._suite.create(f"pgd-{training.COLLAPSE_STEPS}", step_size=step_size)}
        )

    def held_out(self, *, on_batch=None) -> evaluation.Result:
        """Returns the counts over the examples held out, under the attack for validation.

        Its steps are those of `attacks.default_step_size`, max(1/255, epsilon / steps).
        That is several attacks where the run replaces a derivative, see `Measurement`.
        """
        settings = self._config.data
        return self._held_out_evaluator(
            data.validation_batches(
                self._source,
                batch_size=self._config.evaluation.batch_size,
                image_size=self._config.model.image_size,
                seed=self._config.seed,
                held_out=settings.validation_examples,
                num_examples=settings.train_examples,
            ),
            on_batch=on_batch,
        )

    def first_batch(self) -> float:
        """Returns accuracy under PGD on the run's first training batch, as it was trained on.

        Random start, COLLAPSE_STEPS steps of epsilon / 4, one run: the settings of Wong et al.,
        2020 (2/255 at epsilon 8/255), arXiv 2001.03994.  Departures from the authors' code, which
        takes the first batch of each epoch, in training mode: it is the same batch and the same
        start every time, so that accuracies of two epochs are comparable; and inference mode, as in
        all our attacks.
        The derivative is the exact one, whatever the run replaces.
        """
        batches = (
            self._training_batches()
            .take(1)
            .map(lambda images, labels: (images, labels, tf.ones_like(labels, tf.bool)))
        )
        return self._first_batch_evaluator(batches).robust_accuracy["pgd"]
