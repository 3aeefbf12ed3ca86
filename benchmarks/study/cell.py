"""One cell in a process of its own, since TensorFlow never frees a graph: train, measure, write it
down.

    python -m benchmarks.study.cell FOLDER '{"row": .., "seed": .., "jobs": .., "asked": {..}}'

Started by `schedule`; exit status and messages are those of main.py.
"""

import json
import os
import statistics
import sys

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from flags import definitions, subjects  # noqa: E402
from main import exit_status, prepare_devices  # noqa: E402
from sat_tf import activations, attacks, data, distribution, evaluation, runs, training  # noqa: E402
from sat_tf.files import write_text  # noqa: E402
from sat_tf.interruption import Interruption  # noqa: E402

SMALL_ATTACK = "pgd-20"
DIAGNOSED_EXAMPLES = 256  # the first of the evaluation part


def run_cell(folder, about, interruption) -> dict:
    """Trains to the end, from the folder's checkpoint where there is one, and returns the cell.

    With how many cores it ran, and under what load of the machine, is in it, since seconds depend
    on it.

    Args:
      folder: of the run.
      about: what `schedule` says of the cell; see `grids.Cell` for "asked".
      interruption: see `Run.train`.
    """
    flags = definitions.define()
    definitions.parse(flags, ["cell", *about["asked"]["argv"], f"--model_dir={folder}"])
    subject = subjects.of(flags)
    config, strategy = subject.config, prepare_devices(subject.config.distribution)
    run = subject.open(strategy)
    for note in subject.notes:
        print(f"note: {note}")
    run.train(interruption, then_evaluates=True)
    results = run.evaluate(interruption)
    # A row that trains with another derivative is evaluated with it as well; here all rows are.
    exact = {
        name: accuracy
        for name, accuracy in results["robust_accuracy"].items()
        if name in config.evaluation.attacks
    }
    # The weights that a later --mode=eval would measure, averaged or the best where that is asked.
    network = runs.networks.Classifier(config, strategy, subject.description)
    trained = runs.Run(config, strategy, subject.folder, subject.description, network, trains=False)
    trained.load_weights()
    with open(subject.folder.metrics, encoding="utf-8") as file:
        metrics = [json.loads(line) for line in file]
    return {
        **about,
        **results,
        "robust_accuracy": exact,
        **_of_training(config, metrics),
        **_measure(trained, about["asked"], interruption),
        "device": distribution.device_type(strategy),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _of_training(config, metrics):
    """Returns what metrics.jsonl says: the curves by epoch, and the seconds of an epoch."""
    rows = [row for row in metrics if row["kind"] == "train"]
    epoch = {
        "first": max(2, config.method.clean_epochs),
        "images": config.optimizer.steps_per_epoch * config.data.batch_size,
    }
    return {
        "training_curve": [
            [row["epoch"], row["adversarial_accuracy"]]
            for row in rows
            if "adversarial_accuracy" in row
        ],
        "validation_curve": [
            [row["epoch"], accuracy]
            for row in metrics
            if row["kind"] == "validation"
            for accuracy in row["robust_accuracy"].values()
        ],  # of one attack
        "seconds_per_epoch": seconds_per_epoch(rows, "images_per_second", **epoch),
        "processor_seconds_per_epoch": seconds_per_epoch(
            rows, "images_per_processor_second", **epoch
        ),
    }


def seconds_per_epoch(rows, speed, *, first, images):
    """Returns the median over the epochs after `first`, or None where there are none.

    The first two epochs are those of warming up, and the clean ones have no attack; checkpoints and
    evaluations between the epochs are not counted.

    Args:
      rows: of training, one an epoch.
      speed: name of the number in them that says how many images a second.
      first: number of epochs to leave out.
      images: in an epoch.
    """
    speeds = [row[speed] for row in rows if row["epoch"] > first and speed in row]
    return images / statistics.median(speeds) if speeds else None


def _measure(run, asked, interruption):
    """Returns what a study measures beyond results.json."""
    epsilon = run.config.attack.epsilon * asked["small_share"]
    form = training.attack_form(run.config, distribution.device_type(run.strategy))
    small = {"small": attacks.create(SMALL_ATTACK, epsilon=epsilon, **form)}
    measured = {
        "small_epsilon": epsilon,
        "small_robust_accuracy": _robust(run, small, interruption)["small"],
    }
    if asked["substitute"]:
        same = {
            name: attacks.create(
                name,
                epsilon=run.config.attack.epsilon,
                step_size=run.config.evaluation.step_size,
                **form,
            )
            for name in run.config.evaluation.attacks
        }
        measured["substituted_robust_accuracy"] = _robust(
            run, same, interruption, asked["substitute"]
        )
    if asked["diagnostics"]:
        measured["diagnostics"] = {"exact": _diagnose(run, form["loss_scale"])}
        if asked["substitute"]:
            measured["diagnostics"]["substituted"] = _diagnose(
                run, form["loss_scale"], asked["substitute"]
            )
    return measured


def _robust(run, named, interruption, derivative=None):
    """Returns attack name -> robust accuracy on the evaluation examples in use.

    Attacks follow the activations' own derivative, or that of the activation named.
    """
    evaluator = evaluation.Evaluator(
        _logits_fn(run, derivative), named, seed=run.config.seed, strategy=run.strategy
    )
    return evaluator(
        _batches(run, run.config.evaluation.batch_size),
        on_batch=lambda *unused: interruption.check(),
    ).robust_accuracy


def _diagnose(run, loss_scale, derivative=None):
    count = min(DIAGNOSED_EXAMPLES, run.config.data.eval_examples)
    images, labels, _ = next(iter(_batches(run, count)))
    return evaluation.diagnostics.measure(
        _logits_fn(run, derivative),
        images,
        labels,
        seed=run.config.seed,
        epsilon=run.config.attack.epsilon,
        loss_scale=loss_scale,
    )


def _logits_fn(run, derivative):
    # A new function each time, so that nothing traced under another derivative is met again.
    return activations.differentiated_as(derivative, lambda images: run.network.logits_fn(images))


def _batches(run, batch_size):
    return data.evaluation_batches(
        run.source,
        batch_size=batch_size,
        image_size=run.config.model.image_size,
        num_examples=run.config.data.eval_examples,
    )


def main(argv) -> int:
    folder, about = argv[1], json.loads(argv[2])

    def run_and_write():
        with Interruption() as interruption:
            cell = run_cell(folder, about, interruption)
            write_text(os.path.join(folder, "cell.json"), json.dumps(cell, indent=1) + "\n")

    return exit_status(run_and_write)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
