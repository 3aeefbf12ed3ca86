"""What a training step of each method costs, in steps of plain training.

    python -m benchmarks.train_step

The bound is the number of passes, one forward and one backward, that `sat_tf/training/methods.py`
counts; SAM adds another one over the loss.  An attack pass is cheaper than a training pass, as it
has no weight gradients, so less than that count is to be expected; more would be overhead.
Repetitions of all methods are interleaved, so that a busy machine slows all alike, and medians are
compared.  Writes one JSON line a method to benchmarks/results/train_step.json:
  passes        the bound
  time_ratio    wall time of one step, that of `standard` being 1
  cpu_ratio     likewise its processor time
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import time
from typing import Any, NamedTuple

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

from sat_tf import data, models, training  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parent / "results" / "train_step.json"
ATTACK = dict(epsilon=0.2)


class Row(NamedTuple):
    """What is timed: the method, further arguments of AdversarialModel, and the passes they add."""

    method: str
    settings: dict[str, Any] = {}
    model: dict[str, Any] = {}
    more_passes: int = 0

    @property
    def passes(self):
        method = training.METHODS[self.method]
        return method.passes(self.settings.get("num_steps", method.num_steps)) + self.more_passes


_THREE = dict(num_steps=3, **ATTACK)
_SAM = dict(sam=training.SAM(0.05))
METHODS = {
    "standard": Row("standard"),
    "fast": Row("fast", ATTACK),
    "pgd-1": Row("pgd", dict(num_steps=1, **ATTACK)),
    "pgd-3": Row("pgd", _THREE),
    "pgd-10": Row("pgd", dict(num_steps=10, **ATTACK)),
    "trades-3": Row("trades", _THREE),
    "backward_smoothing": Row("backward_smoothing", ATTACK),
    "converge_smooth": Row("converge_smooth", ATTACK),
    "standard + SAM": Row("standard", {}, _SAM, 1),
    "pgd-3 + SAM": Row("pgd", _THREE, _SAM, 1),
    "trades-3 + SAM": Row("trades", _THREE, _SAM, 2),
    "pgd-3 with average": Row("pgd", _THREE, dict(ema_decay=0.999)),
}


def make_model(label, arguments):
    row = METHODS[label]
    classifier = models.create(
        arguments.model,
        activation=arguments.activation,
        num_classes=10,
        image_size=arguments.image_size,
    )
    model = training.AdversarialModel(
        classifier, training.create(row.method, **row.settings), weight_decay=5e-4, **row.model
    )
    model.compile(training.create_optimizer("sgd", 0.1))
    return model


def timed(model, batches, steps):
    """Returns wall and processor seconds of one step, over `steps` of them."""
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(batches, steps_per_epoch=steps, verbose=0)
    return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--activation", default="swish")
    parser.add_argument("--image_size", type=int, default=16)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    batches = data.training_batches(
        data.load("digits"),
        batch_size=arguments.batch_size,
        image_size=arguments.image_size,
        augment="none",
        seed=0,
    )
    adversarial_models = {label: make_model(label, arguments) for label in METHODS}
    for model in adversarial_models.values():
        timed(model, batches, 2)  # tracing
    times = {label: [] for label in METHODS}
    for _ in range(arguments.repeats):
        for label, model in adversarial_models.items():
            times[label].append(timed(model, batches, arguments.steps))
    medians = {
        label: [statistics.median(t[i] for t in measured) for i in (0, 1)]
        for label, measured in times.items()
    }
    lines = []
    for label, (wall, cpu) in medians.items():
        lines.append(
            json.dumps(
                {
                    "method": label,
                    "passes": METHODS[label].passes,
                    "time_ratio": round(wall / medians["standard"][0], 2),
                    "cpu_ratio": round(cpu / medians["standard"][1], 2),
                    "model": arguments.model,
                    "image_size": arguments.image_size,
                    "batch_size": arguments.batch_size,
                    "tensorflow": tf.__version__,
                    "python": platform.python_version(),
                    "cores": os.cpu_count(),
                }
            )
        )
        print(lines[-1], flush=True)
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
