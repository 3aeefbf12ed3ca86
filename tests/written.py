"""What a run wrote in its folder, as tests compare it."""

import json


def results(folder):
    """Returns what results.json holds, but for how long the attacks took."""
    return _without_seconds(json.loads((folder / "results.json").read_text()))


def rows(folder, kind=None):
    """Returns the rows of metrics.jsonl, or those of one kind."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if kind in (None, row["kind"])]


def _without_seconds(value):
    if isinstance(value, dict):
        return {name: _without_seconds(part) for name, part in value.items() if name != "seconds"}
    return value
