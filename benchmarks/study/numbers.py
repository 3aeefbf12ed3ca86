"""From the cells of a study to a table of numbers: a dict for each cell, the same keys in all.

Accuracies are fractions here; the reports make percentages of them.
"""

from typing import NamedTuple


class Column(NamedTuple):
    """How a number is shown: its heading with the unit, a factor, and decimal places.

    None for places means three significant digits, where sizes differ from data set to data set.
    The resolution is the number's smallest step, as of a share of counted examples; 0 for none.
    """

    heading: str
    factor: float = 1.0
    places: int | None = 2
    resolution: float = 0.0

    def show(self, value) -> str:
        if value is None:
            return "–"
        form = ".3g" if self.places is None else f".{self.places}f"
        return format(value * self.factor, form)


def _percent(heading, resolution=0.0):
    return Column(f"{heading} (%)", 100.0, 1, resolution)


# Name of a column -> the keys of its numbers; "{}" stands for each attack of the evaluation.
COLUMNS = {
    "clean": "clean_accuracy",
    "robust": "robust_accuracy/{}",
    "substituted": "substituted_robust_accuracy/{}",
    "lower": "lower_robust_accuracy/{}",
    "small": "small_robust_accuracy",
    "seconds": "seconds_per_epoch",
    "load": "load_average",
    "cost": "cost_ratio",
}

DIAGNOSTICS = {
    "attack_loss_1": Column("loss after 1 step (nats)", places=3),
    "attack_loss_2": Column("2 steps", places=3),
    "attack_loss_5": Column("5 steps", places=3),
    "attack_loss_20": Column("20 steps", places=3),
    "attack_loss_gap": Column("20 less 1 (nats)", places=3),
    "sign_flip_rate": _percent("signs that flip a step"),
    "sign_zero_share": _percent("without sign"),
    "gradient_lipschitz_mean": Column("Lipschitz, mean (nats/pixel unit²)", places=None),
    "gradient_lipschitz_quantile_90": Column("90 % quantile", places=None),
    "gradient_lipschitz_relative_mean": Column("relative, mean (1/pixel unit)", places=None),
    "gradient_lipschitz_relative_quantile_90": Column("relative, 90 % quantile", places=None),
    "gradient_lipschitz_zero_share": _percent("without gradient"),
}


def column_of(key, cells) -> Column:
    """Returns how the number `key` is shown; `cells` tell the small epsilon and the examples."""
    name, _, rest = key.partition("/")
    if name == "diagnostics":
        return DIAGNOSTICS[rest.partition("/")[2]]
    exact = (
        ", exact derivative"
        if any(cell.get("substituted_robust_accuracy") for cell in cells)
        else ""
    )
    headings = {
        "clean_accuracy": "clean",
        "robust_accuracy": f"{rest}{exact}",
        "substituted_robust_accuracy": f"{rest}, substituted derivative",
        "lower_robust_accuracy": f"{rest}, the lower of the two",
        "small_robust_accuracy": f"pgd-20 at epsilon {cells[0]['small_epsilon']:.3g}{exact}",
    }
    if name in headings:
        return _percent(headings[name], 1 / cells[0]["examples"])
    return {
        "seconds_per_epoch": Column("seconds an epoch"),
        "load_average": Column("load of the machine"),
        "cost_ratio": Column("processor time, first row = 1"),
    }[name]


def keys_of(columns, cells) -> list[str]:
    """Returns the keys of the columns named, those of attacks once for each attack measured."""
    # One with a colon took another derivative, as older cells have beside "substituted".
    attacks = list(
        dict.fromkeys(name for cell in cells for name in cell["robust_accuracy"] if ":" not in name)
    )
    return [
        key.format(attack)
        for key in map(COLUMNS.get, columns)
        for attack in (attacks if "{}" in key else [""])
    ]


def diagnostic_keys(cells) -> dict[str, list[str]]:
    """Returns derivative -> keys of what was diagnosed with it; "exact" comes first."""
    derivatives = dict.fromkeys(name for cell in cells for name in cell.get("diagnostics", {}))
    return {name: [f"diagnostics/{name}/{key}" for key in DIAGNOSTICS] for name in derivatives}


def table(cells, baseline) -> list[dict]:
    """Returns a flat dict of each cell: "row", "seed", and key -> number or None.

    The cost ratio is that of an epoch's processor time to the row `baseline` of the same seed.
    Unlike seconds it hardly depends on what else the machine does, nor much on how many cores a
    cell has, so that all cells are compared; None where the processor waits for a GPU or TPU, or
    was not timed.
    """
    costs = {cell["seed"]: _cost(cell) for cell in cells if cell["row"] == baseline}
    return [
        {
            "row": cell["row"],
            "seed": cell["seed"],
            **_numbers(cell),
            "cost_ratio": _ratio(_cost(cell), costs.get(cell["seed"])),
        }
        for cell in cells
    ]


def _cost(cell):
    """Returns an epoch's processor seconds, or None; cells of before they were taken have none."""
    on_cpu = cell.get("device") == "CPU"
    return cell.get("processor_seconds_per_epoch") if on_cpu else None


def _ratio(value, of):
    return value / of if value and of else None


def _numbers(cell):
    numbers = {"clean_accuracy": cell["clean_accuracy"]}
    substituted = cell.get("substituted_robust_accuracy", {})
    for attack, accuracy in cell["robust_accuracy"].items():
        numbers[f"robust_accuracy/{attack}"] = accuracy
        if attack in substituted:
            numbers[f"substituted_robust_accuracy/{attack}"] = substituted[attack]
            numbers[f"lower_robust_accuracy/{attack}"] = min(accuracy, substituted[attack])
    for name in (
        "small_robust_accuracy",
        "small_epsilon",
        "epsilon",
        "examples",
        "step",
        "seconds_per_epoch",
        "processor_seconds_per_epoch",
        "jobs",
        "cores",
        "load_average",
    ):
        numbers[name] = cell.get(name)
    for derivative, measured in cell.get("diagnostics", {}).items():
        numbers.update(
            {f"diagnostics/{derivative}/{name}": value for name, value in measured.items()}
        )
    return numbers
