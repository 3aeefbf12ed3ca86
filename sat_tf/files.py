"""Files that are there whole or not at all, and paths that TensorFlow takes as they are.

with replacing("runs/mine/curves.png") as file:
  file.write(png)
tf.train.latest_checkpoint(plain("runs/lr[0.1]/checkpoints"))
"""

import atexit
import contextlib
import functools
import glob
import os
import re
import shutil
import tempfile

# TensorFlow looks checkpoints up by patterns, in which these mean something else.
_PATTERN = re.compile(r"[*?\[\]{}\\]")
_links = {}  # what `plain` has made: link -> what it stands for, as it was written


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


def plain(path: str) -> str:
    """Returns a path to the same place that TensorFlow reads, writes and looks up as it is.

    That is `path` itself, unless a name in it has characters of a pattern, or is not UTF-8: then it
    leads through a symbolic link of this process, in the folder for temporary files.

    Args:
      path: of a file or folder, or of several files, what their names begin with, as a checkpoint
        has it.  What does not exist yet is no file whose own name has such characters.
    """
    path = os.fspath(path)
    parts = path.split(os.sep)
    special = [number for number, part in enumerate(parts) if not _is_plain(part)]
    if "://" in path or not special:
        return path
    end = special[-1] + 1
    return os.path.join(_link_to(os.sep.join(parts[:end])), *parts[end:])


def real(text: str) -> str:
    """Returns a path, or a message with paths, as it is without the links of `plain`."""
    for link, path in _links.items():
        text = text.replace(link, path)
    return text


def _is_plain(name):
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not _PATTERN.search(name)


def _link_to(path):
    """Returns a link to a folder, or what links to all files begin with whose names begin so."""
    files = [] if os.path.isdir(path) else glob.glob(glob.escape(path) + ".*")
    if not files:
        for link, there in _links.items():
            if there == path and os.path.islink(link):
                return link
    link = os.path.join(_folder_of_links(), f"{len(_links):06d}")
    for file in files or [path]:
        os.symlink(os.path.abspath(file), link + file[len(path) :])
    _links[link] = path
    return link


@functools.cache
def _folder_of_links():
    folder = tempfile.mkdtemp(prefix="sat_tf-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
