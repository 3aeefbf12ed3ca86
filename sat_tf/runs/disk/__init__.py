"""What keeps a run's folder whole: one process at a time, nothing half written, nothing lost.

with lock.held("runs/mine"):             # UserError where another process works there
    leftovers.remove("runs/mine")        # what killed processes have left
    replaced = Replacement("runs/mine", own_files)
    replaced.begin()                     # the old run moves aside ...
    replaced.finish()                    # ... and goes, once the new one has a state
"""

from sat_tf.runs.disk import leftovers, lock, mirror, origin
from sat_tf.runs.disk.replacement import Replacement

__all__ = ["Replacement", "leftovers", "lock", "mirror", "origin"]
