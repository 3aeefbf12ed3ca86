"""How much of an evaluation is done and left, in passes of the network for one example.

A pass is one forward and one backward, as in `training.methods`; a forward alone is half of one.
Examples are no measure: a block of them is attacked together, for hundreds of passes, before the
first is finished, and one that is broken early costs a hundredth of one that stands.
"""

from typing import NamedTuple

import numpy as np

from sat_tf.attacks import Ensemble
from sat_tf.evaluation.stream import length

JUDGED = 0.5  # passes, to see what became of an example at the end of a run


class Work(NamedTuple):
    """Passes for one example each.

    `made` by this process in the attack under way; `left` of it; and `later`, of the attacks after
    it, should every example that stands now make all their steps.  `in_steps` tells whether that is
    known from steps, which an attack that is a plain function does not have.
    """

    made: float
    left: float
    later: float
    in_steps: bool = True


def of_example(search) -> float:
    """Returns the passes that a search makes for an example that it does not break."""
    return search.runs * (search.num_steps * search.passes + JUDGED)


def at_most(attacks: dict, examples: int) -> float:
    """Returns the passes of an evaluation of which no example is broken.

    Args:
      attacks: as of `Evaluator`.
      examples: how many.
    """
    return examples * (JUDGED + sum(of_example(search) for _, _, search in _in_order(attacks)))


class Account:
    """Counts while an evaluation goes on.

    Args:
      attacks: as of `Evaluator`.
    """

    def __init__(self, attacks):
        self._order = _in_order(attacks)
        self._correct = 0

    def count_clean(self, correct: int):
        """Takes how many examples there are to attack."""
        self._correct = correct

    def begin(self, attack, stage, search, waiting: int, standing: int, snapshot):
        """Begins an attack, or goes on with it.

        Args:
          attack, stage: its names; they differ for a stage of an ensemble.
          search: it.
          waiting: how many examples have not come to a lane yet.
          standing: how many that it is for are not broken.
          snapshot: the lanes' at the start.
        """
        self._attack, self._stage, self._search = attack, stage, search
        self._waiting, self._standing = waiting, standing
        self._finished, self._before = 0, self._in_lanes(snapshot)[0]

    def add(self, lanes, finished, waiting: int) -> Work:
        """Enters what a turn of the lanes has finished; returns how much there is now."""
        search = self._search
        self._waiting = waiting
        if finished:
            self._finished += length(finished)
            self._standing -= int(finished["broken"].sum())
        there, inside = self._in_lanes(lanes.snapshot)
        made = lanes.steps_made * search.passes + lanes.judged * JUDGED
        full = of_example(search)
        spent = made + self._before - there  # on those that are finished
        # Those that are broken early are finished first: who is still in a lane counts as whole.
        known = self._finished + inside
        mean = (spent + inside * full) / known if known else full
        left = inside * full - there + self._waiting * min(mean, full)
        return Work(made, max(0.0, left), self._later(), search.num_steps > 0)

    def _in_lanes(self, snapshot):
        """Returns the passes made for the examples in the lanes, and how many there are."""
        search, passes, count = self._search, 0.0, 0
        for part in ("going", "waiting"):
            runs = snapshot.get(f"{part}/run", np.zeros(0))
            steps = snapshot.get("going/index", np.zeros(0)) if part == "going" else np.zeros(0)
            passes += runs.sum() * (search.num_steps * search.passes + JUDGED)
            passes += steps.sum() * search.passes
            count += len(runs)
        return float(passes), count

    def _later(self):
        places = [place[:2] for place in self._order]
        after = self._order[places.index((self._attack, self._stage)) + 1 :]
        return sum(
            of_example(search) * (self._standing if attack == self._attack else self._correct)
            for attack, _, search in after
        )


def _in_order(attacks):
    """Returns (attack, stage, search) of all searches, in the order in which they are made."""
    found = []
    for name, attack in attacks.items():
        stages = attack.stages if isinstance(attack, Ensemble) else {name: attack}
        found += [(name, stage, search) for stage, search in stages.items() if search is not None]
    return found
