"""A run in the place of another: the old one moves aside first, and goes last.

replacement = Replacement("runs/mine", lambda: ["config.json", "checkpoints/checkpoint", ...])
replacement.recover()      # what a killed replacement has left
replacement.begin()        # the old run is now in runs/mine/.replaced
replacement.finish()       # the new one has its first state: the old one goes
replacement.undo()         # or else: the old one comes back
"""

import os
from collections.abc import Callable

from sat_tf.files import remove

_MOVING, _ASIDE, _GOING = ".replaced.moving", ".replaced", ".replaced.going"


class Replacement:
    """The replacement of what is in a folder; a kill at any moment leaves one whole run.

    Until `finish`, the run in the folder is the old one, wherever its files are: some of them in
    `.replaced.moving`, or all in `.replaced`.

    Args:
      folder: the run's.
      own: returns the paths in it, relative to it, of what is there of a run's own files and
        folders; other files stay where they are.
    """

    def __init__(self, folder: str, own: Callable[[], list[str]]):
        self._folder, self._own = folder, own
        self._moving, self._aside, self._going = map(self._at, (_MOVING, _ASIDE, _GOING))

    @property
    def is_open(self) -> bool:
        """Whether an old run stands aside."""
        return os.path.isdir(self._aside)

    @property
    def is_pending(self) -> bool:
        """Whether a replacement was begun and not ended, by this process or a killed one."""
        return any(map(os.path.isdir, (self._moving, self._aside, self._going)))

    def recover(self):
        """Ends what a killed process had begun: the old run comes back, or is gone for good."""
        remove(self._going)
        self._move_back()
        self.undo()

    def begin(self):
        """Moves the old run aside."""
        self.recover()
        there = self._own()
        if not there:
            return
        os.makedirs(self._moving)
        for name in there:
            place = os.path.join(self._moving, name)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.rename(self._at(name), place)
        os.rename(self._moving, self._aside)

    def finish(self):
        """Removes the old run."""
        if self.is_open:
            os.rename(self._aside, self._going)  # from here on there is no way back
            remove(self._going)

    def undo(self):
        """Puts the old run back in the place of what has been made of the new one."""
        if self.is_open:
            for name in self._own():
                remove(self._at(name))
            os.rename(self._aside, self._moving)
            self._move_back()

    def _move_back(self):
        if os.path.isdir(self._moving):
            _merge(self._moving, self._folder)

    def _at(self, name):
        return os.path.join(self._folder, name)


def _merge(source, target):
    """Moves what is in one folder into another, which may have folders of the same names."""
    for name in os.listdir(source):
        here, there = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(here) and os.path.isdir(there):
            _merge(here, there)
        else:
            os.rename(here, there)
    os.rmdir(source)
