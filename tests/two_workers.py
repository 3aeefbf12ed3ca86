"""A worker of two, in a process of its own: what it has of each collective, as a line of JSON.

python two_workers.py INDEX ADDRESS,ADDRESS
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from sat_tf import attacks, distribution, evaluation  # noqa: E402


def outcomes(strategy, examples=13):
    """Returns what an evaluation counts of a linear network, of which some examples break."""
    images = np.random.RandomState(0).uniform(size=(examples, 4, 4, 3)).astype(np.float32)
    labels = np.argmax(logits_of(images), axis=-1).astype(np.int32)
    labels[3:4] = 1 - labels[3:4]

    def create(name):
        return attacks.create(name, epsilon=0.02)

    result = evaluation.Evaluator(
        logits_of,
        {
            "pgd-5x2": create("pgd-5x2"),
            "both": attacks.Ensemble({"fgsm": create("fgsm"), "pgd-3": create("pgd-3")}),
        },
        seed=0,
        strategy=strategy,
        keep=5,
    )(tf.data.Dataset.from_tensor_slices((images, labels)).batch(4))
    columns = ("attacked", "broken", "loss", "predicted", "runs")
    return {
        "correct": result.correct,
        "kept": {name: kept.tolist() for name, kept in result.adversarial.items()},
        **{
            name: [np.nan_to_num(getattr(outcome, column)).tolist() for column in columns]
            for name, outcome in result.outcomes.items()
        },
    }


def logits_of(images):
    mean = 40 * (tf.reduce_mean(images, [1, 2, 3]) - 0.5)
    return tf.stack([mean, -mean], axis=-1)


def main(index, addresses):
    strategy = distribution.create(
        "auto", cluster=distribution.cluster_of("multi_worker", addresses, index)
    )
    highest = distribution.agreement_of(strategy)
    found = {
        "worker": distribution.worker_of(strategy),
        "replicas": [strategy.num_replicas_in_sync, distribution.local_replicas(strategy)],
        "share": distribution.share_of(strategy, 5).tolist(),
        "sum": distribution.summed(strategy, np.array([1, 2]) * (index + 1)).tolist(),
        "nan": np.isnan(
            distribution.summed(strategy, np.float32([np.nan if index else 0, 1]))
        ).tolist(),
        "texts": distribution.gathered(strategy, "ä" * (index + 1)),
        "highest": [highest(15 * index), highest(0)],
        "outcomes": outcomes(strategy),
        "of_one_example": outcomes(strategy, examples=1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), tuple(sys.argv[2].split(",")))
