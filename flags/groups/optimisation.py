"""The flags of the group "optimisation": the update, its schedule and its length."""

from flags.kinds import choice, integer, number, numbers, switch
from sat_tf import data
from sat_tf.config import OptimizerConfig
from sat_tf.errors import UserError
from sat_tf.training import OPTIMIZERS, SCHEDULES, WEIGHT_DECAY_ON

FLAGS = (
    integer("batch_size", None, "Global batch, over all replicas. Default: the data set's."),
    number("epochs", None, "Passes over the training set, above 0. Default: the data set's."),
    integer("train_steps", None, "Length in steps instead; overrides --epochs."),
    choice(
        "optimizer",
        None,
        tuple(OPTIMIZERS),
        "sgd: Nesterov momentum 0.9; rmsprop: as in TensorFlow 1. Default: the model's.",
    ),
    number("learning_rate", None, "The full rate. Default: the model's, times batch_size/256."),
    choice("schedule", None, tuple(SCHEDULES), "Of the learning rate. Default: the model's."),
    numbers(
        "drops",
        None,
        "Shares of training, in (0, 1), after which the schedules step and late_step drop to a "
        "tenth: 1/2,3/4. Default: 0.3,0.6,0.9 and 100/110,105/110.",
    ),
    number("warmup_epochs", None, "Linear warm-up. Default: the model's."),
    number("warmup_learning_rate", None, "Where the warm-up starts. Default: the model's."),
    number(
        "weight_decay",
        None,
        "Times half the squared weights, added to the loss. Default: the model's.",
    ),
    choice("weight_decay_on", None, tuple(WEIGHT_DECAY_ON), "Default: the model's."),
    number(
        "label_smoothing",
        None,
        "Share of the target spread over all classes, in [0, 1). Default: the data set's.",
    ),
    number(
        "ema_decay",
        None,
        "Of the moving average of weights and statistics that is evaluated and exported, in [0, "
        "1); 0 is off. Default: the model's.",
    ),
    number(
        "sam_rho",
        0,
        "Radius of sharpness-aware minimisation, in the norm of all weights; 0.05 is usual; 0 "
        "is off.",
    ),
    switch(
        "sam_adaptive",
        False,
        "Adaptive SAM: relative to the size of each weight; rho is then about ten times as large.",
    ),
    choice(
        "sam_norm",
        "global",
        ("global", "replica"),
        "global: one direction, of the global batch's gradient; replica: each replica's own, as "
        "the authors have it.",
    ),
)


def config_of(values, data_config, otherwise, stored):
    steps_per_epoch = data.steps_per_epoch(
        data_config.train_examples - data_config.validation_examples, data_config.batch_size
    )
    scale = data_config.batch_size / 256
    learning_rate = values.get("learning_rate", otherwise["learning_rate_per_256"] * scale)
    return OptimizerConfig(
        name=values.get("optimizer", otherwise["optimizer"]),
        learning_rate=learning_rate,
        train_steps=_train_steps(values, steps_per_epoch, otherwise, stored),
        steps_per_epoch=steps_per_epoch,
        # A warm-up begins no higher than it ends.
        warmup_learning_rate=values.get(
            "warmup_learning_rate", min(otherwise["warmup_learning_rate"], learning_rate)
        ),
        **{
            name: values.get(name, otherwise[name])
            for name in (
                "schedule",
                "warmup_epochs",
                "weight_decay",
                "weight_decay_on",
                "ema_decay",
            )
        },
        **{name: values.get(name) for name in ("sam_rho", "sam_adaptive", "sam_norm", "drops")},
    )


def _train_steps(values, steps_per_epoch, otherwise, stored):
    if values.given("train_steps"):
        return values.get("train_steps")
    if stored is not None and not values.given("epochs"):
        return stored.optimizer.train_steps
    epochs = values.get("epochs", otherwise["epochs"])
    if not epochs > 0:
        raise UserError(f"--epochs={epochs:g}: give a number above 0; --mode=eval trains nothing")
    return max(1, round(epochs * steps_per_epoch))
