"""Networks that were trained before, to evaluate, export or predict with."""

import dataclasses
import os

from flags import notes, to_config
from flags.subjects.subject import Subject
from sat_tf import data, runs
from sat_tf.errors import UserError


class _Applied(Subject):
    """A network with its weights from a checkpoint."""

    def open(self, strategy):
        run = self._run(strategy)
        if self._reads_data:
            run.open_data()
        run.load_weights(self.initial)
        return run

    def _resolve(self, given, stored, recorded=None):
        """Sets description and configuration: the stored one's, but for the flags."""
        flags = given.flags
        description = to_config.describe(flags, stored, given.imported, recorded)
        known = recorded.class_names if recorded else ()
        self.description = data.aligned(description, known)
        self.config = to_config.to_config(
            flags, stored, given.imported, self.description, given.learnt(stored)
        )


class AppliedRun(_Applied):
    """A run of ours, or a checkpoint of one."""

    def __init__(self, given):
        super().__init__(given)
        self.folder = given.folder
        checkpoint = given.flags.init_checkpoint
        source = runs.RunFolder(runs.checkpoints.run_of(checkpoint)) if checkpoint else self.folder
        flag = "init_checkpoint" if checkpoint else "model_dir"
        stored = source.stored_config(flag)
        check_no_other_run(self.folder, source, checkpoint)
        if stored is None and not checkpoint:
            raise UserError(
                f"--model_dir={self.folder.path}: no run there; train one first, name "
                "another folder, or give --init_checkpoint"
            )
        if stored is not None:
            runs.plugins.restore(stored, given.plugins)
        self._resolve(given, stored, stored and source.stored_description(flag))
        if stored is not None:
            source.check_same_model(stored, self.config)
        self.notes = notes.of(
            given.flags, self.config, applied=stored, description=self.description
        )

    @classmethod
    def fits(cls, given):
        return not given.trains


class ImportedNetwork(_Applied):
    """A network of the original release, by its checkpoint."""

    def __init__(self, given):
        super().__init__(given)
        flags = given.flags
        self.folder = given.folder
        source = runs.RunFolder(runs.checkpoints.run_of(flags.init_checkpoint))
        check_no_other_run(self.folder, source, flags.init_checkpoint)
        self._resolve(given, stored=None)
        self._about = {
            "checkpoint": os.path.abspath(runs.checkpoints.find(flags.init_checkpoint)),
            "channels": flags.checkpoint_channels,
            "ema": flags.checkpoint_ema,
            **dataclasses.asdict(self.config.model),
        }
        self.folder.check_import(self._about)
        self.notes = notes.of(flags, self.config, given.imported, description=self.description)

    @classmethod
    def fits(cls, given):
        return not given.trains and given.imported is not None

    def _record(self):
        self.folder.record_import(self._about)


def check_no_other_run(folder, source, checkpoint):
    """Refuses to write the results of one run into the folder of another."""
    same = os.path.realpath(source.path) == os.path.realpath(folder.path)
    if not same and folder.stored_config() is not None:
        raise UserError(
            f"--model_dir={folder.path}: holds another run than that of "
            f"--init_checkpoint={checkpoint}; give a folder for its results"
        )
