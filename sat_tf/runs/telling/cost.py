"""What a command costs, in passes of the network, operations and bytes, before it is done.

A pass is one forward and one backward, as in `training.methods`; a forward alone is half of one.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sat_tf import evaluation, training

# Forwards that a pass counts for: a backward computes two products for each one of the forward.
FORWARDS_PER_PASS = 3
# What holds a value that another operation has made, or none, moves nothing.
_MOVES_NOTHING = {
    "Const",
    "Identity",
    "IdentityN",
    "NoOp",
    "Placeholder",
    "ReadVariableOp",
    "Reshape",
    "Shape",
    "StopGradient",
}


def attack_steps(config) -> int:
    """Returns the attack steps of a training step."""
    row = training.row(config.method.name)
    if "num_steps" in row.attack_settings:
        return config.attack.num_steps
    return row.num_steps or 0


def passes_per_step(config, *, attacked: bool = True) -> float:
    """Returns the passes of a training step; of one without attack if not `attacked`."""
    steps = attack_steps(config)
    of_loss = training.row(config.method.name).passes(steps) - steps
    # SAM takes the loss once more, elsewhere.
    return of_loss * (2 if config.optimizer.sam_rho else 1) + (steps if attacked else 0)


def training_passes(config, begun: int = 0) -> float:
    """Returns the passes of the steps from `begun` to the end of training, for one example each."""
    settings = config.optimizer
    clean_end = config.method.clean_epochs * settings.steps_per_epoch
    clean = max(0, min(clean_end, settings.train_steps) - begun)
    attacked = max(0, settings.train_steps - begun - clean)
    return clean * passes_per_step(config, attacked=False) + attacked * passes_per_step(config)


def evaluation_passes(config, *, trains: bool, then_evaluates: bool, begun: int = 0) -> float:
    """Returns the passes of all that is measured, should no attack break any example.

    Args:
      config: the Config.
      trains: whether there is a training, from step `begun` on, that is measured on the way.
      then_evaluates: whether the end is measured too.
    """
    settings, length = config.evaluation, config.optimizer
    suite = evaluation.Suite(
        epsilon=config.evaluation_epsilon,
        norm=settings.norm,
        num_classes=config.model.num_classes,
        version=settings.autoattack_version,
        step_size=settings.step_size,
        robust_if=settings.robust_if,
    )
    variants = training.replaced_derivatives(config)
    surrogates = {"transfer": None} if settings.transfer_from else {}
    named = suite.named(settings.attacks, derivatives=variants, surrogates=surrogates)
    whole = evaluation.work.at_most(named, config.data.eval_examples)
    passes = 0.0
    if trains:
        epochs = math.ceil((length.train_steps - begun) / length.steps_per_epoch)
        passes += whole * (epochs // settings.every if settings.every else 0)
        held_out = suite.named([settings.validation_attack], derivatives=variants)
        passes += epochs * evaluation.work.at_most(held_out, config.data.validation_examples)
    if then_evaluates:
        best_and_last = 2 if config.data.validation_examples else 1
        passes += whole * best_and_last + _curve_passes(config, suite)
    return passes


def _curve_passes(config, suite):
    settings = config.evaluation
    return sum(
        evaluation.work.at_most(
            evaluation.curves.attacks_of(
                kind,
                attack=settings.curve_attack,
                create=suite.create,
                epsilon=config.evaluation_epsilon,
                epsilons=settings.curve_epsilons,
                norm=settings.norm,
            ),
            config.data.eval_examples,
        )
        for kind in settings.curves
    )


class Forward(NamedTuple):
    """What a forward of one image costs: floating-point operations, and bytes of its tensors.

    Bytes are those of what each operation makes, written once and read once, as where nothing is
    fused; compilers move less.
    """

    operations: int
    moved_bytes: int


def forward(logits_fn, image_size: int) -> Forward:
    """Returns what a network costs, as its graph tells.

    Args:
      logits_fn: float32 [1, S, S, 3] -> logits.
      image_size: S.
    """
    images = tf.TensorSpec([1, image_size, image_size, 3], tf.float32)
    graph = tf.function(logits_fn, autograph=False).get_concrete_function(images).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    counted = tf.compat.v1.profiler.profile(graph, options={**options, "output": "none"})
    made = sum(
        output.shape.num_elements() * output.dtype.size
        for operation in graph.get_operations()
        if operation.type not in _MOVES_NOTHING
        for output in operation.outputs
        if output.shape.is_fully_defined()
    )
    return Forward(counted.total_float_ops if counted else 0, 2 * made)


def size_in_bytes(state) -> int:
    """Returns the bytes of all variables below a trackable object: those of a checkpoint of it."""
    found = {
        id(one): math.prod(one.shape) * np.dtype(one.dtype.as_numpy_dtype).itemsize
        for one in tf.train.TrackableView(state).descendants()
        if isinstance(one, tf.Variable)
    }
    return sum(found.values())
