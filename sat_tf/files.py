"""Files that are there whole or not at all.

with replacing("runs/mine/curves.png") as file:
  file.write(png)
"""

import contextlib
import os
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
