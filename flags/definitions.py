"""Every flag of `main.py` (installed: `sat-tf`): defined, and read from a command line.

A default that is empty in `flags/groups` is the data set's, the model's or the method's;
`flags/defaults.py` has those, and `flags/to_config.py` resolves them.
"""

import difflib
import os
import re

from absl import flags as absl_flags

from flags.groups import GROUPS
from sat_tf.errors import UserError

# By its full path, since an installed copy's is not below the working folder.
RECIPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recipes")


def define() -> absl_flags.FlagValues:
    """Returns all the flags, not yet parsed, in a registry of their own."""
    flags = absl_flags.FlagValues()
    for group in GROUPS.values():
        for definition in group:
            definition.define(flags)
    return flags


def parse(flags, argv):
    """Reads a command line into `flags`; UserError names the flag, the value and the remedy."""
    try:
        stray = flags(argv)[1:]
    except absl_flags.UnrecognizedFlagError as error:
        near = [f"--{name}" for name in difflib.get_close_matches(error.flagname, list(flags))]
        meant = f"; did you mean {' or '.join(near)}?" if near else "; see --help"
        raise UserError(f"--{error.flagname}: no such flag{meant}") from error
    except absl_flags.Error as error:
        message = re.sub(r"^flag (?=--)|^ERROR:: ", "", str(error))
        if "Unable to open flagfile" in message:
            message = (
                f"--flagfile: {message}; give a file of flags, one a line (recipes: {RECIPES})"
            )
        raise UserError(message) from error
    if stray:
        raise UserError(f"{stray[0]}: not a flag; flags look like --epochs=3")
    for path in ("model_dir", "init_checkpoint", "saved_model", "sparta_from", "transfer_from"):
        # A shell expands no ~ after =.
        if flags[path].value:
            flags[path].value = os.path.expanduser(flags[path].value)


def trains(flags) -> bool:
    """Whether this command trains, for which alone the training images are needed."""
    return flags.mode in ("train", "train_and_eval")


def evaluates(flags) -> bool:
    """Whether this command measures a network in the end."""
    return flags.mode in ("train_and_eval", "eval")


def reads_data(flags) -> bool:
    """Whether this command reads images of the data set."""
    return flags.mode not in ("export", "predict")
