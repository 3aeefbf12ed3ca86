"""What killed processes leave in a run's folder beside its files.

remove("runs/mine")        # under the folder's lock, when no other process writes there
"""

import os
import re

from sat_tf import files, saved_models

# Of a checkpoint, as `training.checkpoints` names them: the folder of its parts; the list of them;
# values without their index.
_TEMPORARY = re.compile(r"checkpoint-.*at-step-\d+_temp|checkpoint\.tmp[0-9a-f]*")
_VALUES = re.compile(r"(checkpoint-.*at-step-\d+)\.data-\d{5}-of-\d{5}(\.tempstate\d+)?")


def remove(folder: str):
    """Removes them; an export that was being replaced comes back.

    Files with other names than those are somebody's own, and stay.
    Raises: OSError where they cannot be removed.
    """
    saved_models.recover(os.path.join(folder, "saved_model"))
    checkpoints = os.path.join(folder, "checkpoints")
    own = (checkpoints, os.path.join(checkpoints, "best"), os.path.join(folder, "evaluation_state"))
    for place in (folder, *own):
        for name in os.listdir(place) if os.path.isdir(place) else ():
            if _is_left(place, name, is_own=place in own):
                files.remove(os.path.join(place, name))


def _is_left(place, name, *, is_own):
    if files.is_unfinished(name):
        return True
    if not is_own:
        return False
    values = _VALUES.fullmatch(name)
    if values:
        return not os.path.exists(os.path.join(place, values.group(1) + ".index"))
    return bool(_TEMPORARY.fullmatch(name))
