"""What a command is going to do, in lines, before it does any of it.

for line in lines(config, strategy, description, mode="train", folder="runs/mine"):
    print(line)
"""

import os

import tensorflow as tf

from sat_tf import distribution
from sat_tf.runs.telling.cost import attack_steps, passes_per_step
from sat_tf.runs.telling.words import counted, radius

_WIDTH = 9  # of the first column


def lines(config, strategy, description, *, mode, folder, network=None, images=None) -> list[str]:
    """Returns the plan of a command.

    Args:
      config: the Config.
      strategy: where it runs.
      description: of the data.
      mode: a key of MODES.
      folder: the path that it writes to, or reads from.
      network: what to call the network, where it is none of `config.model`.
      images: of `predict`, the pattern of the files.
    """
    trains, measures = "train" in mode, "eval" in mode
    rows = [("mode", mode), ("network", network or _network(config))]
    if trains or measures:
        rows.append(("data", _data(config, description, trains)))
    if trains:
        rows += [("method", _method(config)), ("length", _length(config))]
    if measures:
        rows.append(("measures", _measures(config)))
    if images:
        rows.append(("images", images))
    rows += [("devices", _devices(config, strategy)), ("folder", folder)]
    return [f"{name:{_WIDTH}} {text}" for name, text in rows]


def _network(config):
    network = config.model
    alpha = "" if network.activation_alpha is None else f" (alpha {network.activation_alpha:g})"
    return (
        f"{network.name}, {network.activation}{alpha}, images of {network.image_size} x "
        f"{network.image_size} pixels, {network.num_classes} classes"
    )


def _data(config, description, trains):
    settings = config.data
    held_out = settings.validation_examples
    parts = [
        f"{settings.train_examples - held_out:,} of {description.train_examples:,} images to train "
        "on"
        if trains
        else "",
        f"{held_out:,} of these kept for validation" if trains and held_out else "",
        f"{settings.eval_examples:,} of {description.eval_examples:,} to measure on",
    ]
    return f"{description.name}: {', '.join(filter(None, parts))}"


def _method(config):
    name, attack = config.method.name, config.attack
    steps, passes = attack_steps(config), passes_per_step(config)
    sam = f" with SAM (rho {config.optimizer.sam_rho:g})" if config.optimizer.sam_rho else ""
    attacked = (
        f", {counted(steps, 'attack step')} of {radius(attack.step_size)} within "
        f"{radius(attack.epsilon)} ({attack.norm})"
        if steps
        else ""
    )
    return f"{name}{sam}{attacked}: {counted_passes(passes)} a step"


def counted_passes(passes) -> str:
    """Returns "1 pass", "4.5 passes": forward and backward through the network."""
    return f"{passes:g} {'pass' if passes == 1 else 'passes'}"


def _length(config):
    settings, batch = config.optimizer, config.data.batch_size
    epochs = -(-settings.train_steps // settings.steps_per_epoch)
    clean = min(config.method.clean_epochs, epochs)
    attacked = attack_steps(config) > 0
    first = f", the first {counted(clean, 'epoch')} without attack" if clean and attacked else ""
    return (
        f"{counted(settings.train_steps, 'step')} of {batch:,} images: {counted(epochs, 'epoch')} "
        f"of {counted(settings.steps_per_epoch, 'step')}{first}"
    )


def _measures(config):
    settings = config.evaluation
    curves = f"; curves: {', '.join(settings.curves)}" if settings.curves else ""
    within = (
        f" within {radius(config.evaluation_epsilon)} ({settings.norm})"
        if set(settings.attacks) != {"clean"}
        else ""
    )
    return f"{', '.join(settings.attacks)}{within}, {settings.batch_size:,} at a time{curves}"


def _devices(config, strategy):
    kind, replicas = distribution.device_type(strategy), distribution.local_replicas(strategy)
    workers = distribution.worker_of(strategy).count
    there = [] if workers > 1 else tf.config.list_logical_devices(kind)
    virtual = "virtual " if kind == "CPU" and len(there) > 1 else ""
    used = f"{replicas} {virtual}{kind}{'s' if replicas > 1 else ''}"
    if len(there) > replicas:
        used += f" of {len(there)}"
    if kind == "CPU":
        used += f", {counted(len(os.sched_getaffinity(0)), 'core')}"
    elif kind == "GPU":
        used += f" ({distribution.device_name(kind)})"
    name = type(strategy).__name__.removesuffix("V1").removesuffix("V2")
    if workers > 1:
        used, name = f"{workers} workers, each with {used}", "MultiWorkerMirroredStrategy"
    return f"{used}; {name}, {config.distribution.precision}"
