"""What an evaluation found, as the dictionary of results.json and as a table.

results = of(result, config, step=690, checkpoint="runs/mine/checkpoints/checkpoint-3")
print(format_table(results))
"""


def of(result, config, *, step, checkpoint, warnings=None) -> dict:
    """Returns what results.json holds of one checkpoint.

    Args:
      result: an `evaluation.Result`.
      config: the run's Config.
      step: of the checkpoint.
      checkpoint: its path.
      warnings: of (name, text), what makes the numbers doubtful; None where nothing was checked.
    """
    attacks = {name: outcome for name, outcome in result.outcomes.items() if name != "clean"}
    return {
        "clean_accuracy": result.clean_accuracy,
        "robust_accuracy": result.robust_accuracy,
        "worst_case_accuracy": result.worst_case_accuracy,
        "examples": result.examples,
        "epsilon": config.evaluation_epsilon,
        "norm": config.evaluation.norm,
        "robust_if": config.evaluation.robust_if,
        "step_size": config.evaluation.step_size,
        "autoattack_version": config.evaluation.autoattack_version,
        "dataset": config.data.name,
        "seed": config.seed,
        "step": step,
        "checkpoint": checkpoint,
        "attacks": {name: _row(outcome) for name, outcome in attacks.items()},
        **(
            {}
            if warnings is None
            else {"warnings": [{"name": name, "text": text} for name, text in warnings]}
        ),
    }


def _row(outcome):
    row = {
        "attacked": int(outcome.attacked.sum()),
        "broken": int(outcome.broken.sum()),
        "seconds": round(outcome.seconds, 3),
    }
    if outcome.stages:
        row["stages"] = {name: _row(stage) for name, stage in outcome.stages.items()}
    return row


def format_table(results: dict) -> str:
    """Returns the accuracies of a results dictionary as a small table, in per cent.

    Where it has those of several checkpoints, each has a column.  Where there is one column, what
    each attack has broken, and how fast, stands beside it, and the stages of an ensemble below it.
    """
    columns = results.get("checkpoints", {"": results})
    if len(columns) == 1:
        at_step = f"at step {results['step']} " if results["step"] else ""  # imports have none
        lines = [f"accuracy {at_step}{_conditions(results)}"]
    else:
        lines = [
            f"accuracy {_conditions(results)}",
            ("", *(f"{name} (step {column['step']})" for name, column in columns.items())),
        ]
    lines.append(("clean", *(percent(column["clean_accuracy"]) for column in columns.values())))
    for name in results["robust_accuracy"]:
        about = results.get("attacks", {}).get(name, {}) if len(columns) == 1 else {}
        lines.append(
            (
                name,
                *(percent(column["robust_accuracy"][name]) for column in columns.values()),
                *([_cost(about)] if about else ()),
            )
        )
        lines += [
            (f"  {stage}", "–" if left is None else percent(left), _cost(part))
            for stage, part, left in stages(about, results["examples"])
        ]
    if len(results["robust_accuracy"]) > 1:
        lines.append(
            ("worst case", *(percent(column["worst_case_accuracy"]) for column in columns.values()))
        )
    return "\n".join(_aligned(lines))


def _conditions(results):
    return f"on {results['examples']} examples, {epsilon_text(results)}"


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


def _cost(row):
    return f"broke {row['broken']} of {row['attacked']} in {row['seconds']:.1f} s"


def _aligned(lines):
    """Returns lines of cells with the columns under one another; text alone is left as it is."""
    rows = [line for line in lines if not isinstance(line, str)]
    widths = [
        max(len(row[place]) for row in rows if len(row) > place)
        for place in range(max(map(len, rows)))
    ]
    for line in lines:
        if isinstance(line, str):
            yield line
        else:
            first, *others = line
            yield (
                first.ljust(widths[0])
                + "".join(f"  {cell:>{width}}" for cell, width in zip(others, widths[1:]))
            ).rstrip()
