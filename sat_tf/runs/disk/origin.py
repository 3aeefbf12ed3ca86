"""What a run was made with: the versions of the packages, and the commit of this project."""

import contextlib
import importlib.metadata
import os
import platform
import subprocess

from sat_tf import __version__

_PACKAGES = (
    "tensorflow",
    "keras",
    "tf-keras",
    "tensorflow-addons",
    "tensorflow-datasets",
    "numpy",
    "scikit-learn",
    "absl-py",
)


def versions() -> dict:
    """Returns the versions of Python, of this package, and of those that decide on the numbers."""
    versions = {"python": platform.python_version(), "sat_tf": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def git_commit() -> str | None:
    """Returns the commit of the checkout that this file is of, or None without one or git.

    An installed copy often lies in a virtual environment within somebody's own repository, whose
    commit would say nothing of this code.
    """
    folder, name = os.path.split(os.path.abspath(__file__))
    try:
        _git(folder, "ls-files", "--error-unmatch", name)
        return _git(folder, "rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder, *command):
    answer = subprocess.run(
        ["git", "-C", folder, *command], capture_output=True, text=True, timeout=10, check=True
    )
    return answer.stdout.strip()
