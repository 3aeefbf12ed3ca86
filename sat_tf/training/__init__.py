"""Adversarial training of Keras classifiers.

model = AdversarialModel(classifier, create("pgd", epsilon=8/255, num_steps=7))
model.compile("sgd")
model.fit(images, labels)
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from sat_tf import activations, attacks
from sat_tf.config import Config
from sat_tf.errors import look_up
from sat_tf.training import callbacks, checkpoints, consistency, converge_smooth, methods
from sat_tf.training.methods import Method
from sat_tf.training.model import AdversarialModel
from sat_tf.training.optimization import (
    OPTIMIZERS,
    SCHEDULES,
    WEIGHT_DECAY_ON,
    Schedule,
    WeightAverage,
    create_optimizer,
    default_drops,
)
from sat_tf.training.sam import SAM
from sat_tf.training.watch import COLLAPSE_STEPS, Collapse, Stop, Watch

__all__ = [
    "AdversarialModel",
    "COLLAPSE_STEPS",
    "Collapse",
    "METHODS",
    "Method",
    "OPTIMIZERS",
    "Row",
    "SAM",
    "SCHEDULES",
    "Schedule",
    "Stop",
    "WEIGHT_DECAY_ON",
    "Watch",
    "WeightAverage",
    "acts_in_some_epoch",
    "attack_form",
    "build",
    "build_method",
    "callbacks",
    "checkpoints",
    "create",
    "create_optimizer",
    "default_drops",
    "replaced_derivatives",
    "row",
]


@dataclasses.dataclass(frozen=True)
class Row:
    """How a method is made from settings, and what it costs.

    Attributes:
      make: the function that makes it.
      passes: number of attack steps -> passes a training step costs; see `methods`.
      attack_settings: the settings it takes of those that methods share, by their flag names.
      constants: its own: keyword of `make` -> flag.
      step_size: (epsilon, num_steps) -> the step used where none is given.
      num_steps: its number of attack steps; fixed, unless it is among the attack_settings.
      catastrophic_drop: the fall of robust accuracy that ends training, unless told otherwise.
      from_config: Config -> what else `make` is to know of the run.
    """

    make: Callable[..., Method]
    passes: Callable[[int], float]
    attack_settings: tuple[str, ...] = ()
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    step_size: Callable[[float, int], float] = attacks.default_step_size
    num_steps: int | None = None
    catastrophic_drop: float = 0.0
    from_config: Callable[[Config], dict] = lambda config: {}


def _drops(settings):
    own = default_drops(settings.schedule)
    return own if settings.drops is None or not own else settings.drops


def _rate_boundaries(config):
    """The epochs that ConvergeSmooth's segments begin and end at: the attack's begin is one too."""
    settings = config.optimizer
    epochs_in_all = settings.train_steps / settings.steps_per_epoch
    epochs = [round(share * epochs_in_all, 6) for share in (*_drops(settings), 1.0)]
    first = config.method.clean_epochs
    return {"boundaries": (first, *(epoch for epoch in epochs if epoch > first))}


def acts_in_some_epoch(config: Config) -> bool:
    """Whether the configured method does what it is for in one epoch of the run at least."""
    epochs = range(-(-config.optimizer.train_steps // config.optimizer.steps_per_epoch))
    if config.method.name != "converge_smooth":
        return config.method.name == "standard" or config.method.clean_epochs < len(epochs)
    state = build_method(config, compiled="none", loss_scale=1.0).state
    return any(state.is_active(epoch) for epoch in epochs)


METHODS = {
    "standard": Row(methods.standard, lambda steps: 1),
    "pgd": Row(
        methods.pgd,
        lambda steps: steps + 1,
        ("epsilon", "step_size", "num_steps", "random_start", "clean_start_probability"),
    ),
    "fast": Row(
        methods.fast,
        lambda steps: 2,
        ("epsilon", "step_size"),
        step_size=methods.fast_step_size,
        num_steps=1,
        catastrophic_drop=0.2,
    ),
    "trades": Row(
        consistency.trades,
        lambda steps: steps + 2.5,
        ("epsilon", "step_size", "num_steps"),
        {"beta": "trades_beta"},
    ),
    "backward_smoothing": Row(
        consistency.backward_smoothing,
        lambda steps: steps + 3.5,
        ("epsilon", "step_size", "num_steps"),
        {"beta": "backward_smoothing_beta", "gamma": "backward_smoothing_gamma"},
        step_size=methods.step_of_epsilon,
        num_steps=1,
    ),
    "converge_smooth": Row(
        converge_smooth.converge_smooth,
        lambda steps: 3,
        ("epsilon", "step_size"),
        {
            "threshold": "converge_smooth_threshold",
            "ratio": "converge_smooth_ratio",
            "weight": "converge_smooth_weight",
            "stride": "converge_smooth_stride",
            "project": "converge_smooth_project",
        },
        step_size=methods.step_of_epsilon,
        num_steps=1,
        from_config=_rate_boundaries,
    ),
}


def row(name: str) -> Row:
    """Returns the row of METHODS; ValueError lists the known names."""
    return look_up(METHODS, "method", name)


def create(name: str, **settings) -> Method:
    """Makes a method of METHODS by name, with the keywords of its own function."""
    return row(name).make(**settings)


def build_method(config: Config, *, compiled: str, loss_scale: float) -> Method:
    """Makes the configured method; `compiled` and `loss_scale` are those of `attacks.pgd`."""
    chosen = row(config.method.name)
    settings = {name: getattr(config.attack, name) for name in chosen.attack_settings}
    settings.update(
        {keyword: getattr(config.method, flag) for keyword, flag in chosen.constants.items()}
    )
    if chosen.attack_settings:
        settings.update(compiled=compiled, loss_scale=loss_scale)
    return chosen.make(
        label_smoothing=config.method.label_smoothing, **settings, **chosen.from_config(config)
    )


def attack_form(config: Config, device_type: str) -> dict:
    """Returns `compiled` and `loss_scale` of `attacks.pgd`, by the hardware and the precision.

    Args:
      config: of the run.
      device_type: "CPU", "GPU" or "TPU", what the replicas run on.
    """
    return {
        "compiled": attacks.compiled_form(config.distribution.xla, device_type),
        # The release's factor where float16 would round small input gradients to zero.
        "loss_scale": 128.0 if config.distribution.precision == "float16" else 1.0,
    }


def replaced_derivatives(config: Config) -> dict:
    """Returns {name: logits_fn -> logits_fn} of each derivative that attack or update replaces."""
    asked = (config.attack.attack_gradient, config.method.update_gradient)
    return {
        name: functools.partial(activations.differentiated_as, name)
        for name in dict.fromkeys(filter(None, asked))
    }


def _build_optimizer(config: Config) -> tf.keras.optimizers.Optimizer:
    settings = config.optimizer
    optimizer = create_optimizer(
        settings.name,
        Schedule(
            settings.schedule,
            learning_rate=settings.learning_rate,
            total_steps=settings.train_steps,
            steps_per_epoch=settings.steps_per_epoch,
            drops=_drops(settings),
            warmup_steps=settings.warmup_steps,
            warmup_learning_rate=settings.warmup_learning_rate,
        ),
    )
    if config.distribution.precision == "float16":  # its gradients would underflow unscaled
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def _build_sam(config: Config) -> SAM | None:
    settings = config.optimizer
    if not settings.sam_rho:
        return None
    return SAM(settings.sam_rho, adaptive=settings.sam_adaptive, norm=settings.sam_norm)


def build(config: Config, classifier: tf.keras.Model, method: Method) -> AdversarialModel:
    """Wraps `classifier` as configured and compiles it; call inside the strategy's scope."""
    model = AdversarialModel(
        classifier,
        method,
        seed=config.seed,
        weight_decay=config.optimizer.weight_decay,
        weight_decay_on=config.optimizer.weight_decay_on,
        ema_decay=config.optimizer.ema_decay,
        clean_epochs=config.method.clean_epochs,
        sam=_build_sam(config),
        attack_gradient=config.attack.attack_gradient,
        update_gradient=config.method.update_gradient,
    )
    model.compile(
        _build_optimizer(config), steps_per_execution=config.distribution.steps_per_execution
    )
    return model
