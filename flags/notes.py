"""What a user should know of flags that were given, though nothing is wrong with them."""

from flags import definitions
from flags.groups import learnt_activation
from sat_tf import activations, data, training
from sat_tf.config import flag_values
from sat_tf.errors import few

_GRADIENTS = ("attack_gradient", "update_gradient")


def of(flags, config, imported=None, applied=None, description=None) -> list:
    """Returns what a user should know who gave flags without a use, or imports a network.

    Args:
      flags: absl FlagValues, parsed.
      config: what they mean.
      imported: the `release.Network` that weights are imported from, or None.
      applied: the Config of the run that is evaluated, exported or predicted with, or None.
      description: of the data, or None.
    """
    return [
        *(_on_training(flags, config) if definitions.trains(flags) else _on_not_training(flags)),
        *(_on_applying(flags, config, applied) if applied else ()),
        *(_on_gradients(flags, config) if definitions.reads_data(flags) else ()),
        *(on_evaluation(flags, config) if definitions.evaluates(flags) else ()),
        *(about_lacking(description) if description and definitions.evaluates(flags) else ()),
        *(about_passed_over(description) if description and definitions.reads_data(flags) else ()),
        *(_on_import(flags, imported) if imported else ()),
    ]


def _on_import(flags, imported):
    found = []
    if (
        imported.family == "resnet"
        and not imported.learns_smoothrelu
        and (not flags["activation"].present)
    ):
        found.append(
            f"--activation={flags.activation} is assumed: the checkpoint does not say "
            "which one its network has"
        )
    if imported.has_raw and imported.has_averaged and not flags.checkpoint_ema:
        found.append("the checkpoint has moving averages too; --checkpoint_ema=true takes them")
    return found


def _on_applying(flags, config, applied):
    """Names what was given and would have made another run of the one that is there."""
    there, here = (flag_values(c, defining_only=True) for c in (applied, config))
    measures = definitions.reads_data(flags)
    used = ("dataset", "precision", *(("epsilon", "seed") if measures else ()))
    for name in there:
        # What follows from other settings has no flag, and what follows from a flag was not given.
        if name in used or there[name] == here[name] or not flags[name].present:
            continue
        given, trained = (
            f"--{name}={_text(here[name])}",
            (f"without --{name}" if there[name] is None else f"with --{name}={_text(there[name])}"),
        )
        yield (
            f"{given} is only evaluated with; the run was trained {trained}"
            if measures and name in _GRADIENTS
            else f"the run was trained {trained}; {given} is not used"
        )


def _text(value):
    """Returns a value as it is written after a flag."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def on_evaluation(flags, config):
    """Returns a note on each flag of evaluation that the attacks and curves asked for do not use.

    Args:
      flags: absl FlagValues, parsed, of a command that evaluates.
      config: what they mean.
    """
    settings = config.evaluation
    run = (
        *settings.attacks,
        *([settings.curve_attack] if settings.curves else ()),
        *([settings.validation_attack] if config.data.validation_examples else ()),
    )
    return _lacking(
        flags,
        (
            ("autoattack_version", "autoattack among the attacks", "autoattack" in run),
            ("curve_attack", "--curves", settings.curves),
            ("curve_epsilons", "epsilon in --curves", "epsilon" in settings.curves),
            ("save_adversarial", "an attack in --eval_attacks", settings.attacks != ("clean",)),
        ),
    )


def about_lacking(description):
    """Returns a note where classes of a data set have no image to be measured on."""
    lacking = description.eval_lacks
    if not lacking:
        return []
    return [
        f"--dataset={description.name} has no image of {few(lacking)} to measure on "
        f"({len(lacking)} of {description.num_classes} classes)"
    ]


def about_passed_over(description):
    """Returns a note where a data set has files that are read as nothing."""
    passed_over = data.passed_over(description.name)
    if not passed_over:
        return []
    return [f"--dataset={description.name}: passed over {passed_over}: no image by the ending"]


def _lacking(flags, rows):
    """Names the flags given without their need; a row is (flag, need, whether it is met)."""
    return [
        f"--{name} is not used without {needed}"
        for name, needed, is_met in rows
        if flags[name].present and not is_met
    ]


def _on_gradients(flags, config):
    network = config.model
    for flag in _GRADIENTS:
        name = flags[flag].value if flags[flag].present else None
        if name == network.activation:
            yield f"--{flag}={name} names the network's own activation"
        elif name and activations.is_smooth(network.activation, network.activation_alpha):
            yield (
                f"--{flag}={name} replaces the derivative of {network.activation}, which is "
                "smooth already"
            )
    attacks_nothing = definitions.trains(flags) and config.method.name == "standard"
    if attacks_nothing and flags["attack_gradient"].present:
        yield "--attack_gradient is not used by --method=standard, only to evaluate"


def _on_training(flags, config):
    row = training.row(config.method.name)
    taken = (*row.attack_settings, *row.constants.values())
    # Not epsilon: evaluation uses it whatever the method.
    settings = (
        "step_size",
        "num_steps",
        "random_start",
        "clean_start_probability",
        *(flag for other in training.METHODS.values() for flag in other.constants.values()),
    )
    by_method = [name for name in settings if flags[name].present and name not in taken]
    gradual = flags["drops"].present and not training.default_drops(config.optimizer.schedule)
    by_augment = [
        name
        for name in ("randaugment_layers", "randaugment_magnitude")
        if flags[name].present and config.data.augment != "randaugment"
    ]
    return [
        *(f"--{name} is not used by --method={config.method.name}" for name in by_method),
        *(f"--{name} is not used by --augment={config.data.augment}" for name in by_augment),
        *([f"--drops is not used by --schedule={config.optimizer.schedule}"] * gradual),
        *_lacking(
            flags,
            (
                ("sam_norm", "--sam_rho", config.optimizer.sam_rho),
                ("validation_attack", "--validation_examples", config.data.validation_examples),
            ),
        ),
        *_without_effect(config),
        *_on_sparta(flags, config),
    ]


def _without_effect(config):
    """Names settings that a run of this length never comes to."""
    settings = config.optimizer
    epochs = -(-settings.train_steps // settings.steps_per_epoch)
    attacked = max(0, epochs - config.method.clean_epochs)
    if not training.acts_in_some_epoch(config):
        yield (
            f"--method={config.method.name} attacks in none of the {epochs} epochs"
            if not attacked
            else f"--method={config.method.name} changes the loss in none of the {epochs} epochs: "
            "no stretch of constant learning rate is long enough"
        )
    if config.evaluation.patience and attacked <= config.evaluation.patience:
        yield (
            f"--patience={config.evaluation.patience} cannot end the run: it has {attacked} epochs "
            "with attack"
        )


def _on_sparta(flags, config):
    """Names the options of sparta that were given for another activation."""
    activation = config.model.activation
    return [
        f"--{name} is not used by --activation={activation}"
        for name in learnt_activation.OPTIONS
        if flags[name].present and activation != "sparta"
    ]


def _on_not_training(flags):
    """Names what only a new run reads."""
    return [f"--sparta_from is not read by --mode={flags.mode}"] if flags.sparta_from else []
