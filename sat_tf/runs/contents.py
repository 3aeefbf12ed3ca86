"""What the files in a run's folder say of it.

page.write("runs/mine/report.html", **of(RunFolder("runs/mine")))
"""

import json
import os

from sat_tf import reports

_REQUIRED = object()


def of(folder, curves=None) -> dict:
    """Returns what they say as `reports.page.write` takes it.

    Args:
      folder: the RunFolder.
      curves: rows in the place of those in the folder's file; None for that file.
    Returns: "config", None where there is none, "results", "metrics" and "curves".
    Raises: OSError if there is no results.json, ValueError if a file is not what it should be.
    """
    if curves is None:
        there = os.path.exists(folder.curves)
        curves = reports.curves.read_csv(folder.curves) if there else []
    return {
        "config": _read(folder.config, json.load, missing=None),
        "results": _read(folder.results, json.load),
        "metrics": _read(folder.metrics, whole_rows, missing=[]),
        "curves": curves,
    }


def _read(path, parse, missing=_REQUIRED):
    if missing is not _REQUIRED and not os.path.exists(path):
        return missing
    with open(path, encoding="utf-8") as file:
        return parse(file)


def whole_rows(file) -> list:
    """Returns the rows of a metrics.jsonl, without the last where a kill has cut it."""
    return [json.loads(line) for line in file if line.endswith("\n")]
