"""The picture of the README: what a perturbation is, and what adversarial training changes.

    python main.py --method=standard --model_dir=runs/standard ...
    python main.py --method=pgd --model_dir=runs/pgd ...
    python -m benchmarks.first_picture runs/standard runs/pgd

both with --eval_attacks=clean,apgd-ce-30 --curves=epsilon --curve_attack=apgd-ce-30
--curve_epsilons=0,0.025,0.05,0.1,0.15,0.2,0.25,0.3 --save_adversarial=36.  Left, digits that plain
training takes for others once they are perturbed; right, both runs' curves.
"""

import argparse
import csv
import json
import pathlib

import numpy as np
from matplotlib.figure import Figure

ROOT = pathlib.Path(__file__).resolve().parents[1]
DIGITS = 6
RUNS = (("plain training", "#cf222e"), ("adversarial training", "#0969da"))


def draw(plain, robust):
    """Returns the matplotlib Figure of two runs' folders."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.35, 1))
    _digits(left, plain)
    axes = right.subplots()
    for folder, (name, colour) in zip((plain, robust), RUNS):
        epsilons, accuracies = _curve(folder)
        axes.plot(epsilons, 100 * accuracies, "o-", color=colour, label=name)
    axes.set_xlabel("epsilon, in [0, 1] pixel units")
    axes.set_ylabel("robust accuracy (%)")
    axes.set_ylim(-3, 103)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def _digits(figure, folder):
    epsilon = json.loads((folder / "results.json").read_text())["epsilon"]
    with np.load(folder / "adversarial.npz") as saved:
        images, adversarial = saved["images"][:DIGITS], saved["adversarial"][:DIGITS]
        labels, said = saved["labels"], saved["adversarial_predicted"]
    difference = 0.5 + (adversarial - images) / (2 * epsilon)
    rows = figure.subplots(3, DIGITS)
    for name, row, pictures in zip(
        ("image", "perturbed", "difference"), rows, (images, adversarial, difference)
    ):
        row[0].set_ylabel(name)
        for axes, picture in zip(row, pictures):
            axes.imshow(np.clip(picture, 0, 1))
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    for number in range(DIGITS):
        rows[0, number].set_title(f"a {labels[number]}", fontsize=10)
        rows[1, number].set_title(f"taken for a {said[number]}", fontsize=8)


def _curve(folder):
    with open(folder / "curves.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["curve"] == "epsilon"]
    return (np.array([float(row[name]) for row in rows]) for name in ("x", "robust_accuracy"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plain", type=pathlib.Path, help="folder of the run by standard training")
    parser.add_argument("robust", type=pathlib.Path, help="folder of the run by PGD training")
    parser.add_argument(
        "--output", type=pathlib.Path, default=ROOT / "docs" / "images" / "first.png"
    )
    arguments = parser.parse_args()
    draw(arguments.plain, arguments.robust).savefig(arguments.output, dpi=110)


if __name__ == "__main__":
    main()
