"""A field of a part of a Config.

every: str = setting("save_every", defines=False, default="0")
"""

import dataclasses


def setting(flag=None, defines=True, default=dataclasses.MISSING):
    """Returns a dataclass field.

    Args:
      flag: the command-line flag that sets it; None where it has the field's name.
      defines: whether the trained weights depend on it, see `parts`.
      default: None of its own where it has to be given.
    """
    return dataclasses.field(default=default, metadata={"flag": flag, "defines": defines})
