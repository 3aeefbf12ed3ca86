"""Runs that are trained: new ones, and those that were begun."""

from flags import notes, to_config
from flags.subjects.subject import Subject
from sat_tf import data, runs
from sat_tf.config import with_settings_of
from sat_tf.errors import UserError, few


class NewRun(Subject):
    """A run that begins here."""

    def __init__(self, given, stored=None):
        super().__init__(given)
        flags = given.flags
        self.folder = given.folder
        self.description = self._described(given, to_config.describe(flags, stored, given.imported))
        self.config = self._settled(
            given,
            to_config.to_config(
                flags, stored, given.imported, self.description, given.learnt(stored)
            ),
        )
        self.notes = notes.of(flags, self.config, given.imported, description=self.description)

    @classmethod
    def fits(cls, given):
        return given.trains

    def _described(self, given, description):
        """Returns what the data set is, its classes in the order in which the network has them.

        One that begins with the weights of another run, of the same classes, has its order.
        """
        if not given.initial:
            return description
        source = runs.RunFolder(runs.checkpoints.run_of(given.initial.path))
        begun_with = source.stored_description("init_checkpoint")
        names = begun_with.class_names if begun_with else ()
        return (
            data.aligned(description, names)
            if {*names} == {*description.class_names}
            else description
        )

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

    def _described(self, given, description):
        begun_with = self.folder.stored_description()
        if begun_with is None or begun_with.name != description.name:
            return description  # other settings, which are refused as such
        lacking = [name for name in begun_with.class_names if name not in description.class_names]
        if lacking and description.class_names:
            raise UserError(
                f"--dataset={description.name}: has lost the class {few(lacking)}, with which the "
                f"run in {self.folder.path} was begun; put it back, or give another --model_dir"
            )
        return data.aligned(description, begun_with.class_names)

    def _settled(self, given, config):
        # What there was no setting for when it was begun is as it was then.
        unset = {flag for flag in self.folder.settings_without() if not given.flags[flag].present}
        return super()._settled(given, with_settings_of(given.begun, config, unset))
