"""metrics.jsonl: what a run adds to it, and what a resumed run takes back.

rows = Rows(folder, steps_per_epoch=23)
rows.append("train", step=23, values={"loss": 0.7})
"""

import json
import os
import time

from sat_tf.files import write_text
from sat_tf.runs.contents import whole_rows
from sat_tf.runs.folder import RunFolder


class Rows:
    """What a run adds to metrics.jsonl; seconds are those the run has taken, without its pauses."""

    def __init__(self, folder: RunFolder, steps_per_epoch: int):
        self._folder = folder
        self._steps_per_epoch = steps_per_epoch
        self._start = time.monotonic()

    def append(self, kind: str, step: int, values: dict):
        """Adds one JSON object."""
        row = {
            "kind": kind,
            "step": step,
            "epoch": round(step / self._steps_per_epoch, 3),
            "seconds": round(time.monotonic() - self._start, 3),
            **values,
        }
        path = self._folder.metrics
        with self._folder.writing("metrics.jsonl"), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def highest(self, kind: str, name: str) -> float:
        """Returns the highest value of that name in the rows of a kind, 0 where there is none."""
        if not os.path.exists(self._folder.metrics):
            return 0.0
        with open(self._folder.metrics, encoding="utf-8") as file:
            rows = [row for row in whole_rows(file) if row.get("kind") == kind]
        return max((row[name] for row in rows if name in row), default=0.0)

    def go_on_from(self, step: int):
        """Drops the rows of later steps, which are about to be taken again, and that of a stop.

        The seconds are counted on from those of the rows that are left.
        """
        if not os.path.exists(self._folder.metrics):
            return
        with self._folder.writing("metrics.jsonl"):
            with open(self._folder.metrics, encoding="utf-8") as file:
                rows = whole_rows(file)
            kept = [row for row in rows if row["step"] <= step and row.get("kind") != "stopped"]
            write_text(self._folder.metrics, "".join(json.dumps(row) + "\n" for row in kept))
        self._start -= max((row.get("seconds", 0.0) for row in kept), default=0.0)
