"""What the tests of the report make pages of: ordinary runs, and names that would break a page."""

import copy

import numpy as np

HOSTILE = "<script>alert('x')</script> & \"quoted\""
LONG_PATH = "/storage/" + "a_folder_with_a_long_name_" * 8 + "/checkpoint-at-step-360"

_STAGES = {
    "apgd-ce": {"attacked": 356, "broken": 55, "seconds": 11.25, "accuracy": 301 / 360},
    "apgd-t": {"attacked": 301, "broken": 6, "seconds": 41.5, "accuracy": 295 / 360},
    "fab-t": {"attacked": 295, "broken": 0, "seconds": 19.5, "accuracy": 295 / 360},
    "square": {"attacked": 295, "broken": 0, "seconds": 7.75, "accuracy": 295 / 360},
}


def results(**changes) -> dict:
    """Returns what results.json holds of a run that four attacks were tried on."""
    return {
        "clean_accuracy": 356 / 360,
        "examples": 360,
        "epsilon": 0.2,
        "norm": "linf",
        "robust_accuracy": {
            "fgsm": 319 / 360,
            "pgd-20": 306 / 360,
            "autoattack": 295 / 360,
            "pgd-20:parametric_softplus": 310 / 360,
        },
        "worst_case_accuracy": 294 / 360,
        "robust_if": "final",
        "step": 360,
        "checkpoint": LONG_PATH,
        "attacks": {
            "fgsm": {"attacked": 356, "broken": 37, "seconds": 0.4},
            "pgd-20": {"attacked": 356, "broken": 50, "seconds": 3.2},
            "autoattack": {
                "attacked": 356,
                "broken": 61,
                "seconds": 80.1,
                "stages": copy.deepcopy(_STAGES),
            },
        },
        "warnings": [{"name": "zero_gradients", "text": "37 gradients are exactly zero."}],
        **changes,
    }


def old_results() -> dict:
    """Returns what earlier versions wrote."""
    return {
        "clean_accuracy": 0.975,
        "robust_accuracy": {"pgd-20": 0.725},
        "examples": 40,
        "epsilon": 8 / 255,
        "step": 20,
        "checkpoint": "runs/mine/checkpoints/at-20",
    }


def results_of_two() -> dict:
    """Returns what results.json holds of a run that keeps its best checkpoint."""
    best, last = (
        {
            **old_results(),
            "step": step,
            "checkpoint": f"runs/mine/at-{step}",
            "clean_accuracy": clean,
            "robust_accuracy": {"pgd-20": robust},
        }
        for step, clean, robust in ((323, 0.9825, 0.7675), (360, 0.9925, 0.7425))
    )
    return {
        **best,
        "checkpoints": {"best": best, "last": last},
        "stopped": {"by": "patience", "reason": "no better for 5 epochs"},
    }


def config() -> dict:
    """Returns what config.json holds, with class names that are no plain text."""
    return {
        "model": {"name": "resnet20", "activation": "swish", "dropout_rate": 0.0},
        "attack": {"epsilon": 0.2, "num_steps": 3, "random_start": True},
        "method": {"name": "trades"},
        "data": {"name": "digits", "data_dir": LONG_PATH},
        "seed": 7,
        "init_checkpoint": None,
        "data_set": {"class_names": [HOSTILE, *map(str, range(30))]},
        "versions": {"python": "3.11.7", "tensorflow": "2.15.1"},
        "git_commit": "0123abcd",
    }


def metrics() -> list:
    """Returns rows of metrics.jsonl: four epochs, each validated, and one evaluation."""
    rows = []
    for epoch in range(1, 5):
        about = {"step": 22 * epoch, "epoch": float(epoch), "seconds": 3.0 * epoch}
        rows += [
            {
                "kind": "train",
                **about,
                "loss": 2.5 / epoch,
                "clean_accuracy": epoch / 5,
                "adversarial_accuracy": epoch / 8,
            },
            {
                "kind": "validation",
                **about,
                "clean_accuracy": epoch / 6,
                "robust_accuracy": {"pgd-10": epoch / 9},
                "examples": 200,
            },
        ]
    return [*rows, {"kind": "eval", "step": 88, "epoch": 4.0, **old_results()}]


def curves() -> list:
    """Returns rows of curves.csv, of every kind, with two attacks on one of them."""

    def row(curve, attack, x, robust):
        return dict(
            curve=curve,
            attack=attack,
            x=x,
            robust_accuracy=robust,
            clean_accuracy=0.9875,
            examples=360,
        )

    return [
        *(
            row("epsilon", attack, x / 255, 0.9875 - weaker * x / 80)
            for attack, weaker in (("pgd-20", 1), ("autoattack", 1.1))
            for x in (0, 8, 16, 51)
        ),
        *(row("steps", "pgd", x, 0.8 + 0.1 / x) for x in (1, 5, 20, 100)),
        *(row("restarts", "pgd-20", x, 0.8 + 0.02 / x) for x in (1, 2, 5)),
    ]


def exhibits():
    """Returns a picture as large as a gallery of eight examples."""
    down, across = np.ogrid[:1640, :612]
    return np.stack(np.broadcast_arrays(down // 7 % 256, across // 5, 200), -1).astype(np.uint8)


def everything() -> dict:
    """Returns all arguments of `report.write`, each with what is hard to show."""
    return dict(
        config=config(),
        metrics=metrics(),
        curves=curves(),
        exhibits=exhibits(),
        results=results(
            warnings=[
                {"name": "zero_gradients", "text": "37 gradients are exactly zero."},
                {"name": "masked_gradients", "text": f"Square beats {HOSTILE} {LONG_PATH}"},
            ]
        ),
        notes=[f"the weights are those of {LONG_PATH}"],
    )
