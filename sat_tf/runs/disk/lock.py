"""One process at a time works in a run's folder.

with held("runs/mine"):
    ...

The lock is the kernel's, on the file `.lock` there, so that it ends with its process however that
ends.  Kernels of two machines need not tell each other of it: the file says who holds it, its time
shows that the holder lives, and another machine's is watched before it is taken over.
"""

import contextlib
import errno
import fcntl
import json
import os
import platform
import shlex
import sys
import threading
import time

from sat_tf.errors import UserError

NAME = ".lock"
_BEAT_SECONDS = 10  # between two signs of life
_WATCH_SECONDS = 45  # without one, the holder on another machine is gone


_NO_LOCKS = (errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS)


@contextlib.contextmanager
def held(folder: str):
    """Holds the folder's lock for a block; makes the folder where it does not exist.

    What it made and nothing was put into goes again.
    Raises: UserError, naming --model_dir, where another process holds it; OSError where the file
      cannot be made.
    """
    made = _make(folder)
    path = os.path.join(folder, NAME)
    try:
        file = _locked(path, folder)
        try:
            _wait_for_another_machine(path, folder)
            _write(file)
            with _beating(path):
                yield
        finally:
            with contextlib.suppress(OSError):  # unlocked only then, so that it is nobody else's
                os.unlink(path)
            file.close()
    finally:
        for place in reversed(made):
            with contextlib.suppress(OSError):
                os.rmdir(place)


def _make(folder):
    """Makes a folder; returns those that did not exist, outermost first."""
    made, place = [], os.path.abspath(folder)
    while not os.path.lexists(place):
        made.append(place)
        place = os.path.dirname(place)
    os.makedirs(folder, exist_ok=True)
    return made[::-1]


def _locked(path, folder):
    """Returns the open file, locked."""
    while True:
        file = open(path, "a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(path)
            if error.errno in _NO_LOCKS and not _lives_here(holder):
                return file  # a file system without locks: what the file says has to do
            file.close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, *_NO_LOCKS):
                raise
            _refuse(folder, holder)
        # Between opening and locking, its last holder may have removed it.
        if os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
        file.close()


def _holder(path):
    """Returns what the file says of who holds it, {} where it is empty."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lives_here(holder):
    """Whether a holder is a process of this machine that exists."""
    if holder.get("host") != platform.node():
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def _refuse(folder, holder):
    who = (
        f"process {holder.get('pid')} on {holder.get('host')} ({holder.get('command')}), since "
        f"{holder.get('since')}"
        if holder
        else "another process"
    )
    raise UserError(
        f"--model_dir={folder}: {who}, is at work there; wait for its end, or give another "
        "--model_dir"
    )


def _wait_for_another_machine(path, folder):
    """Watches the signs of life of a holder elsewhere, and refuses where there is one."""
    holder = _holder(path)
    if not holder or holder.get("host") == platform.node():
        return  # nobody, or one whose lock the kernel has taken back
    print(
        f"note: a process on {holder.get('host')} was at work in {folder}; looking for a sign of "
        f"life of it for {_WATCH_SECONDS} seconds",
        file=sys.stderr,
        flush=True,
    )
    before, end = os.stat(path).st_mtime_ns, time.monotonic() + _WATCH_SECONDS
    while time.monotonic() < end:
        time.sleep(0.2)
        if os.stat(path).st_mtime_ns != before:
            _refuse(folder, holder)


def _write(file):
    file.truncate(0)
    json.dump(
        {
            "host": platform.node(),
            "pid": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": shlex.join(sys.argv)[:500],
        },
        file,
    )
    file.flush()


@contextlib.contextmanager
def _beating(path):
    """Renews the file's time while the block lasts."""
    over = threading.Event()

    def beat():
        while not over.wait(_BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=beat, name="sat_tf lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
