"""Python files of the user's own, whose rows the flags may name once they are loaded.

    plugin = load("my_rows.py")           # calls sat_tf.activations.register and its like
    restore(stored_config, [plugin])      # the files that a run was begun with, or a refusal

A run records path and checksum of each: with another content the same names would mean another
network, and the run would go on as something that it was not.
"""

import hashlib
import importlib.util
import os
import sys
import traceback
from typing import NamedTuple

from sat_tf.config import Config, refuse
from sat_tf.errors import UserError, one_line

_FLAG = "plugin"


class Plugin(NamedTuple):
    """A file, by its absolute path and the SHA-256 of its content."""

    path: str
    sha256: str


_loaded = set()  # checksums


def load(path: str) -> Plugin:
    """Runs a Python file, unless one of that content has run already.

    Raises: UserError, one line, where there is none, or where it fails.
    """
    plugin, content = _read(path)
    if plugin.sha256 not in _loaded:
        _run(plugin, content)
        _loaded.add(plugin.sha256)
    return plugin


def restore(stored: Config, given=(), flag="model_dir"):
    """Loads the files that a run was begun with, unless they are loaded.

    Args:
      stored: the run's.
      given: the Plugins of this command, in the place of files that have moved.
      flag: which flag means that run.
    Raises: UserError where one is missing, or has another content now.
    """
    known = {one.sha256 for one in given} | _loaded
    begun = [Plugin(*pair) for pair in stored.plugin.files]
    others = [one for one in given if one.sha256 not in {known.sha256 for known in begun}]
    for plugin in begun:
        if plugin.sha256 in known:
            continue
        if others:
            _refuse_content(plugin, others[0], flag)
        if not os.path.exists(plugin.path):
            raise UserError(
                f"--{_FLAG}: the run of --{flag} was begun with {plugin.path}, which is no longer "
                f"there; give --{_FLAG}=FILE with the same content"
            )
        now, _ = _read(plugin.path)
        if now.sha256 != plugin.sha256:
            _refuse_content(plugin, now, flag)
        load(plugin.path)


def _refuse_content(begun, now, flag):
    refuse(
        _FLAG,
        now.path,
        f"the run of --{flag} was begun with another content of {begun.path} (SHA-256 "
        f"{begun.sha256[:12]} then, {now.sha256[:12]} now); give the file as it was, or another "
        "--model_dir",
    )


def _read(path):
    path = os.path.abspath(os.path.expanduser(path))
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        refuse(
            _FLAG,
            path,
            f"cannot be read ({error.strerror}); give a Python file that calls `register`",
        )
    return Plugin(path, hashlib.sha256(content).hexdigest()), content


def _run(plugin, content):
    name = f"sat_tf_plugin_{plugin.sha256[:12]}"
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader(name, loader=None, origin=plugin.path)
    )
    module.__file__ = plugin.path
    sys.modules[name] = module  # where Keras and dataclasses look for what a class is from
    try:
        exec(compile(content, plugin.path, "exec"), module.__dict__)
    except Exception as error:  # whatever somebody's file may raise
        del sys.modules[name]
        refuse(
            _FLAG,
            plugin.path,
            f"fails{_line(error, plugin.path)}: {type(error).__name__}: {one_line(error)}; mend it",
        )


def _line(error, path):
    if isinstance(error, SyntaxError):
        return f" in line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == path
    ]
    return f" in line {lines[-1]}" if lines else ""
