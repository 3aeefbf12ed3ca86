"""What every kind of subject has, and what the flags of a command point at."""

import contextlib
import functools
import sys

from flags import definitions, streams, to_config
from flags.groups.run import plugins_of
from sat_tf import data, distribution, release, runs
from sat_tf.config import Config
from sat_tf.errors import UserError


class Given:
    """The flags of a command, and what lies where they point."""

    def __init__(self, flags):
        self.flags = flags
        self.plugins = plugins_of(flags)  # first of all: other flags may name their rows

    @functools.cached_property
    def imported(self) -> release.Network | None:
        """What the checkpoint that was named says of its network, if it is the release's."""
        path = self.flags.init_checkpoint
        if path is None:
            return None
        return release.recognise(release.read(runs.checkpoints.find(path)))

    @functools.cached_property
    def folder(self) -> runs.RunFolder:
        """Where the run is, or the results go."""
        return self.whole(
            self.flags.model_dir or to_config.default_model_dir(self.flags, self.imported)
        )

    def whole(self, path) -> runs.RunFolder:
        """Returns the folder to work in, once the run is back that a killed command was replacing.

        A dry run changes nothing and takes the folder as it is; so does a worker that is not the
        chief.
        """
        if not self.leads:
            return runs.RunFolder.of_worker(path)
        folder = runs.RunFolder(path)
        if not self.flags.dry_run:
            folder.recover()
        return folder

    @functools.cached_property
    def cluster(self) -> distribution.Cluster | None:
        """The workers that this process works with, None where it is alone."""
        flags = self.flags
        cluster = distribution.cluster_of(flags.strategy, flags.workers or (), flags.worker_index)
        if cluster is not None and flags.mode == "predict":
            raise UserError(
                "--mode=predict: is the work of one process, and this is one of "
                f"{len(cluster.workers)} workers; leave --strategy and --workers out"
            )
        return cluster

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks: the chief, or one that is alone."""
        return self.cluster is None or self.cluster.is_chief

    @functools.cached_property
    def begun(self) -> Config | None:
        """The settings of the run in the folder."""
        return self.folder.stored_config()

    @property
    def trains(self) -> bool:
        """Whether the command trains."""
        return definitions.trains(self.flags)

    @property
    def initial(self) -> runs.Initial | None:
        """The checkpoint that was named to begin with."""
        flags = self.flags
        if flags.init_checkpoint is None:
            return None
        return runs.Initial(flags.init_checkpoint, flags.checkpoint_channels, flags.checkpoint_ema)

    def learnt(self, stored):
        """Returns the settings of the network whose activations a new run starts with, or None.

        One that is `stored` has them, and their source may be gone.
        """
        source = self.flags.sparta_from
        if source is None or stored is not None:
            return None
        return runs.activation_transfer.source_config(source)


class Subject:
    """What a command works on.

    A kind of it has `fits(given)`, whether the flags mean one, and sets the attributes when it is
    made; what it does not say is as here.

    Attributes:
      mode: what to do with it, a key of MODES.
      config: the Config.
      description: of the data.
      folder: the RunFolder.
      cluster: the workers that this process works with, None where it is alone.
      initial: the `runs.Initial` that weights are read from; None for the folder's own.
      resume: whether a run in the folder is gone on with.
      dry_run: whether all is only said and estimated.
      images, output, top: the files to classify, the CSV to write, a path or a stream, and how
        many classes it has of each; for predicting alone.
      notes: what a user should know, complete once it is open.
    """

    config: Config
    description: data.Description
    folder: runs.RunFolder
    notes: list[str]
    _called = None  # what to call the network, where its settings do not tell

    def __init__(self, given: Given):
        flags = given.flags
        self.mode, self.resume, self.dry_run = flags.mode, flags.resume, flags.dry_run
        self.images, self.top = flags.images, flags.top
        self._output_is_data = flags.mode == "predict" and flags.output == "-"
        self.output = streams.Data(sys.stdout) if self._output_is_data else flags.output
        self.initial = given.initial
        self.cluster, self._leads = given.cluster, given.leads
        self._reads_data = definitions.reads_data(flags)

    @classmethod
    def fits(cls, given: Given) -> bool:
        """Whether this is what the flags mean, no kind before it being."""
        raise NotImplementedError

    def open(self, strategy) -> runs.Run:
        """Returns the run, its data loaded where it needs any, its weights where it has them.

        Raises: UserError where the data or the weights are missing, or do not fit.
        """
        raise NotImplementedError

    def plan(self, strategy) -> list[str]:
        """Returns what the command is going to do, in lines; before it is open."""
        predicts = self.mode == "predict"
        return runs.telling.plan.lines(
            self.config,
            strategy,
            self.description,
            mode=self.mode,
            folder=self.folder.path,
            network=self._called,
            images=self.images if predicts else None,
        )

    def telling(self):
        """Returns a context within which what is said goes elsewhere than the command's result.

        Of several workers the chief speaks for all.
        """
        if not self._leads:
            return streams.of_worker()
        return (
            contextlib.redirect_stdout(sys.stderr)
            if self._output_is_data
            else contextlib.nullcontext()
        )

    def locked(self):
        """Returns a context within which no other process works in the folder, if this one does."""
        elsewhere = self.dry_run or (self.mode == "predict" and self.output is not None)
        return contextlib.nullcontext() if elsewhere else self.folder.locked()

    def close(self):
        """Writes down what is to be known of a command that went well, unless it was dry."""
        if not self.dry_run:
            self._record()

    def _record(self):
        """What a kind of subject writes down."""

    def _run(self, strategy, *, trains=False):
        network = runs.networks.Classifier(self.config, strategy, self.description)
        return runs.Run(
            self.config, strategy, self.folder, self.description, network, trains=trains
        )
