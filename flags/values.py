"""Whence a flag's value comes where it was not given.

From the run that is continued or applied, where there is one (but not the hardware, which is this
command's); or from what an imported checkpoint says of its network; then from its own default.
"""

from sat_tf.config import flag_values

# The compute dtype is not among these: it is part of what a run computes.
_HARDWARE = ("strategy", "tpu", "virtual_cpus", "xla", "steps_per_execution", "download")


class Values:
    """Looks a flag up in the order above."""

    def __init__(self, flags, stored=None, imported=None):
        self._flags = flags
        self.continues = stored is not None  # or evaluates, exports, predicts with
        self._stored = flag_values(stored) if stored else _facts(imported)
        for name in _HARDWARE:
            self._stored.pop(name, None)

    def given(self, name):
        """Whether the user set the flag."""
        return bool(self._flags[name].present) and self._flags[name].value is not None

    def names_another(self, name, value):
        """Whether the flag says `value` where the run that is continued or applied says another."""
        return self.given(name) and self._stored.get(name, value) != value

    def get(self, name, otherwise=None):
        if self.given(name):
            return self._flags[name].value
        if name in self._stored:
            return self._stored[name]
        value = self._flags[name].value
        return otherwise if value is None else value


def _facts(network):
    """Returns {flag: value} of what is known of a network of the release, or of None."""
    if network is None:
        return {}
    known = {
        "model": network.model,
        "num_classes": network.num_classes,
        "activation": "smoothrelu" if network.learns_smoothrelu else None,
        "dataset": "imagenet2012" if network.num_classes == 1000 else None,
    }
    return {name: value for name, value in known.items() if value is not None}
