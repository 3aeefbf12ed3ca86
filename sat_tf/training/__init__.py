"""Adversarial training of Keras classifiers.

model = AdversarialModel(classifier, create("pgd", epsilon=8/255, num_steps=7))
model.compile("sgd")
model.fit(images, labels)
"""

import functools

import tensorflow as tf

from sat_tf import activations, attacks
from sat_tf.config import Config
from sat_tf.training import callbacks, checkpoints
from sat_tf.training.method_table import METHODS, Row, create, drops_of, register, row
from sat_tf.training.methods import Method
from sat_tf.training.model import AdversarialModel
from sat_tf.training.optimization import (
    OPTIMIZERS,
    SCHEDULES,
    WEIGHT_DECAY_ON,
    Schedule,
    create_optimizer,
    default_drops,
)
from sat_tf.training.sam import SAM
from sat_tf.training.watch import COLLAPSE_STEPS, Collapse, Stop, Watch
from sat_tf.training.weight_average import WeightAverage

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
    "register",
    "replaced_derivatives",
    "row",
]


def acts_in_some_epoch(config: Config) -> bool:
    """Whether the configured method does what it is for in one epoch of the run at least."""
    epochs = range(-(-config.optimizer.train_steps // config.optimizer.steps_per_epoch))
    if config.method.name != "converge_smooth":
        return config.method.name == "standard" or config.method.clean_epochs < len(epochs)
    state = build_method(config, compiled="none", loss_scale=1.0).state
    return any(state.is_active(epoch) for epoch in epochs)


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
            drops=drops_of(settings),
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
