"""From absl flags to one `Config`: the parts that the groups of flags resolve, put together.

A flag that is not given takes its value as `flags/values.py` says, or (sparta's options) from the
run whose activations it takes, then from its own default, then from `flags/defaults.py`.
"""

import os
import re

from flags import defaults, definitions
from flags.groups import attack, evaluation, hardware, model, optimisation, run
from flags.groups import data as data_group
from flags.values import Values
from sat_tf import data
from sat_tf.config import Config, RecordingConfig, SavingConfig, checked
from sat_tf.errors import UserError


def default_model_dir(flags, imported=None) -> str:
    """Returns runs/<model>-<activation>-<dataset>-<method>, as flags and import say."""
    values = Values(flags, imported=imported)
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
    values = Values(flags, stored, imported)
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


def to_config(flags, stored=None, imported=None, description=None, learnt=None) -> Config:
    """Resolves the flags completely.

    Args:
      flags: absl FlagValues, parsed.
      stored: the Config of the run that is continued or evaluated, or None.
      imported: the `release.Network` that weights are imported from, or None.
      description: what `describe` returned for the same arguments; None for asking it here.
      learnt: the ModelConfig of the run that --sparta_from names, which a new run needs; or None.
    Raises: UserError, one line naming flag, value and remedy.
    """
    values = Values(flags, stored, imported)
    description = description or describe(flags, stored, imported)
    if not definitions.trains(flags):
        _check_best_is_kept(values, stored)
    if imported is not None:
        _check_classes(flags, values, imported, description)
    row = model.row_of(values)
    otherwise = checked(
        "model", lambda _: defaults.of(row.family, description.name), values.get("model")
    )
    data_config = data_group.config_of(
        values, description, otherwise, caps=definitions.trains(flags)
    )
    optimizer = optimisation.config_of(values, data_config, otherwise, stored)
    attack_config = attack.config_of(values, otherwise)
    clean_epochs = int(otherwise["clean_share"] * optimizer.train_steps / optimizer.steps_per_epoch)
    return Config(
        model=model.config_of(values, description, row, learnt),
        attack=attack_config,
        method=attack.method_of(values, clean_epochs, otherwise),
        optimizer=optimizer,
        data=data_config,
        distribution=hardware.config_of(values),
        evaluation=evaluation.config_of(values, data_config, attack_config.norm),
        seed=values.get("seed"),
        plugin=run.config_of(flags, stored),
        saving=SavingConfig(values.get("save_every"), values.get("keep_checkpoints")),
        recording=RecordingConfig(values.get("histogram_every"), values.get("profile")),
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
