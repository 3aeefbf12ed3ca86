"""What an evaluation found, as the dictionary that results.json is made of and as a table.

results = contents(result)
print(format_table(results))             # the command line's table, in per cent
"""

import numpy as np


def contents(result) -> dict:
    """Returns the dictionary of a Result: its accuracies, and of each attack what it cost.

    It holds what JSON can hold, under the names of results.json; "warnings" only where the
    evaluation was checked.
    """
    warnings = [{"name": name, "text": text} for name, text in result.findings]
    return {
        "clean_accuracy": result.clean_accuracy,
        "robust_accuracy": result.robust_accuracy,
        "worst_case_accuracy": result.worst_case_accuracy,
        "examples": result.examples,
        "epsilon": result.epsilon,
        "norm": result.norm,
        "checked": result.checked,
        "attacks": {
            name: _attack(outcome, ~result.outcomes["clean"].broken)
            for name, outcome in result.outcomes.items()
            if name != "clean"
        },
        **({"warnings": warnings} if result.checked else {}),
    }


def _attack(outcome, standing):
    """Returns what an attack did; of an ensemble also the accuracy that each stage left."""
    row = _row(outcome)
    for name, stage in outcome.stages.items():
        standing = standing & ~stage.broken
        left = {"accuracy": np.mean(standing).item()}
        row.setdefault("stages", {})[name] = {**_row(stage), **left}
    return row


def _row(outcome):
    return {
        "attacked": int(outcome.attacked.sum()),
        "broken": int(outcome.broken.sum()),
        "seconds": round(outcome.seconds, 3),
    }


def format_table(results: dict) -> str:
    """Returns the accuracies of a results dictionary as a small table, in per cent.

    Where it has those of several checkpoints, each has a column.  Where there is one column, what
    each attack has broken, and how fast, stands beside it, and the stages of an ensemble below it.
    """
    columns = results.get("checkpoints", {"": results})
    if len(columns) == 1:
        at_step = f"at step {results['step']} " if results.get("step") else ""  # imports have none
        lines = [f"accuracy {at_step}{_conditions(results)}"]
    else:
        lines = [
            f"accuracy {_conditions(results)}",
            ("", *(f"{name} (step {column['step']})" for name, column in columns.items())),
        ]
    lines.append(("clean", *(_percent(column["clean_accuracy"]) for column in columns.values())))
    for name in results["robust_accuracy"]:
        about = results.get("attacks", {}).get(name, {}) if len(columns) == 1 else {}
        lines.append(
            (
                name,
                *(_percent(column["robust_accuracy"][name]) for column in columns.values()),
                *([_cost(about)] if about else ()),
            )
        )
        lines += [
            (f"  {stage}", _percent(part["accuracy"]), _cost(part))
            for stage, part in about.get("stages", {}).items()
        ]
    if len(results["robust_accuracy"]) > 1:
        lines.append(
            (
                "worst case",
                *(_percent(column["worst_case_accuracy"]) for column in columns.values()),
            )
        )
    return "\n".join(_aligned(lines))


def _conditions(results):
    epsilon, norm = results.get("epsilon"), results.get("norm", "linf")
    if epsilon is None:
        return f"on {results['examples']} examples"
    in_255ths = f" ({epsilon * 255:.3g}/255)" if norm == "linf" else ""
    radius = f"{norm.capitalize()} epsilon {epsilon:.4g}{in_255ths}"
    return f"on {results['examples']} examples, {radius}"


def _percent(fraction):
    return f"{100 * fraction:.2f} %"


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
