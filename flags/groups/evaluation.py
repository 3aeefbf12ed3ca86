"""The flags of the group "evaluation": what is measured, under which attacks."""

import functools

from flags.kinds import choice, integer, name_list, names_of, number, numbers, string
from sat_tf import attacks, reports
from sat_tf.config import EvaluationConfig, checked
from sat_tf.errors import UserError, look_up

FLAGS = (
    string(
        "eval_attacks",
        "clean,pgd-20",
        f"Comma list of: {names_of(attacks.ATTACKS)} ({attacks.LETTERS}).",
    ),
    choice(
        "eval_norm", None, attacks.NORMS, "Norm of the ball in evaluation. Default: that of --norm."
    ),
    number(
        "eval_epsilon",
        None,
        "Its radius: a fraction of the pixel range, in [0, 1), for linf; 0 or more for l2, such "
        "as 0.5. Default in the norm of training: --epsilon.",
    ),
    number(
        "eval_step_size",
        None,
        "Of the evaluation's PGD, in the same scale. Default: max(1/255, epsilon/N).",
    ),
    choice(
        "robust_if",
        "final",
        tuple(attacks.CRITERIA),
        "Which iterate of PGD an example has to survive: the last, as in the paper; each of "
        "them; or the one of the highest loss.",
    ),
    string(
        "autoattack_version",
        "standard",
        f"What autoattack is: {names_of(attacks.VERSIONS)}, or a comma list of the attacks above.",
    ),
    choice(
        "self_checks",
        "auto",
        ("auto", "full", "basic"),
        "What is tried beside the attacks to tell whether the numbers can be trusted. basic: a "
        "few passes over one batch; full: short attacks on some examples too; auto: full where "
        "one of the attacks is of AutoAttack.",
    ),
    string(
        "transfer_from",
        None,
        "A SavedModel, or a run with one, on which the attacks are made once more and carried "
        "over: as pgd-20:transfer.",
    ),
    name_list(
        "curves",
        None,
        "Draw robust accuracy against these: epsilon, steps, restarts; as curves.csv, "
        "curves.png and in the report.",
    ),
    string(
        "curve_attack",
        "pgd-20",
        "The attack of the curves; those of steps and restarts need a pgd-N.",
    ),
    numbers(
        "curve_epsilons",
        None,
        "Radii of the curve against epsilon. Default: 0, 1/4, 1/2, 3/4, 1, 3/2, 2 and 4 times "
        "the evaluation's.",
    ),
    integer(
        "save_adversarial",
        0,
        "Write the first N examples and what the strongest attack made of them to "
        "adversarial.npz, and a sheet of them to adversarial.png.",
    ),
    integer(
        "eval_batch_size",
        None,
        "Global batch of evaluation. Default: 128, or less where there are fewer examples.",
    ),
    integer("eval_every", 0, "Evaluate every N epochs as well; 0: only at the end."),
    string(
        "validation_attack",
        "pgd-10",
        "The attack on the examples that are held out, with steps of max(1/255, epsilon/N) "
        "whatever --eval_step_size.",
    ),
    integer(
        "patience",
        0,
        "Stop after N epochs without a higher robust accuracy on the examples that are held "
        "out; 0: never.",
    ),
    choice(
        "eval_checkpoint",
        None,
        ("best", "last"),
        "Which checkpoint is evaluated and exported. Default: the best where "
        "--validation_examples are held out, else the last.",
    ),
)


def config_of(values, data_config, training_norm) -> EvaluationConfig:
    """Resolves the flags of evaluation.

    Args:
      values: looks a flag up by `get(name, otherwise=None)`.
      data_config: the run's DataConfig.
      training_norm: that of the attack in training.
    Raises: UserError, one line naming flag, value and remedy.
    """
    checked("autoattack_version", attacks.stage_names, values.get("autoattack_version"))
    norm = values.get("eval_norm", training_norm)
    another = values.names_another("eval_norm", norm)

    def radius(name):
        """Sizes in the norm that a run was evaluated in say nothing of those in another."""
        return None if another and not values.given(name) else values.get(name)

    epsilon = radius("eval_epsilon")
    if norm == training_norm and values.given("epsilon") and not values.given("eval_epsilon"):
        epsilon = None  # what is given now is meant, not what the run was evaluated with
    return EvaluationConfig(
        attacks=checked("eval_attacks", attacks.parse_names, _joined(values.get("eval_attacks"))),
        batch_size=values.get("eval_batch_size", _batch(data_config.eval_examples)),
        every=values.get("eval_every"),
        step_size=radius("eval_step_size"),
        validation_attack=checked(
            "validation_attack", _one_attack, values.get("validation_attack")
        ),
        checkpoint=values.get(
            "eval_checkpoint", "best" if data_config.validation_examples else "last"
        ),
        norm=norm,
        epsilon=epsilon,
        curves=_curves(values),
        curve_epsilons=radius("curve_epsilons"),
        **{
            name: values.get(name)
            for name in (
                "patience",
                "robust_if",
                "autoattack_version",
                "self_checks",
                "transfer_from",
                "curve_attack",
                "save_adversarial",
            )
        },
    )


def _curves(values):
    curves = tuple(dict.fromkeys(values.get("curves") or ()))
    for curve in curves:
        checked("curves", functools.partial(look_up, reports.curves.CURVES, "curve"), curve)
    attack = checked("curve_attack", _one_attack, values.get("curve_attack"))
    if {"steps", "restarts"} & set(curves) and not attack.startswith("pgd-"):
        raise UserError(
            f"--curve_attack={attack}: has no steps or restarts to vary; give a pgd-N, "
            "or --curves=epsilon"
        )
    return curves


def _one_attack(text):
    names = attacks.parse_names(text)
    if len(names) > 1 or names == ("clean",):
        raise ValueError("name one attack, such as pgd-10")
    return text


def _joined(names):
    return names if isinstance(names, str) else ",".join(names)


def _batch(examples):
    """Returns at most 128, and no more than the examples fill, in steps of 8 for the replicas."""
    return min(128, -(-examples // 8) * 8)
