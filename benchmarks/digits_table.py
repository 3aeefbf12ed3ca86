"""The README's table: methods and activations on digits, over seeds, with the spread.

    python -m benchmarks.digits_table --seeds 0 1 2

Every cell is `python main.py` with its defaults but for the method, the activation, the seed and
the attacks.  Finished runs are kept in --runs and not run again: a results.json there of the same
method, activation and seed, and under these attacks, is taken whatever other flags it was made
with.  Writes benchmarks/results/digits.json and prints the table in Markdown.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "digits.json"
METHODS = ("standard", "pgd")
ACTIVATIONS = ("relu", "swish")
ATTACKS = ("pgd-20", "autoattack")


def results_of(folder, method, activation, seed):
    """Returns results.json of one cell's run, which is made or attacked if it has not been yet.

    Raises: SystemExit for a run of another method, activation or seed in its folder.
    """
    run = pathlib.Path(folder) / f"{method}-{activation}-{seed}"
    results = run / "results.json"
    if results.exists():
        config = json.loads((run / "config.json").read_text())
        there = config["method"]["name"], config["model"]["activation"], config["seed"]
        if there != (method, activation, seed):
            sys.exit(
                f"error: --runs={folder}: {run} holds a run of {there[0]}, {there[1]}, seed "
                f"{there[2]}; remove it, or give another folder"
            )
        found = json.loads(results.read_text())
        if set(ATTACKS) <= set(found["robust_accuracy"]):
            return found
    subprocess.run(
        [
            sys.executable,
            "main.py",
            f"--model_dir={run}",
            f"--method={method}",
            f"--activation={activation}",
            f"--seed={seed}",
            f"--eval_attacks={','.join(('clean', *ATTACKS))}",
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return json.loads(results.read_text())


def spread(values):
    """Returns "mean ± standard deviation" of fractions, in per cent."""
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0, 1, 2],
        help="at least two, for the deviation. Default: 0 1 2",
    )
    parser.add_argument("--runs", default=os.path.join("runs", "digits_table"))
    arguments = parser.parse_args()
    if len(set(arguments.seeds)) < max(2, len(arguments.seeds)):
        parser.error(
            f"--seeds {' '.join(map(str, arguments.seeds))}: give at least two, all "
            "different: one has no standard deviation"
        )
    heads = ("method", "activation", "clean (%)", *(f"{attack} (%)" for attack in ATTACKS))
    rows, table = [], [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for method in METHODS:
        for activation in ACTIVATIONS:
            cell = [
                results_of(arguments.runs, method, activation, seed) for seed in arguments.seeds
            ]
            clean = [result["clean_accuracy"] for result in cell]
            robust = {
                attack: [result["robust_accuracy"][attack] for result in cell] for attack in ATTACKS
            }
            rows.append(
                {
                    "method": method,
                    "activation": activation,
                    "seeds": arguments.seeds,
                    "clean_accuracy": clean,
                    "robust_accuracy": robust,
                    "epsilon": cell[0]["epsilon"],
                    "examples": cell[0]["examples"],
                }
            )
            shown = (method, activation, spread(clean), *map(spread, robust.values()))
            table.append(f"| {' | '.join(shown)} |")
    RESULTS.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print("\n".join(table))


if __name__ == "__main__":
    main()
