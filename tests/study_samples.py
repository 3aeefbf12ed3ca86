"""A study of two rows, and what finished cells of it write."""

from benchmarks.study import grids

STUDY = grids.Study(
    "Does it work?",
    {"plain": ("--method=standard",), "fast one": ("--method=fast", "--epochs=3")},
    common=("--epsilon=8/255", "--epochs=2"),
    columns=("clean", "robust", "small", "cost"),
)


def written(row, seed, **changes):
    """What a finished cell writes, as far as the reports read it."""
    return {
        "row": row,
        "seed": seed,
        "clean_accuracy": 0.9,
        "robust_accuracy": {"pgd-20": 0.5},
        "small_robust_accuracy": 0.7,
        "small_epsilon": 0.05,
        "epsilon": 0.2,
        "examples": 360,
        "step": 10,
        "seconds_per_epoch": 2.0,
        "processor_seconds_per_epoch": 3.0,
        "jobs": 1,
        "cores": 2,
        "load_average": 1.0,
        "device": "CPU",
        "training_curve": [[1.0, 0.2], [2.0, 0.4]],
        "validation_curve": [],
        **changes,
    }
