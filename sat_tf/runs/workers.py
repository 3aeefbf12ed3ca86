"""Several processes that work on one run: whether they do the same, and what ends all of them.

with together(strategy, config, interruption):
    check_same(strategy, folder, "a run at step 8")
    ...
"""

import contextlib
import json

from sat_tf import distribution
from sat_tf.config import Config, flag_values
from sat_tf.errors import UserError


@contextlib.contextmanager
def together(strategy, config: Config, interruption):
    """Lets the workers of a run work together for a block; one that is alone just works.

    A signal that has come to one of them ends all, where all are at the same step; one that is
    gone is named by the others.
    Raises: UserError where a worker was started with other flags.
    """
    with (
        distribution.losses_named(strategy),
        interruption.shared(distribution.agreement_of(strategy)),
    ):
        _check_settings(strategy, config)
        yield


def _check_settings(strategy, config):
    of_all = [json.loads(text) for text in distribution.gathered(strategy, _values(config))]
    for index, values in enumerate(of_all):
        others = [
            f"--{flag} ({values.get(flag)} there, {value} for worker 0)"
            for flag, value in of_all[0].items()
            if values.get(flag) != value
        ]
        if others:
            raise UserError(
                f"--worker_index={index}: worker {index} was started with other settings: "
                f"{', '.join(others)}; start all workers with the same flags"
            )


def _values(config):
    return json.dumps(flag_values(config), default=str)


def check_same(strategy, folder, found: str):
    """Raises UserError where another worker has found something else in the run's folder."""
    of_all = distribution.gathered(strategy, found)
    for index, text in enumerate(of_all):
        if text != of_all[0]:
            raise UserError(
                f"--model_dir={folder.path}: worker {index} finds {text} there, worker 0 "
                f"{of_all[0]}; give a folder that all workers see"
            )
