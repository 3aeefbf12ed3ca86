"""What killed processes leave in a run's folder beside its files.

remove("runs/mine")        # under the folder's lock, when no other process writes there
"""

import contextlib
import os
import re
import shutil

# Of a file that was being written: see `files.replacing`.
_PART = re.compile(r"tmp[a-z0-9_]{8}\.part")
# Of a checkpoint: the folder of its parts; the list of them; values without their index.
_TEMPORARY = re.compile(r"checkpoint-.*at-step-\d+_temp|checkpoint\.tmp[0-9a-f]*")
_VALUES = re.compile(r"(checkpoint-.*at-step-\d+)\.data-\d{5}-of-\d{5}(\.tempstate\d+)?")
_EXPORT = "saved_model"


def remove(folder: str):
    """Removes them; an export that was being replaced comes back.

    Files with other names than those are somebody's own, and stay.
    Raises: OSError where they cannot be removed.
    """
    _restore_export(folder)
    checkpoints = os.path.join(folder, "checkpoints")
    own = (checkpoints, os.path.join(checkpoints, "best"), os.path.join(folder, "evaluation_state"))
    for place in (folder, *own):
        for name in os.listdir(place) if os.path.isdir(place) else ():
            if _is_left(place, name, is_own=place in own):
                _remove(os.path.join(place, name))


def _is_left(place, name, *, is_own):
    if _PART.fullmatch(name):
        return True
    if not is_own:
        return False
    values = _VALUES.fullmatch(name)
    if values:
        return not os.path.exists(os.path.join(place, values.group(1) + ".index"))
    return bool(_TEMPORARY.fullmatch(name))


def _restore_export(folder):
    """Puts back an export that had stepped aside for one that did not come."""
    path = os.path.join(folder, _EXPORT)
    earlier = path + ".earlier"
    if os.path.isdir(earlier):
        if os.path.exists(path):
            shutil.rmtree(earlier)
        else:
            os.rename(earlier, path)
    if os.path.isdir(path + ".partial"):
        shutil.rmtree(path + ".partial")


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
