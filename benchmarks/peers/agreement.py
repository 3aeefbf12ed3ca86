"""Two attacks compared image by image.

ours, theirs = (judged(logits_fn, images, labels, found, setting) for found in (a, b))
row = compare(setting, ours, theirs)
print(markdown([row]))
"""

import dataclasses

import numpy as np
import tensorflow as tf

from sat_tf import attacks

ROUNDING = 1e-5  # of the radius or the range


@dataclasses.dataclass(frozen=True)
class Side:
    """What became of the images under one side's attack.

    Attributes:
      broken: bool [starts, examples], misclassified as they are or as the attack returned them.
      excess: how far the worst result is outside the ball or the range of [0, 1], relative to the
        radius (or the range, where that is larger).  Rounding is below ROUNDING.
    """

    broken: np.ndarray
    excess: float

    @property
    def robust_accuracy(self) -> float:
        """Fraction of the examples, the mean over starts."""
        return 1 - self.broken.mean().item()

    @property
    def disagreement(self) -> float:
        """Fraction of the examples that one start breaks and another does not, the mean over pairs.

        What chance alone makes of the agreement with others; 0 for a single start.
        """
        broken = self.broken.sum(axis=0)
        starts = len(self.broken)
        return (broken * (starts - broken)).mean().item() / max(1, starts * (starts - 1) / 2)


def repeated(values, setting):
    """Returns an array's rows once for each of a Setting's starts, all of one start together."""
    return np.concatenate([values] * setting.starts)


def judged(logits_fn, images, labels, adversarial, setting) -> Side:
    """Returns a Side for what an attack returned.

    Args:
      logits_fn: float32 [examples, H, W, C] -> logits [examples, classes].
      images: float32 [examples, H, W, C] in [0, 1].
      labels: int32 [examples].
      adversarial: float32 [starts * examples, H, W, C], of the images as `repeated` has them.
      setting: the Setting whose ball is to hold.
    """
    threat = attacks.ThreatModel(setting.norm, epsilon=setting.epsilon)
    images, labels = repeated(images, setting), repeated(labels, setting)
    images, adversarial = (tf.constant(value, tf.float32) for value in (images, adversarial))
    broken = (
        attacks.judge(logits_fn, images, labels).broken
        | attacks.judge(logits_fn, adversarial, labels).broken
    )
    return Side(
        broken.numpy().reshape(setting.starts, -1),
        float(np.max(_excess(threat, images.numpy(), adversarial.numpy()))),
    )


def _excess(threat, images, adversarial):
    low, high = threat.bounds
    size = threat.size(images, tf.constant(adversarial)).numpy()
    beyond = np.maximum(low - adversarial, adversarial - high).max((1, 2, 3)) / (high - low)
    excess = np.maximum(beyond, (size - threat.epsilon) / max(threat.epsilon, high - low))
    return np.where(np.isfinite(excess), excess, np.inf)


def compare(setting, ours, theirs, name=None):
    """Returns a row: robust accuracies, how many images either side breaks, and the excess.

    Of several starts one is compared with one, and the numbers of images are sums over them.
    """
    return {
        "attack": name or setting.name,
        "norm": setting.norm,
        "epsilon": setting.epsilon,
        "examples": ours.broken.shape[1],
        "starts": len(ours.broken),
        "robust_accuracy": {"ours": ours.robust_accuracy, "theirs": theirs.robust_accuracy},
        "broken_by": {
            "both": int((ours.broken & theirs.broken).sum()),
            "only_ours": int((ours.broken & ~theirs.broken).sum()),
            "only_theirs": int((~ours.broken & theirs.broken).sum()),
            "neither": int((~ours.broken & ~theirs.broken).sum()),
        },
        "disagreement_of_starts": {"ours": ours.disagreement, "theirs": theirs.disagreement},
        "excess": {"ours": ours.excess, "theirs": theirs.excess},
    }


def after_each(setting, pairs):
    """Returns a row for each stage of an ensemble: what its first start or one before has broken.

    Args:
      setting: the Setting of the ensemble.
      pairs: {stage: (our Side, their Side)}, in order.
    """
    rows, sums = [], None
    for stage, pair in pairs.items():
        pair = [dataclasses.replace(side, broken=side.broken[:1]) for side in pair]
        sums = pair if sums is None else list(map(_added, sums, pair))
        rows.append(compare(setting, *sums, name=f"autoattack, after {stage}"))
    return rows


def _added(before, side):
    return Side(before.broken | side.broken, max(before.excess, side.excess))


def markdown(rows) -> str:
    """Returns rows as a table in Markdown, accuracies in per cent."""
    lines = [
        "| attack | norm | epsilon | ours (%) | theirs (%) | both | only ours | only theirs | "
        "neither |",
        "|" + "---|" * 9,
    ]
    for row in rows:
        accuracies = (f"{100 * row['robust_accuracy'][side]:.1f}" for side in ("ours", "theirs"))
        starts = f", {row['starts']} starts" if row["starts"] > 1 else ""
        cells = [
            row["attack"] + starts,
            row["norm"],
            f"{row['epsilon']:g}",
            *accuracies,
            *map(str, row["broken_by"].values()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
