"""What AutoAttack costs with and without dropping the examples that are broken.

    python main.py                       # the network that is attacked, about a minute
    python -m benchmarks.dropping        # the 360 test images of digits; ten minutes

The bound is the share of passes that are spent on examples still standing: a pass of an example
that is broken already can change nothing.  Times are ratios within one run, in processor time,
tracing included; the counts of both have to be the same, image by image.
"""

import argparse
import json
import pathlib
import time

import numpy as np

from sat_tf import attacks, data, saved_models
from sat_tf.evaluation import Evaluator

RESULTS = pathlib.Path(__file__).parent / "results" / "dropping.json"


def measure(logits_fn, batches, named, drop):
    """Returns seconds, processor seconds, and {attack: bool [examples], broken}."""
    start, processor = time.monotonic(), time.process_time()
    result = Evaluator(logits_fn, named, seed=0, drop=drop)(batches)
    return (
        time.monotonic() - start,
        time.process_time() - processor,
        {name: outcome.broken for name, outcome in result.outcomes.items()},
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--saved_model", default="runs/resnet20-swish-digits-pgd/saved_model")
    parser.add_argument("--examples", type=int, default=360)
    parser.add_argument("--epsilon", type=float, default=0.2)
    parser.add_argument("--version", default="standard")
    asked = parser.parse_args()
    logits_fn = saved_models.load(asked.saved_model).logits_fn
    batches = data.evaluation_batches(
        data.load("digits"), batch_size=128, image_size=8, num_examples=asked.examples
    )
    named = {
        "autoattack": attacks.create(
            "autoattack", epsilon=asked.epsilon, num_classes=10, version=asked.version
        )
    }
    rows, broken = {}, {}
    for drop in (True, False):
        seconds, processor, broken[drop] = measure(logits_fn, batches, named, drop)
        rows[drop] = {"seconds": round(seconds, 1), "processor_seconds": round(processor, 1)}
    same = all(np.array_equal(broken[True][name], broken[False][name]) for name in broken[True])
    found = {
        "examples": asked.examples,
        "epsilon": asked.epsilon,
        "version": asked.version,
        "broken": int(broken[True]["autoattack"].sum()),
        "same_images_broken": same,
        "dropping": rows[True],
        "plain_loop": rows[False],
        "processor_time_ratio": round(
            rows[False]["processor_seconds"] / rows[True]["processor_seconds"], 2
        ),
    }
    print(json.dumps(found, indent=2))
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
