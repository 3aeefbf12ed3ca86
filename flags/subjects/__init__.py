"""What a command works on, as its flags say: one `Subject`, of one of these kinds.

    subject = subjects.of(flags)
    run = subject.open(strategy)
    for note in subject.notes: ...
    subject.close()

Once `of` has answered, no flag is read again.  Another kind is a class, and its place in KINDS.
"""

from flags.subjects import saved_model
from flags.subjects.applied import AppliedRun, ImportedNetwork
from flags.subjects.saved_model import SavedModel
from flags.subjects.subject import Given, Subject
from flags.subjects.training import ContinuedRun, NewRun
from sat_tf.config import check_range
from sat_tf.errors import UserError

__all__ = ["KINDS", "Subject", "of"]

# The first that fits is it.
KINDS = (SavedModel, ContinuedRun, NewRun, ImportedNetwork, AppliedRun)


def of(flags) -> Subject:
    """Returns what the command works on.

    Args:
      flags: absl FlagValues, parsed.
    Raises: UserError, one line naming flag, value and remedy; nothing is on disk then.
    """
    _check_together(flags)
    given = Given(flags)
    return next(kind for kind in KINDS if kind.fits(given))(given)


def _check_together(flags):
    """Refuses flags that do not go together, as far as they tell by themselves."""
    saved_model.check_flags(flags)
    if flags.dry_run and flags["download"].present and flags.download:
        raise UserError(
            "--download=true: a dry run writes nothing; prepare the data first, or leave one of "
            "the two out"
        )
    if flags.saved_model:
        return
    if flags.mode == "predict" and not flags.images:
        raise UserError(
            "--images=: nothing to classify; give a glob, such as --images='photos/*.png'"
        )
    check_range("top", flags.top, low=1)
    if flags.init_checkpoint is None:
        for name in ("checkpoint_channels", "checkpoint_ema"):
            if flags[name].present:
                raise UserError(
                    f"--{name}={flags[name].value}: there is no checkpoint to read; "
                    "give --init_checkpoint"
                )
