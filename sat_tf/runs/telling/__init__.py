"""What a command says while it works: its plan, what it is at, bars, and how long it will take.

    for line in plan.lines(...): print(line)
    with phase("building the network") as building:
        ...
        building.found = "272,474 parameters"
    with AttackBars(examples=10000) as bars: bars.show("pgd-20", done, total)

All of it is for people, on standard output or error.  On a terminal a line is renewed in place;
elsewhere there is a line now and then, at least every `QUIET_SECONDS`.
"""

from sat_tf.runs.telling import cost, plan, words
from sat_tf.runs.telling.attack_bars import AttackBars
from sat_tf.runs.telling.estimate import Estimate
from sat_tf.runs.telling.heartbeat import QUIET_SECONDS, Heartbeat
from sat_tf.runs.telling.phases import FirstStep, phase
from sat_tf.runs.telling.training_bar import TrainingBar

__all__ = [
    "QUIET_SECONDS",
    "AttackBars",
    "Estimate",
    "FirstStep",
    "Heartbeat",
    "TrainingBar",
    "cost",
    "phase",
    "plan",
    "words",
]
