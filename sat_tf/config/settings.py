"""The settings of a Config by the names of their flags, and what two of them differ in.

flag_values(config)["epsilon"]                # 0.0157
differences(stored, asked)                    # ["epsilon (0.0157 there, 0.0314 now)"]
"""

import dataclasses
from typing import Any

from sat_tf.config.config import Config


def flag_values(config: Config, *, parts=None, defining_only=False) -> dict[str, Any]:
    """Returns {flag: value} of all parts, or of those named, or of what defines the weights."""
    values = {"seed": config.seed} if parts is None else {}
    for part, field, flag in _settings(config):
        if (parts is None or part in parts) and (field.metadata["defines"] or not defining_only):
            values[flag] = getattr(getattr(config, part), field.name)
    return values


def flags_missing(values: dict) -> set:
    """Returns the flags of the settings that `values`, of an older `to_dict`, does not have."""
    return {flag for part, field, flag in _settings() if field.name not in values.get(part, ())}


def with_settings_of(other: Config, config: Config, flags) -> Config:
    """Returns `config`, but with the settings of `flags` as `other` has them."""
    parts = {}
    for part, field, flag in _settings():
        if flag in flags:
            parts.setdefault(part, {})[field.name] = getattr(getattr(other, part), field.name)
    return dataclasses.replace(
        config,
        **{
            part: dataclasses.replace(getattr(config, part), **values)
            for part, values in parts.items()
        },
    )


def _settings(config=None):
    """Yields (name of the part, field, flag) of every setting in a part of a config."""
    for part in dataclasses.fields(Config):
        kind = part.type if config is None else type(getattr(config, part.name))
        for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
            yield part.name, field, field.metadata["flag"] or field.name


def differences(stored: Config, asked: Config, parts=None) -> list[str]:
    """Names each weight-defining setting in which `asked` departs from `stored`."""
    old, new = (flag_values(c, parts=parts, defining_only=True) for c in (stored, asked))
    return [
        f"{flag} ({old[flag]} there, {new[flag]} now)" for flag in old if old[flag] != new[flag]
    ]
