"""Files that are there whole or not at all.

with replacing("runs/mine/curves.png") as file:
  file.write(png)
"""

import contextlib
import os
import re
import shutil
import tempfile


@contextlib.contextmanager
def replacing(path: str):
    """Yields a binary file, which takes the place of `path` once the block has ended well.

    Its folder is made where it does not exist.  Whatever goes wrong, `path` is as it was.
    Raises: OSError if it cannot be written.
    """
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(temporary, 0o644)  # mkstemp's files are the owner's alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_text(path: str, text: str, encoding_errors="strict"):
    """Writes UTF-8 to a file that is there whole or not at all, see `replacing`."""
    with replacing(path) as file:
        file.write(text.encode("utf-8", encoding_errors))


def is_unfinished(name: str) -> bool:
    """Whether a file of this name is what a killed process has left of `replacing`."""
    return re.fullmatch(r"tmp[a-z0-9_]{8}\.part", name) is not None


def remove(path: str):
    """Removes a file, a link or a whole folder; nothing where there is none."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
