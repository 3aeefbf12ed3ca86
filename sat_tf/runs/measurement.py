"""What a run measures of its network, again and again: accuracies, checks of them, curves.

The graphs are traced once and kept, so that evaluating every epoch costs neither time nor memory
for another one.
"""

import functools
import time

import tensorflow as tf

from sat_tf import data, distribution, evaluation, reports, training
from sat_tf.evaluation import checks

GALLERY_IMAGES = reports.summaries.MAX_ROWS
PROBED_EXAMPLES = 128


class Measurement:
    """Clean and robust accuracy on a source's evaluation part, and what goes with them.

    Where the run replaces the activations' derivative in attack or update, every attack is run
    with the exact derivative under its own name, and once more for each replaced one, as in
    `pgd-20:parametric_softplus`.  Any of them may be the strongest; only the attack's own gradient
    differs between them.  Likewise `pgd-20:transfer` where there is a surrogate.

    Args:
      config: the run's Config.
      strategy: where it runs.
      source: the loaded data.
      network: what is measured, see `networks`; its variables are read at each call.
      surrogates: {label: another network's logits_fn} to make attacks on as well.
    """

    def __init__(self, config, strategy, source, network, surrogates=None):
        self._config, self._strategy, self._source = config, strategy, source
        self._network = network
        self._form = training.attack_form(config, distribution.device_type(strategy))
        settings = config.evaluation
        self._suite = evaluation.Suite(
            epsilon=config.evaluation_epsilon,
            step_size=settings.step_size,
            norm=settings.norm,
            robust_if=settings.robust_if,
            num_classes=config.model.num_classes,
            version=settings.autoattack_version,
            **self._form,
        )
        self.attacks = self._suite.named(
            settings.attacks,
            derivatives=training.replaced_derivatives(config),
            surrogates=surrogates,
        )
        self._surrogates = tuple(surrogates or ())
        self._evaluator = self._evaluator_of(
            self.attacks,
            keep=max(GALLERY_IMAGES, min(settings.save_adversarial, config.data.eval_examples)),
        )

    def _evaluator_of(self, named, keep=0):
        return evaluation.Evaluator(
            self._network.logits_fn,
            named,
            seed=self._config.seed,
            strategy=self._strategy,
            keep=keep,
        )

    def accuracies(self, **arguments) -> evaluation.Result:
        """Returns the counts over the evaluation examples in use; arguments as of `Evaluator`."""
        return self._evaluator(self._batches(), **arguments)

    def examine(self) -> list:
        """Returns the findings of `checks.examine` on the first of the examples."""
        return checks.examine(
            self._network.logits_fn,
            *self._first(checks.EXAMPLES),
            seed=self._config.seed,
            loss_scale=self._form["loss_scale"],
            differentiable=self._follows_gradients,
        )

    def review(self, result) -> list:
        """Returns what the outcomes say of the attacks, and short attacks where asked for."""
        settings = self._config.evaluation
        findings = checks.review_result(
            result,
            threat=self._suite.threat,
            step_size=settings.step_size,
            robust_if=settings.robust_if,
            surrogates=self._surrogates,
        )
        if self._follows_gradients and checks.are_wanted(settings.self_checks, result.correct):
            findings += self._prober(*self._first(PROBED_EXAMPLES), seed=self._config.seed)
        return findings

    @property
    def has_other_workers(self) -> bool:
        """Whether other processes measure a share of the examples."""
        return distribution.worker_of(self._strategy).count > 1

    @property
    def _follows_gradients(self):
        """Whether any attack that is asked for differentiates the network."""
        settings = self._config.evaluation
        asked = (*settings.attacks, *([settings.curve_attack] if settings.curves else ()))
        return self._network.differentiable and self._suite.need_gradient(asked)

    @functools.cached_property
    def _prober(self):
        return checks.Prober(self._network.logits_fn, threat=self._suite.threat, **self._form)

    def _first(self, count):
        """Returns up to so many first images and labels."""
        batch = data.evaluation_batches(
            self._source,
            batch_size=count,
            image_size=self._config.model.image_size,
            num_examples=min(count, self._config.data.eval_examples),
        )
        images, labels, mask = next(batch.as_numpy_iterator())
        return images[mask], labels[mask]

    def seconds_per_pass(self) -> float:
        """Returns what a pass of an attack takes for one example, of those of a batch."""
        replicas = self._strategy.num_replicas_in_sync
        images, labels = self._first(self._config.evaluation.batch_size // replicas)
        steps = 2
        attack = self._suite.create(f"pgd-{steps}") if self._network.differentiable else None
        passes = steps if attack else evaluation.work.JUDGED

        def run(images, labels):
            if attack:
                return attack(self._network.logits_fn, images, labels, self._config.seed)
            return self._network.logits_fn(images)

        traced = tf.function(lambda *batch: self._strategy.run(run, batch), autograph=False)
        for _ in range(2):  # the first is traced
            start = time.monotonic()
            made = self._strategy.experimental_local_results(traced(images, labels))
            _ = [one.numpy() for one in made]
        return (time.monotonic() - start) / (passes * len(images) * replicas)

    def curve(self, kind, **arguments) -> list:
        """Returns the rows of a curve of `reports.curves.CURVES`, as the configuration has it.

        Args:
          kind: its name there.
          **arguments: as of `Evaluator`.
        """
        settings = self._config.evaluation
        return evaluation.curves.measure(
            kind,
            attack=settings.curve_attack,
            create=self._suite.create,
            epsilon=self._config.evaluation_epsilon,
            epsilons=settings.curve_epsilons,
            norm=settings.norm,
            evaluate=lambda named: self._evaluator_of(named)(self._batches(), **arguments),
        )

    def _batches(self):
        return data.evaluation_batches(
            self._source,
            batch_size=self._config.evaluation.batch_size,
            image_size=self._config.model.image_size,
            num_examples=self._config.data.eval_examples,
        )


def exhibited_attack(result) -> str:
    """Returns the name of the attack whose results `exhibits` shows."""
    return list(result.correct)[-1]


def exhibits(result):
    """Returns the first examples under the last attack of a Result, or None without an attack.

    Returns: NumPy (images, adversarial, their two predicted classes, labels), as
      `summaries.write_grid` takes them.
    """
    last = exhibited_attack(result)
    if last == "clean":
        return None
    count = min(GALLERY_IMAGES, len(result.images))
    return [
        values[:count]
        for values in (
            result.images,
            result.adversarial[last],
            result.outcomes["clean"].predicted,
            result.outcomes[last].predicted,
            result.labels,
        )
    ]
