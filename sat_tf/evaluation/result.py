"""What an evaluation counted, and what became of each example."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from sat_tf.evaluation import plot, table
from sat_tf.evaluation.checks import Finding

if TYPE_CHECKING:  # imported where a chart is drawn: it is slow
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the examples under one attack.

    Attributes:
      attacked: bool [examples]; those classified correctly, and for a later stage of an ensemble
        those that the stages before had not broken.
      broken: bool [examples], which of these are misclassified now.
      loss: float32 [examples], cross-entropy of the attack's result; NaN where not attacked.
      predicted: int32 [examples], class of the attack's result; of the image where not attacked.
      runs: int32 [examples], restarts or targets that were tried, the one that broke it included.
      seconds: that it took.
      stages: of an ensemble, its attacks' outcomes by name.
    """

    attacked: np.ndarray
    broken: np.ndarray
    loss: np.ndarray
    predicted: np.ndarray
    runs: np.ndarray
    seconds: float
    stages: "dict[str, Outcome]" = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Result:
    """What an evaluation counted.

    `print(result)` shows the command line's table, with the findings below it.

    Attributes:
      examples: number of examples, padding left out.
      correct: attack name -> examples classified correctly, clean and after that attack;
        "clean" always among them, and first.
      outcomes: attack name -> Outcome; that of "clean" says what the images themselves are taken
        for.
      images, labels: NumPy arrays of the first examples, as many as were to be kept.
      adversarial: attack name -> its results on these; the images themselves where not attacked.
      epsilon, norm: of the ball that all attacks were held to; None where there is none in common
        or an `Evaluator` was used, which is not told.
      checked: whether the self-checks of `evaluation.checks` were run.
      findings: their `checks.Finding`s: why to doubt these numbers.
    """

    examples: int
    correct: dict[str, int]
    outcomes: dict[str, Outcome] = dataclasses.field(default_factory=dict, compare=False)
    images: Any = dataclasses.field(default=None, compare=False)
    labels: Any = dataclasses.field(default=None, compare=False)
    adversarial: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, compare=False)
    epsilon: float | None = dataclasses.field(default=None, compare=False)
    norm: str | None = dataclasses.field(default=None, compare=False)
    checked: bool = dataclasses.field(default=False, compare=False)
    findings: tuple[Finding, ...] = dataclasses.field(default=(), compare=False)

    def __repr__(self):
        accuracies = {"clean": self.clean_accuracy, **self.robust_accuracy}
        shown = ", ".join(f"{name}: {value:.4g}" for name, value in accuracies.items())
        return f"Result({self.examples} examples, {shown})"

    def __str__(self):
        return "\n".join(
            [
                table.format_table(self.to_dict()),
                *(f"warning: {finding.name}: {finding.text}" for finding in self.findings),
                *([] if self.checked else ["no self-checks were made (checks=False)"]),
            ]
        )

    def to_dict(self) -> dict:
        """Returns what results.json holds of an evaluation, for JSON: see `table.contents`."""
        return table.contents(self)

    def plot(self) -> "Figure":
        """Returns a matplotlib Figure of the accuracies, each with its 95 % interval."""
        return plot.draw(self)

    @property
    def clean_accuracy(self) -> float:
        """Fraction of the examples classified correctly as they are."""
        return self.correct["clean"] / self.examples

    @property
    def robust_accuracy(self) -> dict[str, float]:
        """Attack name -> fraction of the examples that it leaves classified correctly."""
        return {
            name: count / self.examples for name, count in self.correct.items() if name != "clean"
        }

    def survives(self, name: str) -> np.ndarray:
        """Returns bool [examples]: classified correctly both as it is and after that attack."""
        return ~self.outcomes["clean"].broken & ~self.outcomes[name].broken

    def survivors(self) -> dict[str, np.ndarray]:
        """Returns {attack: bool [examples]}, with ensembles' stages, each after those before it."""
        survives = {}
        for name, outcome in self.outcomes.items():
            standing = ~self.outcomes["clean"].broken
            for stage, part in outcome.stages.items():
                standing = standing & ~part.broken
                survives.setdefault(stage, standing)
            if name != "clean":
                survives[name] = self.survives(name)
        return survives

    def accuracy_after(self, name: str, runs: int) -> float:
        """Returns the robust accuracy under an attack that had made so many runs and no more."""
        outcome = self.outcomes[name]
        broken = self.outcomes["clean"].broken | outcome.broken & (outcome.runs <= runs)
        return 1 - np.mean(broken).item()

    def strongest(self, count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Returns what the attacks made of the first examples, each by the one that did most.

        That is the first attack that broke it; else, the one under which its loss is highest.
        Returns: the names of those that broke them ("" where none did), images, predicted classes.
        """
        names = [name for name in self.correct if name != "clean"]
        clean = self.outcomes["clean"]
        broken_by, images = [], self.images[:count].copy()
        predicted = clean.predicted[:count].copy()
        for number in range(count):
            if clean.broken[number]:
                broken_by.append("clean")
                continue
            breaking = [name for name in names if self.outcomes[name].broken[number]]
            chosen = breaking[0] if breaking else max(names, key=self._loss_of(number))
            broken_by.append(chosen if breaking else "")
            images[number] = self.adversarial[chosen][number]
            predicted[number] = self.outcomes[chosen].predicted[number]
        return broken_by, images, predicted

    def _loss_of(self, number):
        return lambda name: np.nan_to_num(self.outcomes[name].loss[number], nan=-np.inf)

    @property
    def worst_case_accuracy(self) -> float:
        """Fraction of the examples classified correctly after every attack."""
        return np.mean(np.all([self.survives(name) for name in self.correct], axis=0)).item()
