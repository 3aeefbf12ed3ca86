"""Every flag of `main.py` (installed: `sat-tf`): defined, and read from a command line.

A default that is empty in `flags/groups` is the data set's, the model's or the method's;
`flags/defaults.py` has those, and `flags/to_config.py` resolves them.
"""

import os
import re

from absl import flags as absl_flags

from flags.groups import GROUPS
from sat_tf.errors import UserError, did_you_mean

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
        meant = did_you_mean(f"--{error.flagname}", [f"--{name}" for name in flags])
        raise UserError(f"--{error.flagname}: no such flag{meant or '; see --help'}") from error
    except (absl_flags.Error, ValueError) as error:  # absl's own, and of --noFLAG=VALUE
        raise UserError(_in_our_words(str(error))) from error
    if stray:
        raise UserError(f"{stray[0]}: not a flag; flags look like --epochs=3")
    for path in ("model_dir", "init_checkpoint", "saved_model", "sparta_from", "transfer_from"):
        # A shell expands no ~ after =.
        if flags[path].value:
            flags[path].value = os.path.expanduser(flags[path].value)


# What absl says of a flag's value, and what we do.
_WORDS = (
    (r"Missing value for flag (--\w+)", r"\1: no value; write \1=VALUE"),
    (r"(--\w+=.*): invalid literal for int\(\).*", r"\1: give an integer"),
    (r"(--\w+=.*): \('Non-boolean argument.*", r"\1: give true or false"),
    (r"--no(\w+)=.* does not take an argument", r"--no\1: takes no value; write --\1=false"),
    (
        r"(Unable to open flagfile.*)",
        rf"--flagfile: \1; give a file of flags, one a line (recipes: {RECIPES})",
    ),
)


def _in_our_words(message):
    """Returns absl's message on a flag as ours read: flag, value, remedy."""
    message = re.sub(r"^flag (?=--)|^ERROR:: ", "", message)
    for theirs, ours in _WORDS:
        message = re.sub(theirs, ours, message, count=1)
    match = re.fullmatch(r"--\w+=(.*): value should be one of <(.*)>", message)
    return message + did_you_mean(match[1], match[2].split("|")) if match else message


def trains(flags) -> bool:
    """Whether this command trains, for which alone the training images are needed."""
    return flags.mode in ("train", "train_and_eval")


def evaluates(flags) -> bool:
    """Whether this command measures a network in the end."""
    return flags.mode in ("train_and_eval", "eval")


def reads_data(flags) -> bool:
    """Whether this command reads images of the data set."""
    return flags.mode not in ("export", "predict")
