"""The only place that reads flag values: from absl flags to one `Config`.

A flag that is not given takes its value from the run it continues, where there is one (but not
the hardware, which is this command's), or from what an imported checkpoint says of its network, or
(sparta's options) from the run whose activations it takes, then from its own default, then from
`flags/defaults.py`.
"""

import functools
import os
import re

from flags import defaults, definitions, evaluation, learnt_activation
from sat_tf import activations, config_settings, data, distribution, models, ranges, training
from sat_tf import config as configs
from sat_tf.errors import UserError, look_up
from sat_tf.ranges import checked

# The compute dtype is not among these: it is part of what a run computes.
_HARDWARE = ("strategy", "tpu", "virtual_cpus", "xla", "steps_per_execution", "download")


class _Values:
    """Looks a flag up in the order above."""

    def __init__(self, flags, stored=None, imported=None):
        self._flags = flags
        self.continues = stored is not None  # or evaluates, exports, predicts with
        self._stored = config_settings.flag_values(stored) if stored else _facts(imported)
        for name in _HARDWARE:
            self._stored.pop(name, None)

    def given(self, name):
        """Whether the user set the flag."""
        return bool(self._flags[name].present) and self._flags[name].value is not None

    def names_another(self, name, value):
        """Whether the flag says `value` where the run that is continued or applied says another."""
        return self.given(name) and self._stored.get(name, value) != value

    def get(self, name, otherwise=None):
        if self.given(name):
            return self._flags[name].value
        if name in self._stored:
            return self._stored[name]
        value = self._flags[name].value
        return otherwise if value is None else value


def _facts(network):
    """Returns {flag: value} of what is known of a network of the release, or of None."""
    if network is None:
        return {}
    known = {
        "model": network.model,
        "num_classes": network.num_classes,
        "activation": "smoothrelu" if network.learns_smoothrelu else None,
        "dataset": "imagenet2012" if network.num_classes == 1000 else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def default_model_dir(flags, imported=None) -> str:
    """Returns runs/<model>-<activation>-<dataset>-<method>, from flags and imported network
    alone."""
    values = _Values(flags, imported=imported)
    names = map(values.get, ("model", "activation", "dataset", "method"))
    return os.path.join("runs", "-".join(re.sub("[/:]", "_", name) for name in names))


def describe(flags, stored=None, imported=None, recorded=None):
    """Returns the Description of the data set that flags and run mean.

    Args:
      flags, stored, imported: as for `to_config`.
      recorded: the Description that the run was trained with, or None.  Where no images are read
        it will do, so that a run can be exported far from its data.
    Raises: UserError, one line naming flag, value and remedy.
    """
    values = _Values(flags, stored, imported)
    if recorded is not None and not definitions.reads_data(flags) and not values.given("dataset"):
        return recorded
    return checked(
        "dataset",
        lambda name: data.describe(
            name,
            values.get("data_dir"),
            download=definitions.reads_data(flags) and values.get("download"),
            eval_only=not definitions.trains(flags),
        ),
        values.get("dataset"),
    )


def to_config(flags, stored=None, imported=None, description=None, learnt=None) -> configs.Config:
    """Resolves the flags completely.

    Args:
      flags: absl FlagValues, parsed.
      stored: the Config of the run that is continued or evaluated, or None.
      imported: the `tf1_checkpoint.Network` that weights are imported from, or None.
      description: what `describe` returned for the same arguments; None for asking it here.
      learnt: the ModelConfig of the run that --sparta_from names, which a new run needs; or None.
    Raises: UserError, one line naming flag, value and remedy.
    """
    values = _Values(flags, stored, imported)
    description = description or describe(flags, stored, imported)
    if not definitions.trains(flags):
        _check_best_is_kept(values, stored)
    if imported is not None:
        _check_classes(flags, values, imported, description)
    row = models.MODELS[checked("model", models.canonical_name, values.get("model"))]
    otherwise = defaults.of(row.family, description.name)
    data_config = _data(values, description, otherwise, caps=definitions.trains(flags))
    optimizer = _optimizer(values, data_config, otherwise, stored)
    clean_epochs = int(otherwise["clean_share"] * optimizer.train_steps / optimizer.steps_per_epoch)
    return configs.Config(
        model=_model(values, description, row, learnt),
        attack=_attack(values, otherwise),
        method=_method(values, clean_epochs, otherwise),
        optimizer=optimizer,
        data=data_config,
        distribution=_distribution(values),
        evaluation=evaluation.config_of(values, data_config),
        seed=values.get("seed"),
    )


def _check_best_is_kept(values, stored):
    """Refuses to ask a trained run for the best checkpoint where it held nothing out to tell."""
    held_out = stored.data.validation_examples if stored else 0
    if not held_out and values.get("eval_checkpoint") == "best":
        raise UserError(
            "--eval_checkpoint=best: this run kept no best checkpoint; leave the flag out"
        )
    if not held_out and values.get("patience"):
        raise UserError(
            f"--patience={values.get('patience')}: nothing is trained; leave the flag out"
        )


def _method(values, clean_epochs, otherwise):
    row = training.row(values.get("method"))
    return configs.MethodConfig(
        name=values.get("method"),
        clean_epochs=values.get("clean_epochs", clean_epochs),
        label_smoothing=values.get("label_smoothing", otherwise["label_smoothing"]),
        update_gradient=_gradient(values, "update_gradient"),
        catastrophic_drop=values.get("catastrophic_drop", row.catastrophic_drop),
        **{
            flag: values.get(flag)
            for row in training.METHODS.values()
            for flag in row.constants.values()
        },
    )


def _gradient(values, flag):
    name = values.get(flag)
    if name is not None:
        checked(flag, activations.check_derivative, name)
    return name


def _check_classes(flags, values, imported, description):
    """Refuses a data set of other classes than an imported network's, unless that is asked for."""
    differ = imported.num_classes not in (None, description.num_classes)
    matters = definitions.reads_data(flags) or values.given("dataset")
    if differ and matters and not values.given("num_classes"):
        raise UserError(
            f"--dataset={description.name}: has {description.num_classes} classes, the checkpoint "
            f"{imported.num_classes}; name a data set of its classes, or give "
            f"--num_classes={imported.num_classes} to use it all the same"
        )


def _model(values, description, row, learnt):
    num_classes = values.get("num_classes", description.num_classes)
    if 2 <= num_classes < description.num_classes and not values.given("num_classes"):
        raise UserError(
            f"--dataset={description.name}: has {description.num_classes} classes, the "
            f"network {num_classes}; name the data set it was trained on"
        )
    if 2 <= num_classes < description.num_classes:
        raise UserError(
            f"--num_classes={num_classes}: {description.name} has "
            f"{description.num_classes} classes; give at least that many"
        )
    activation, alpha = values.get("activation"), values.get("activation_alpha")
    checked("activation", activations.create, activation)
    if alpha is not None:
        checked("activation_alpha", lambda a: activations.create(activation, a), alpha)
    return configs.ModelConfig(
        name=models.canonical_name(values.get("model")),
        activation=activation,
        activation_alpha=alpha,
        image_size=values.get("image_size", description.image_size or row.image_size),
        num_classes=num_classes,
        dropout_rate=values.get("dropout_rate", row.dropout_rate),
        survival_probability=values.get("survival_probability", row.survival_probability),
        batch_norm_momentum=values.get("batch_norm_momentum", row.batch_norm_momentum),
        batch_norm_epsilon=values.get("batch_norm_epsilon", row.batch_norm_epsilon),
        **learnt_activation.settings(values, activation, learnt),
    )


def _attack(values, otherwise):
    method = checked("method", training.row, values.get("method"))
    epsilon = values.get("epsilon", otherwise["epsilon"])
    num_steps = method.num_steps or otherwise["num_steps"]
    if method.num_steps is None or "num_steps" in method.attack_settings:
        num_steps = values.get("num_steps", num_steps)
    ranges.check_attack_size(epsilon, num_steps)  # before they are divided
    step_size = values.get("step_size")
    if step_size is None:
        step_size = method.step_size(epsilon, num_steps)
        ranges.check_default_step(values.get("method"), epsilon, step_size)
    return configs.AttackConfig(
        epsilon=epsilon,
        num_steps=num_steps,
        step_size=step_size,
        random_start=values.get("random_start"),
        clean_start_probability=values.get("clean_start_probability"),
        attack_gradient=_gradient(values, "attack_gradient"),
    )


def _data(values, description, otherwise, *, caps):
    # What a run has used of its data says nothing of another set it is measured on.
    elsewhere = values.names_another("dataset", description.name)
    sizes = {}
    for flag, available in (
        ("train_examples", description.train_examples),
        ("eval_examples", description.eval_examples),
    ):
        sizes[flag] = (
            available if elsewhere and not values.given(flag) else (values.get(flag, available))
        )
        if sizes[flag] > available and (caps or values.given(flag)):
            raise UserError(
                f"--{flag}={sizes[flag]}: {description.name} has {available}; give at "
                "most that many, or leave the flag out for all"
            )
    held_out = values.get("validation_examples")
    available = max(1, sizes["train_examples"] - held_out)
    batch_size = values.get("batch_size", min(otherwise["batch_size"], available))
    if not caps:  # nothing is trained, and the number of training images may be nominal
        sizes["train_examples"] = max(sizes["train_examples"], batch_size + held_out)
    return configs.DataConfig(
        name=description.name,
        augment=values.get("augment", otherwise["augment"]),
        batch_size=batch_size,
        **{
            name: values.get(name)
            for name in (
                "data_dir",
                "download",
                "max_bad_records",
                "randaugment_layers",
                "randaugment_magnitude",
                "validation_examples",
            )
        },
        **sizes,
    )


def _optimizer(values, data_config, otherwise, stored):
    steps_per_epoch = data.steps_per_epoch(
        data_config.train_examples - data_config.validation_examples, data_config.batch_size
    )
    scale = data_config.batch_size / 256
    learning_rate = values.get("learning_rate", otherwise["learning_rate_per_256"] * scale)
    return configs.OptimizerConfig(
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


def _distribution(values):
    strategy = values.get("strategy")
    checked("strategy", functools.partial(look_up, distribution.STRATEGIES, "strategy"), strategy)
    return configs.DistributionConfig(
        strategy=strategy,
        **{
            name: values.get(name)
            for name in ("tpu", "virtual_cpus", "xla", "precision", "steps_per_execution")
        },
    )
