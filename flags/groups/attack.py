"""The flags of the group "attack in training": the attack, and how the weights meet it."""

from flags.kinds import choice, integer, names_of, number, string, switch
from sat_tf import activations, attacks, training
from sat_tf.config import (
    AttackConfig,
    MethodConfig,
    check_attack_size,
    check_default_step,
    checked,
    refuse,
)

FLAGS = (
    string("method", "pgd", f"One of: {names_of(training.METHODS)}."),
    number(
        "epsilon",
        None,
        "Radius of the ball, also in evaluation, as a fraction of the pixel range; for linf in "
        "[0, 1): 4/255. Default: the data set's, for linf.",
    ),
    choice("norm", "linf", attacks.NORMS, "Norm of the ball, also in evaluation."),
    number(
        "step_size",
        None,
        "Of one attack step, in the same scale. Default: max(1/255, epsilon/num_steps); 1.25 "
        "epsilon for fast, epsilon for backward_smoothing and converge_smooth.",
    ),
    integer(
        "num_steps",
        None,
        "Attack steps in training, 1 or more. Default: the data set's; 1 for the methods of one "
        "step.",
    ),
    switch("random_start", True, "Start the attack at a random point of the ball."),
    number(
        "clean_start_probability",
        0.0,
        "Chance, drawn per batch, of starting at the clean image all the same, in [0, 1]; the "
        "release has 0.2.",
    ),
    integer(
        "clean_epochs",
        None,
        "Epochs without attack first, which helps where epsilon is large. Default: the data "
        "set's share of the run; a sixth for digits.",
    ),
    string(
        "attack_gradient",
        None,
        "An activation whose derivative replaces the network's own in the attack's gradient; "
        "values stay. Default: the exact one.",
    ),
    string("update_gradient", None, "Likewise in the gradient of the weights."),
    number(
        "trades_beta",
        6,
        "For trades: weight of the KL divergence, 0 or more; the inverse of the paper's lambda.",
    ),
    number(
        "backward_smoothing_beta",
        10,
        "For backward_smoothing: weight of the KL divergence, 0 or more.",
    ),
    number(
        "backward_smoothing_gamma",
        1,
        "For backward_smoothing: size of the noise on the logits, 0 or more.",
    ),
    number(
        "converge_smooth_threshold",
        0.03,
        "For converge_smooth: how far a batch's benign loss may be from the last epoch's mean, "
        "0 or more.",
    ),
    number(
        "converge_smooth_ratio",
        1,
        "For converge_smooth: the threshold follows the change of the epochs' means, from "
        "threshold/ratio to threshold; 1 or more, 1: constant.",
    ),
    number(
        "converge_smooth_weight",
        1,
        "For converge_smooth: weight of the benign loss where it is further, 0 or more.",
    ),
    integer(
        "converge_smooth_stride",
        1,
        "For converge_smooth: epochs without it at both ends of a stretch of constant learning "
        "rate, 0 or more.",
    ),
    switch(
        "converge_smooth_project",
        True,
        "For converge_smooth: project back to the ball; the authors' code does not.",
    ),
    number(
        "catastrophic_drop",
        None,
        "How far accuracy under PGD-5 on a training batch may fall from one epoch to the next, "
        "in [0, 1]; where it falls further, training stops and goes back an epoch. 0: not "
        "watched. Default: 0.2 for fast, else 0.",
    ),
)


def config_of(values, otherwise):
    method = checked("method", training.row, values.get("method"))
    norm = values.get("norm")
    epsilon = values.get("epsilon")
    if epsilon is None and norm != "linf":
        refuse(
            "norm",
            norm,
            "the data set's own epsilon is a radius of the norm linf; give --epsilon too, such as "
            "0.5",
        )
    epsilon = otherwise["epsilon"] if epsilon is None else epsilon
    num_steps = method.num_steps or otherwise["num_steps"]
    if method.num_steps is None or "num_steps" in method.attack_settings:
        num_steps = values.get("num_steps", num_steps)
    check_attack_size(epsilon, num_steps, norm)  # before they are divided
    step_size = values.get("step_size")
    if step_size is None:
        step_size = method.step_size(epsilon, num_steps)
        if norm == "linf":
            check_default_step(values.get("method"), epsilon, step_size)
    return AttackConfig(
        epsilon=epsilon,
        num_steps=num_steps,
        step_size=step_size,
        norm=norm,
        random_start=values.get("random_start"),
        clean_start_probability=values.get("clean_start_probability"),
        attack_gradient=_gradient(values, "attack_gradient"),
    )


def method_of(values, clean_epochs, otherwise):
    row = training.row(values.get("method"))
    return MethodConfig(
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
