"""What the flags of the group "evaluation" mean; a part of `flags/to_config.py`."""

import functools

from sat_tf import attacks
from sat_tf import config as configs
from sat_tf.curves import CURVES
from sat_tf.errors import UserError, look_up
from sat_tf.ranges import checked


def config_of(values, data_config) -> configs.EvaluationConfig:
    """Resolves the flags of evaluation.

    Args:
      values: looks a flag up by `get(name, otherwise=None)`.
      data_config: the run's DataConfig.
    Raises: UserError, one line naming flag, value and remedy.
    """
    checked("autoattack_version", attacks.stage_names, values.get("autoattack_version"))
    norm = values.get("eval_norm")
    another = values.names_another("eval_norm", norm)

    def radius(name):
        """Sizes in the norm that a run was evaluated in say nothing of those in another."""
        return None if another and not values.given(name) else values.get(name)

    epsilon = radius("eval_epsilon")
    if norm == "linf" and values.given("epsilon") and not values.given("eval_epsilon"):
        epsilon = None  # what is given now is meant, not what the run was evaluated with
    return configs.EvaluationConfig(
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
        checked("curves", functools.partial(look_up, CURVES, "curve"), curve)
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
