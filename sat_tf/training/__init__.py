"""Adversarial training of Keras classifiers.

    model = AdversarialModel(classifier, create("pgd", epsilon=8/255, num_steps=7))
    model.compile("sgd")
    model.fit(images, labels)
"""

from typing import Optional

import tensorflow as tf

from sat_tf.config import Config
from sat_tf.training.methods import METHODS, Method, create
from sat_tf.training.model import AdversarialModel
from sat_tf.training.optimization import Schedule, create_optimizer
from sat_tf.training.sam import SAM

__all__ = ["AdversarialModel", "METHODS", "Method", "SAM", "build", "build_method", "create"]


def build_method(config: Config, *, compiled: str, loss_scale: float) -> Method:
    """Makes the configured method; `compiled` and `loss_scale` are those of `attacks.pgd`."""
    names = METHODS[config.method.name].attack_settings
    settings = {name: getattr(config.attack, name) for name in names}
    if settings:
        settings.update(compiled=compiled, loss_scale=loss_scale)
    return create(config.method.name, label_smoothing=config.method.label_smoothing, **settings)


def _build_optimizer(config: Config) -> tf.keras.optimizers.Optimizer:
    settings = config.optimizer
    optimizer = create_optimizer(settings.name, Schedule(
        settings.schedule, learning_rate=settings.learning_rate,
        total_steps=settings.train_steps, steps_per_epoch=settings.steps_per_epoch,
        warmup_steps=settings.warmup_steps, warmup_learning_rate=settings.warmup_learning_rate))
    if config.distribution.precision == "float16":  # its gradients would underflow unscaled
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def _build_sam(config: Config) -> Optional[SAM]:
    settings = config.optimizer
    if not settings.sam_rho:
        return None
    return SAM(settings.sam_rho, adaptive=settings.sam_adaptive, norm=settings.sam_norm)


def build(config: Config, classifier: tf.keras.Model, method: Method) -> AdversarialModel:
    """Wraps `classifier` as configured and compiles it; call inside the strategy's scope."""
    model = AdversarialModel(
        classifier, method, seed=config.seed, weight_decay=config.optimizer.weight_decay,
        weight_decay_on=config.optimizer.weight_decay_on, ema_decay=config.optimizer.ema_decay,
        clean_epochs=config.method.clean_epochs, sam=_build_sam(config))
    model.compile(_build_optimizer(config),
                  steps_per_execution=config.distribution.steps_per_execution)
    return model
