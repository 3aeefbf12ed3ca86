"""What a run measures of its network, again and again: accuracies, and a gallery of attacks.

The graphs are traced once and kept, so that evaluating every epoch costs neither time nor memory
for another one.
"""

import functools

from sat_tf import (
    activations,
    attacks,
    curve_measurement,
    data,
    distribution,
    evaluation,
    outcome_checks,
    probes,
    self_checks,
    summaries,
)

GALLERY_IMAGES = summaries.MAX_ROWS
PROBED_EXAMPLES = 128
_TRANSFER = "transfer"


def attack_form(config, strategy) -> dict:
    """Returns `compiled` and `loss_scale` of `attacks.pgd`, by the hardware and the precision."""
    return {
        "compiled": attacks.compiled_form(
            config.distribution.xla, distribution.device_type(strategy)
        ),
        # The release's factor where float16 would round small input gradients to zero.
        "loss_scale": 128.0 if config.distribution.precision == "float16" else 1.0,
    }


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
      logits_fn: the network in inference mode; its variables are read at each call.
      compiled, loss_scale: see `attacks.pgd`.
      surrogate: another network, like `logits_fn`, to make attacks on as well; or None.
      differentiable: whether `logits_fn` is; without, only attacks that need no gradient can be.
    """

    def __init__(
        self,
        config,
        strategy,
        source,
        logits_fn,
        *,
        compiled,
        loss_scale,
        surrogate=None,
        differentiable=True,
    ):
        self._config, self._strategy, self._source = config, strategy, source
        self._differentiable = differentiable
        self._logits_fn, self._loss_scale, self._compiled = logits_fn, loss_scale, compiled
        settings = config.evaluation
        self._create = functools.partial(
            attacks.create,
            step_size=settings.step_size,
            norm=settings.norm,
            robust_if=settings.robust_if,
            num_classes=config.model.num_classes,
            version=settings.autoattack_version,
            compiled=compiled,
            loss_scale=loss_scale,
        )
        named = {
            name: self._create(name, epsilon=config.evaluation_epsilon) for name in settings.attacks
        }
        self.attacks = {
            **under_each_derivative(named, config),
            **(_each(named, _TRANSFER, lambda logits_fn: surrogate) if surrogate else {}),
        }
        self._evaluator = self._evaluator_of(
            self.attacks,
            keep=max(GALLERY_IMAGES, min(settings.save_adversarial, config.data.eval_examples)),
        )

    def _evaluator_of(self, named, keep=0):
        return evaluation.Evaluator(
            self._logits_fn, named, seed=self._config.seed, strategy=self._strategy, keep=keep
        )

    def accuracies(self, *, on_batch=None, state=None) -> evaluation.Result:
        """Returns the counts over the evaluation examples in use; see `Evaluator` for the
        arguments."""
        return self._evaluator(self._batches(), on_batch=on_batch, state=state)

    def examine(self) -> list:
        """Returns the findings of `self_checks.examine` on the first of the examples."""
        return self_checks.examine(
            self._logits_fn,
            *self._first(self_checks.EXAMPLES),
            seed=self._config.seed,
            loss_scale=self._loss_scale,
            differentiable=self._follows_gradients,
        )

    def review(self, result) -> list:
        """Returns what the outcomes of the attacks say of them, and short attacks where asked
        for."""
        survives = _survivors(result)
        transferred = {
            name: survives.pop(name) for name in list(survives) if name.endswith(f":{_TRANSFER}")
        }
        settings = self._config.evaluation
        # Where PGD stops at the first misclassified iterate, a loss is that of barely crossing
        # over.
        losses = (
            None
            if settings.robust_if == "any_iterate"
            else {name: outcome.loss for name, outcome in result.outcomes.items()}
        )
        findings = outcome_checks.review(
            survives,
            ~result.outcomes["clean"].broken,
            threat=self._threat,
            step_size=settings.step_size,
            losses=losses,
            transferred=transferred,
        )
        wanted = settings.self_checks
        if self._follows_gradients and (
            wanted == "full"
            or wanted == "auto"
            and (any(map(attacks.is_of_autoattack, result.correct)))
        ):
            findings += self._prober(*self._first(PROBED_EXAMPLES), seed=self._config.seed)
        return findings

    @property
    def _follows_gradients(self):
        """Whether any attack that is asked for differentiates the network."""
        settings = self._config.evaluation
        asked = (*settings.attacks, *([settings.curve_attack] if settings.curves else ()))
        return self._differentiable and any(
            attacks.needs_gradient(name, settings.autoattack_version) for name in asked
        )

    @functools.cached_property
    def _prober(self):
        return probes.Prober(
            self._logits_fn,
            threat=self._threat,
            compiled=self._compiled,
            loss_scale=self._loss_scale,
        )

    @property
    def _threat(self):
        return attacks.ThreatModel(
            self._config.evaluation.norm, epsilon=self._config.evaluation_epsilon
        )

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

    def curve(self, kind, *, on_batch=None, state=None) -> list:
        """Returns the rows of a curve of `curves.CURVES`, as the configuration has it."""
        settings = self._config.evaluation
        return curve_measurement.measure(
            kind,
            attack=settings.curve_attack,
            create=self._create,
            epsilon=self._config.evaluation_epsilon,
            epsilons=settings.curve_epsilons,
            norm=settings.norm,
            evaluate=lambda named: self._evaluator_of(named)(
                self._batches(), on_batch=on_batch, state=state
            ),
        )

    def _batches(self):
        return data.evaluation_batches(
            self._source,
            batch_size=self._config.evaluation.batch_size,
            image_size=self._config.model.image_size,
            num_examples=self._config.data.eval_examples,
        )


def exhibits(result):
    """Returns the first examples under the last attack of a Result, or None without an attack.

    Returns: NumPy (images, adversarial, their two predicted classes, labels), as
      `summaries.write_grid` takes them.
    """
    *_, last = result.correct
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


def _survivors(result):
    """Returns {attack: bool [examples]}, with the stages of ensembles, each after those before
    it."""
    survives = {}
    for name, outcome in result.outcomes.items():
        standing = ~result.outcomes["clean"].broken
        for stage, part in outcome.stages.items():
            standing = standing & ~part.broken
            survives.setdefault(stage, standing)
        if name != "clean":
            survives[name] = result.survives(name)
    return survives


def under_each_derivative(by_name, config) -> dict:
    """Returns the attacks, and after them each under every derivative that the run replaces.

    Args:
      by_name: {name: attack}, None for "clean".
      config: the run's Config.
    Returns: {name: attack}; the new names are such as `pgd-20:parametric_softplus`.
    """
    asked = (config.attack.attack_gradient, config.method.update_gradient)
    found = dict(by_name)
    follow = {
        name: attack
        for name, attack in by_name.items()
        if attacks.needs_gradient(name, config.evaluation.autoattack_version)
    }
    for gradient in dict.fromkeys(filter(None, asked)):
        found.update(
            _each(follow, gradient, functools.partial(activations.differentiated_as, gradient))
        )
    return found


def _each(by_name, label, transform):
    """Returns {name:label: the attack that sees each logits_fn as transform(logits_fn)}."""
    return {
        f"{name}:{label}": _through(attack, label, transform)
        for name, attack in by_name.items()
        if attack is not None
    }


def _through(attack, label, transform):
    if not isinstance(attack, attacks.Ensemble):
        return attack.through(transform)
    return attacks.Ensemble(
        {f"{name}:{label}": search.through(transform) for name, search in attack.stages.items()}
    )
