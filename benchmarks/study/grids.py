"""The studies as data, and from a study to the cells that have to run."""

import os
import re
from typing import NamedTuple

from flags import definitions
from sat_tf.errors import UserError

Flags = tuple[str, ...]


class Study(NamedTuple):
    """What is compared.

    Attributes:
      about: one sentence for the report's head.
      rows: label -> the flags of main.py that make the row; the first is what others are compared
        with.
      common: flags of all rows, which flags on the command line override.
      seeds: of the runs, where the command line names none.
      small_share: the small epsilon, as a share of the run's epsilon.
      substitute: an activation whose derivative the evaluation's attack takes as well, or None.
      diagnostics: whether the smoothness of the loss is measured.
      columns: of the main table, in order: names of `numbers.COLUMNS`.
    """

    about: str
    rows: dict[str, Flags]
    common: Flags = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    small_share: float = 0.25
    substitute: str | None = None
    diagnostics: bool = False
    columns: tuple[str, ...] = ("clean", "robust", "small")


_ACTIVATIONS = (
    "relu",
    "parametric_softplus",
    "softplus",
    "smoothrelu",
    "gelu",
    "elu",
    "swish",
    "mish",
    "sparta",
)
_SMOOTH = "parametric_softplus"

STUDIES = {
    "activations": Study(
        "Does a smooth activation make adversarial training more robust, and the loss smoother?",
        {name: (f"--activation={name}",) for name in _ACTIVATIONS},
        common=("--method=pgd",),
        diagnostics=True,
    ),
    # Table 1 of Xie et al., 2020; its evaluation takes ReLU's own derivative, to our knowledge.
    # The substituted one may be the stronger attack, so both are measured.
    "gradient_quality": Study(
        "ReLU in every forward pass: whose gradient has to be smooth, the attack's or the "
        "weights'?",
        {
            "neither": (),
            "attack": (f"--attack_gradient={_SMOOTH}",),
            "update": (f"--update_gradient={_SMOOTH}",),
            "both": (f"--attack_gradient={_SMOOTH}", f"--update_gradient={_SMOOTH}"),
        },
        common=("--method=pgd", "--activation=relu"),
        substitute=_SMOOTH,
        diagnostics=True,
        columns=("clean", "robust", "substituted", "lower", "small"),
    ),
    # The small epsilon is that of Wei et al., 2023, whose 2/255 is a quarter of the usual 8/255.
    "methods": Study(
        "What each training method gives, at what cost, and what sharpness-aware minimisation "
        "adds.",
        {
            "standard": ("--method=standard",),
            "fast": ("--method=fast",),
            "pgd": ("--method=pgd",),
            "trades": ("--method=trades",),
            "backward_smoothing": ("--method=backward_smoothing",),
            "converge_smooth": ("--method=converge_smooth",),
            "standard + SAM": ("--method=standard", "--sam_rho=0.05"),
            "pgd + SAM": ("--method=pgd", "--sam_rho=0.05"),
        },
        common=("--activation=swish",),
        columns=("clean", "robust", "small", "seconds", "load", "cost"),
    ),
}

# The study's own business, with what to use instead.
_RESERVED = {
    "seed": "give --seeds",
    "model_dir": "give --runs",
    "mode": "every cell trains and is evaluated; leave it out",
    "resume": "remove the folder of a cell to run it anew",
    **dict.fromkeys(
        ("init_checkpoint", "checkpoint_channels", "checkpoint_ema"),
        "every cell starts with new weights; leave it out",
    ),
    "images": "it is for --mode=predict",
    "output": "it is for --mode=predict",
}


class Cell(NamedTuple):
    """One row with one seed.

    Attributes:
      row, seed: which.
      folder: of the run and its cell.json.
      asked: JSON-like: "argv", the command line to train with; "flags", its values by name; and
        what to measure.  A cell.json with the same flags and measurements is finished.
    """

    row: str
    seed: int
    folder: str
    asked: dict


def with_rows(study: Study, labels) -> Study:
    """Returns the study with the rows of these labels, in their order; None: with all.

    Raises: UserError for a label that the study has not.
    """
    if labels is None:
        return study
    unknown = [label for label in labels if label not in study.rows]
    if unknown:
        raise UserError(f"--rows {unknown[0]}: no such row; there are {', '.join(study.rows)}")
    return study._replace(rows={label: study.rows[label] for label in labels})


def given_flags(argv) -> dict:
    """Returns {flag: value} of the flags of main.py that a command line sets.

    Raises: UserError for a flag that does not exist, or a value that does not parse.
    """
    flags = definitions.define()
    definitions.parse(flags, ["study", *argv])
    return {name: flags[name].value for name in flags if flags[name].present}


def check_extra(argv):
    """Raises UserError for flags that cannot go to all cells alike."""
    for name, value in given_flags(argv).items():
        if name in _RESERVED:
            raise UserError(f"--{name}={value}: not for a study; {_RESERVED[name]}")


def label_of(argv) -> str:
    """Returns what tells results with these flags from those of the study as declared; "" for none.

    Raises: UserError where that would be too long for a file name.
    """
    label = "_".join(slug(argument.lstrip("-")) for argument in argv)
    if len(label) > 80:
        raise UserError(
            f"--label=: {len(argv)} flags make too long a name for the results; give a short one"
        )
    return label


def slug(text) -> str:
    """Returns text with only letters, digits, points and dashes, as file names like them."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")


def cells(study: Study, seeds, runs: str, extra=()) -> list[Cell]:
    """Returns the cells, seed by seed, so that those that are compared run close in time.

    Args:
      study: the grid.
      seeds: integers, each once.
      runs: folder of all their folders.
      extra: flags of main.py from the command line: over the study's, below the row's.
    """
    found = []
    for seed in seeds:
        for label, row in study.rows.items():
            argv = [*study.common, *extra, *row, f"--seed={seed}"]
            found.append(
                Cell(
                    label,
                    seed,
                    os.path.join(runs, f"{slug(label)}-{seed}"),
                    {
                        "argv": argv,
                        "flags": given_flags(argv),
                        "small_share": study.small_share,
                        "substitute": study.substitute,
                        "diagnostics": study.diagnostics,
                    },
                )
            )
    return found
