"""Runs that are trained: new ones, and those that were begun."""

from flags import notes, to_config
from flags.subjects.subject import Subject
from sat_tf import runs
from sat_tf.config import with_settings_of


class NewRun(Subject):
    """A run that begins here."""

    def __init__(self, given, stored=None):
        super().__init__(given)
        flags = given.flags
        self.folder = given.folder
        self.description = to_config.describe(flags, stored, given.imported)
        self.config = self._settled(
            given,
            to_config.to_config(
                flags, stored, given.imported, self.description, given.learnt(stored)
            ),
        )
        self.notes = notes.of(flags, self.config, given.imported)

    @classmethod
    def fits(cls, given):
        return given.trains

    def _settled(self, given, config):
        """Returns the configuration, once it is known to be allowed in the folder."""
        if given.flags.resume:
            self.folder.check_continues(config)
        else:
            self.folder.check_replaceable()
        return config

    def open(self, strategy):
        run = self._run(strategy, trains=True)
        run.open_data()
        return run


class ContinuedRun(NewRun):
    """The run in the folder, on which the command goes on.

    Where the folder was named, what was not given is as in the run.
    """

    def __init__(self, given):
        runs.plugins.restore(given.begun, given.plugins)
        super().__init__(given, stored=given.begun if given.flags.model_dir else None)

    @classmethod
    def fits(cls, given):
        return given.trains and given.flags.resume and given.begun is not None

    def _settled(self, given, config):
        # What there was no setting for when it was begun is as it was then.
        unset = {flag for flag in self.folder.settings_without() if not given.flags[flag].present}
        return super()._settled(given, with_settings_of(given.begun, config, unset))
