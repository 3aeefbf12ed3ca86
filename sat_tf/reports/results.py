"""What results.json says of an evaluation, and how to read that again.

results = of(result.to_dict(), config, step=690, checkpoint="runs/mine/checkpoints/checkpoint-3")
"""


def of(measured, config, *, step, checkpoint, warnings=None) -> dict:
    """Returns what results.json holds of one checkpoint.

    Args:
      measured: the dictionary of an `evaluation.Result`.
      config: the run's Config.
      step: of the checkpoint.
      checkpoint: its path.
      warnings: of (name, text), what makes the numbers doubtful; None where nothing was checked.
    """
    return {
        "clean_accuracy": measured["clean_accuracy"],
        "robust_accuracy": measured["robust_accuracy"],
        "worst_case_accuracy": measured["worst_case_accuracy"],
        "examples": measured["examples"],
        "epsilon": config.evaluation_epsilon,
        "norm": config.evaluation.norm,
        "robust_if": config.evaluation.robust_if,
        "step_size": config.evaluation.step_size,
        "autoattack_version": config.evaluation.autoattack_version,
        "dataset": config.data.name,
        "seed": config.seed,
        "step": step,
        "checkpoint": checkpoint,
        "attacks": measured["attacks"],
        **(
            {}
            if warnings is None
            else {"warnings": [{"name": name, "text": text} for name, text in warnings]}
        ),
    }


def epsilon_text(results) -> str:
    """Returns norm and radius, such as `Linf epsilon 0.2 (51/255)`; "" where none is known."""
    epsilon, norm = results.get("epsilon"), results.get("norm", "linf")
    if epsilon is None:
        return ""
    in_255ths = f" ({epsilon * 255:.3g}/255)" if norm == "linf" else ""
    return f"{norm.capitalize()} epsilon {epsilon:.4g}{in_255ths}"


def percent(fraction) -> str:
    """Returns 0.85 as 85.00 %."""
    return f"{100 * fraction:.2f} %"


def stages(about, examples):
    """Yields the stages of an attack: (name, what is known of it, the accuracy that it left).

    A stage attacks what the stages before it have left; where one did not, there is no accuracy,
    which None stands for, from there on.

    Args:
      about: what results.json has of the attack, {} where it has nothing.
      examples: how many were evaluated.
    """
    left = about.get("attacked")
    for name, stage in about.get("stages", {}).items():
        goes_on = left is not None and stage.get("attacked") == left
        left = left - stage["broken"] if goes_on and stage.get("broken") is not None else None
        yield name, stage, None if left is None else left / examples
