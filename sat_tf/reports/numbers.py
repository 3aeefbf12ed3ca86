"""The numbers of a report, from the contents of results.json and config.json to rows of text.

headlines({"clean_accuracy": 0.99, "robust_accuracy": {"pgd-20": 0.85}, ...})
# [{"label": "Clean accuracy", "value": 0.99, "note": ""}, ...]
"""

import json
import re

from sat_tf.reports.results import epsilon_text, stages

# When an example counts as broken by PGD and its kin, by `robust_if`, and by those that have rules
# of their own, whatever that says.
_CRITERIA = {
    "final": "judged at the attack's last iterate",
    "any_iterate": "broken by any of the attack's iterates",
    "best_loss": "judged at the iterate of the highest loss",
}
_OWN_CRITERIA = (
    (r"clean", ""),
    (r"fgsm", "judged after its one step"),
    (r"autoattack", "broken by any iterate of any of its attacks"),
    (r"apgd|fab", "broken by any of the attack's iterates"),
    (r"square", "broken by any of the attack's queries"),
    (r"(?!pgd-|cw-)", "judged at what the attack returns"),
)
_SHOWN_ELSEWHERE = {
    "clean_accuracy",
    "robust_accuracy",
    "worst_case_accuracy",
    "attacks",
    "warnings",
    "checkpoints",
    "stopped",
    "versions",
}
_MOST = 20  # items of a list that are written out


def number(value) -> str:
    """Returns a count as it is, and any other number with as many digits as it has, up to six."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def titles(config, results):
    """Returns the page's heading and the line below it."""
    step = f"step {results['step']}" if results.get("step") else ""  # imports have none
    if config is None:
        return "Robustness evaluation", " · ".join(
            filter(None, (str(results.get("checkpoint") or ""), step))
        )
    model = config.get("model", {})
    with_activation = f" with {model['activation']}" if model.get("activation") else ""
    heading = f"{model.get('name') or model.get('path') or 'A network'}{with_activation}"
    data = config.get("data", {}).get("name")
    method = config.get("method", {}).get("name")
    return heading, " · ".join(
        filter(None, (data and f"data set {data}", method and f"method {method}", step))
    )


def setting(results) -> str:
    """Returns what the numbers were measured on."""
    return " · ".join(filter(None, (f"{results['examples']} examples", epsilon_text(results))))


def criterion(attack: str, results) -> str:
    """Returns when an example counts as broken by an attack, "" where that is not known."""
    for pattern, text in _OWN_CRITERIA:
        if re.match(pattern, attack):
            return text
    chosen = results.get("robust_if")
    return chosen and _CRITERIA.get(chosen, f"robust_if {chosen}") or ""


def headlines(results) -> list:
    """Returns the numbers that matter: [{label, value, note}], the clean accuracy first.

    Of results without a worst case over the examples, the lowest accuracy stands for it, by the
    name of its attack.
    """
    found = [{"label": "Clean accuracy", "value": results["clean_accuracy"], "note": ""}]
    robust, worst = results["robust_accuracy"], results.get("worst_case_accuracy")
    if worst is not None:
        attacks = f"{len(robust)} attack" + ("s" if len(robust) != 1 else "")
        found.append(
            {"label": "Worst case", "value": worst, "note": f"right clean and after {attacks}"}
        )
    elif robust:
        lowest = min(robust, key=robust.get)
        found.append(
            {
                "label": "Robust accuracy",
                "value": robust[lowest],
                "note": f"{lowest}, the lowest" if len(robust) > 1 else lowest,
            }
        )
    version = results.get("autoattack_version", "standard")
    for name, value in robust.items():
        if name.startswith("autoattack"):
            found.append(
                {
                    "label": "AutoAttack",
                    "value": value,
                    "note": ", ".join(
                        note for note in (name, version) if note not in ("autoattack", "standard")
                    ),
                }
            )
    return found


def comparison(results) -> dict:
    """Returns the accuracies of several checkpoints side by side, or nothing where there is one.

    Returns: {"columns": names and steps, "rows": [(name, values in column order)]}; a value that a
      checkpoint lacks is None.
    """
    columns = results.get("checkpoints", {})
    if len(columns) < 2:
        return {}
    rows = [("clean", [column["clean_accuracy"] for column in columns.values()])]
    for name in dict.fromkeys(
        name for column in columns.values() for name in column["robust_accuracy"]
    ):
        rows.append((name, [column["robust_accuracy"].get(name) for column in columns.values()]))
    worst = [column.get("worst_case_accuracy") for column in columns.values()]
    if any(value is not None for value in worst):
        rows.append(("worst case", worst))
    return {
        "columns": [(name, column.get("step")) for name, column in columns.items()],
        "rows": rows,
        "chosen": _chosen(results),
    }


def _chosen(results):
    """Returns the name of the checkpoint that the results are those of, or None."""
    return next(
        (
            name
            for name, column in results.get("checkpoints", {}).items()
            if column.get("checkpoint") == results.get("checkpoint")
        ),
        None,
    )


def _by_checkpoint(results) -> list:
    """Returns [(checkpoint, its results)], the chosen first; of one alone, the name is empty."""
    checkpoints, chosen = results.get("checkpoints", {}), _chosen(results)
    if len(checkpoints) < 2:
        return [("", results)]
    return sorted(
        (
            (name, {**results, **column} if name == chosen else column)
            for name, column in checkpoints.items()
        ),
        key=lambda item: item[0] != chosen,
    )


def warnings(results) -> list:
    """Returns [{name, text, checkpoint}]; what holds for several checkpoints is said once."""
    found = {}
    for checkpoint, column in _by_checkpoint(results):
        for warning in column.get("warnings", ()):
            found.setdefault((warning["name"], warning["text"]), []).append(checkpoint)
    return [
        {"name": name, "text": text, "checkpoint": ", ".join(filter(None, where))}
        for (name, text), where in found.items()
    ]


def attack_tables(results) -> list:
    """Returns a table of the attacks for each checkpoint: [{name, step, rows, has_costs}].

    A row has name, is_stage, criterion, accuracy, attacked, broken and seconds; None where that is
    not known.
    There is none for several checkpoints of which only the accuracies are known: see `comparison`.
    """
    tables = []
    for name, column in _by_checkpoint(results):
        clean = {
            "name": "clean",
            "is_stage": False,
            "criterion": "",
            "accuracy": column["clean_accuracy"],
            "attacked": None,
            "broken": None,
            "seconds": None,
        }
        rows = [clean] + [
            row
            for attack, accuracy in column["robust_accuracy"].items()
            for row in _attack_rows(attack, accuracy, column, criterion(attack, results))
        ]
        tables.append(
            {
                "name": name,
                "step": column.get("step"),
                "rows": rows,
                "has_costs": bool(column.get("attacks")),
            }
        )
    return tables if len(tables) == 1 or any(table["has_costs"] for table in tables) else []


def _attack_rows(attack, accuracy, column, judged):
    about = column.get("attacks", {}).get(attack, {})
    return [
        {**_row(attack, accuracy, about), "criterion": judged},
        *(
            {**_row(name, left, stage), "is_stage": True}
            for name, stage, left in stages(about, column["examples"])
        ),
    ]


def _row(name, accuracy, about):
    return {
        "name": name,
        "is_stage": False,
        "criterion": "",
        "accuracy": accuracy,
        **{key: about.get(key) for key in ("attacked", "broken", "seconds")},
    }


def configuration(config, results) -> list:
    """Returns the settings as [(group, [(name, text)])]; what was evaluated is the first group."""
    evaluated = {
        name: value
        for name, value in results.items()
        if name not in _SHOWN_ELSEWHERE and value is not None
    }
    parts = {"evaluated": evaluated, "run": {}}
    for name, value in (config or {}).items():
        if name in ("versions", "git_commit"):
            continue
        if isinstance(value, dict):
            parts[name] = value
        else:
            parts["run"][name] = value
    return [
        (part.replace("_", " "), [(name, setting_text(value)) for name, value in rows.items()])
        for part, rows in parts.items()
        if rows
    ]


def setting_text(value) -> str:
    """Returns a setting as people write it; a long list is cut, and counted."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (list, tuple)):
        shown = ", ".join(setting_text(item) for item in value[:_MOST])
        return f"{shown}, … ({len(value)} in all)" if len(value) > _MOST else shown
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def versions(config, results) -> list:
    """Returns [(package, version)] and the commit, of the training or else of the evaluation."""
    found = dict((config or results).get("versions") or {})
    commit = (config or {}).get("git_commit")
    return [*found.items(), *([("git commit", commit)] if commit else [])]
