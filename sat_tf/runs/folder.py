"""What a run leaves on disk, and the checks that keep another run from harming it."""

import contextlib
import dataclasses
import glob
import json
import os
import sys

import tensorflow as tf

from sat_tf import reports
from sat_tf.config import Config, differences, flags_missing
from sat_tf.data import Description
from sat_tf.errors import UserError, one_line
from sat_tf.files import write_text
from sat_tf.runs import disk


class RunFolder:
    """The files of one run; see docs/command_line.md for what they hold.

    Args:
      path: as the user names it.
      place: where the files are, if that is elsewhere.
    """

    def __init__(self, path: str, place: str | None = None):
        self.path, self.place = path, place or path
        self.config = os.path.join(self.place, "config.json")
        self.checkpoints = os.path.join(self.place, "checkpoints")
        self.best = os.path.join(self.checkpoints, "best")
        self.metrics = os.path.join(self.place, "metrics.jsonl")
        self.results = os.path.join(self.place, "results.json")
        self.saved_model = os.path.join(self.place, "saved_model")
        self.imported = os.path.join(self.place, "import.json")
        self.predictions = os.path.join(self.place, "predictions.csv")
        self.evaluation_state = os.path.join(self.place, "evaluation_state")
        self.curves = os.path.join(self.place, "curves.csv")
        self.curves_plot = os.path.join(self.place, "curves.png")
        self.adversarial = os.path.join(self.place, "adversarial.npz")
        self.adversarial_sheet = os.path.join(self.place, "adversarial.png")
        self.report = os.path.join(self.place, "report.html")
        self._replacement = disk.Replacement(self.place, self._own)

    @classmethod
    def of_worker(cls, path: str) -> "RunFolder":
        """Returns the folder for a worker that leaves nothing there: see `disk.mirror`."""
        there = cls("")
        made = disk.mirror.made(
            path,
            (there.config, there.metrics, there.imported, there.results, there.predictions),
            (there.checkpoints, there.best),
        )
        folder = cls(path, made.name)
        folder._made = made  # goes when the folder is no longer used, or the process ends
        return folder

    @property
    def tensorboard(self) -> str:
        """Where the event files of `reports.events` lie: the folder, so that it names the run.

        A run that an earlier version began has them in a folder of their own, and keeps it.
        """
        own = os.path.join(self.place, "tensorboard")
        return own if os.path.isdir(own) else self.place

    @contextlib.contextmanager
    def writing(self, what: str):
        """Turns a full, read-only or forbidden disk into a UserError that names the folder."""
        try:
            yield
        except tf.errors.UnavailableError:  # of another worker, not of the disk
            raise
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            raise UserError(
                f"--model_dir={self.path}: cannot write {what}: {reason}; free some "
                "space there or give another folder"
            ) from error

    def stored_config(self, flag="model_dir"):
        """Returns the Config of the run in this folder, or None if there is none.

        Raises: UserError, naming `flag`, where it cannot be read.
        """
        return self._stored(Config.from_dict, flag)

    def settings_without(self) -> set:
        """Returns the flags that were not there yet when the run in this folder was begun."""
        return self._stored(flags_missing) or set()

    def stored_description(self, flag="model_dir"):
        """Returns the Description of the data that the run was trained with, or None.

        Raises: UserError, naming `flag`, where it cannot be read.
        """

        def read(about):
            fields = about.get("data_set")
            return fields and Description(
                **{
                    name: tuple(value) if isinstance(value, list) else value
                    for name, value in fields.items()
                }
            )

        return self._stored(read, flag)

    def _stored(self, read, flag="model_dir"):
        """Returns read(what config.json holds), or None if there is none."""
        if not os.path.exists(self.config):
            return None
        try:
            with open(self.config, encoding="utf-8") as file:
                return read(json.load(file))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UserError(
                f"--{flag}={self.path}: config.json cannot be read "
                f"({one_line(error)}); give another folder"
            ) from error

    def check_import(self, about: dict):
        """Raises UserError if the folder holds what was made of another import than `about`."""
        if not os.path.exists(self.imported):
            return
        with open(self.imported, encoding="utf-8") as file:
            there = json.load(file)
        changed = [
            f"{key} ({there.get(key)} there, {about[key]} now)"
            for key in about
            if there.get(key) != about[key]
        ]
        if changed:
            raise UserError(
                f"--model_dir={self.path}: holds what was made of another import: "
                f"{', '.join(changed)}; give another folder"
            )

    def record_import(self, about: dict):
        """Writes import.json: of which checkpoint, read how, the files here were made."""
        with self.writing("import.json"):
            os.makedirs(self.place, exist_ok=True)
            write_text(self.imported, json.dumps(about, indent=2) + "\n")

    def check_continues(self, config: Config):
        """Raises UserError if the folder holds a run that `config` would not continue."""
        stored = self.stored_config()
        if stored is None and glob.glob(os.path.join(glob.escape(self.checkpoints), "*.index")):
            raise UserError(
                f"--model_dir={self.path}: has checkpoints but no config.json; give "
                "another folder, or remove them"
            )
        changed = differences(stored, config) if stored else []
        if changed:
            raise UserError(
                f"--model_dir={self.path}: holds a run with other settings: {', '.join(changed)}; "
                "give another --model_dir, or --resume=false to replace that run"
            )

    def check_same_model(self, stored: Config, config: Config):
        """Raises UserError if `config` describes another network than the folder's run has."""
        changed = differences(stored, config, parts=("model",))
        if changed:
            raise UserError(
                f"--model_dir={self.path}: its network differs: {', '.join(changed)}; "
                "leave these flags out, or name another run"
            )

    def start(self, config: Config, description: Description, begun_with=None):
        """Makes the folders and writes config.json.

        Args:
          config, description: of the run and its data.
          begun_with: what is to be known of the checkpoint that a new run starts from; None
            leaves what an earlier start of the run has written.
        """
        begun_with = begun_with or self._stored(lambda about: about.get("init_checkpoint"))
        about = {
            **config.to_dict(),
            "data_set": dataclasses.asdict(description),
            "init_checkpoint": begun_with,
            "versions": disk.origin.versions(),
            "git_commit": disk.origin.git_commit(),
        }
        with self.writing("config.json"):
            os.makedirs(self.checkpoints, exist_ok=True)
            write_text(self.config, json.dumps(about, indent=2) + "\n")

    def check_replaceable(self):
        """Raises UserError if the folder holds files of a run's names that no run of ours left."""
        used = [path for path in (*self._folders(), *self._files()) if os.path.exists(path)]
        if used and self.stored_config() is None:
            raise UserError(
                f"--model_dir={self.path}: {os.path.basename(used[0])} there is not of "
                "a run of this project; give another folder, or remove it"
            )

    @contextlib.contextmanager
    def locked(self):
        """Keeps other processes out of the folder for a block; tidies up after killed ones.

        Raises: UserError where another process is at work there, or the folder cannot be written.
        """
        with contextlib.ExitStack() as stack:
            with self.writing("its lock"):
                stack.enter_context(disk.lock.held(self.place))
                disk.leftovers.remove(self.place)
            yield

    @property
    def is_being_replaced(self) -> bool:
        """Whether a process is replacing the run here, or was killed doing so."""
        return self._replacement.is_pending

    def recover(self):
        """Ends a replacement that a killed process had begun: see `disk.Replacement`."""
        if self.is_being_replaced:
            with self.locked(), self.writing("the run that was being replaced"):
                self._replacement.recover()

    def replace(self):
        """Moves a run's own files aside, and nothing else."""
        self.check_replaceable()
        with self.writing("a new run over the old one"):
            self._replacement.begin()
            for folder in (self.best, self.checkpoints):
                if os.path.isdir(folder) and not os.listdir(folder):
                    os.rmdir(folder)

    def settle(self):
        """Removes the files of a run that was replaced, now that the new one has a state."""
        with self.writing("a new run over the old one"):
            self._replacement.finish()

    @contextlib.contextmanager
    def undoing(self):
        """Puts the run that was replaced back where the block has not come to a state."""
        try:
            yield
        finally:
            if self._replacement.is_open:
                with self.writing("the run that was there before"):
                    self._replacement.undo()
                print(
                    f"note: the run that was in {self.path} before is there again", file=sys.stderr
                )

    def _own(self):
        """Returns the paths of what is there of a run's own, relative to the folder."""
        found = [
            *filter(os.path.lexists, self._files()),
            *filter(os.path.isdir, (self.saved_model, self.evaluation_state)),
            *reports.events.files_of(self.place),
            *reports.events.files_of(os.path.join(self.place, "tensorboard")),
            *(
                file
                for folder in (self.best, self.checkpoints)
                for file in glob.glob(os.path.join(glob.escape(folder), "checkpoint*"))
            ),
        ]
        return [os.path.relpath(path, self.place) for path in found]

    def _folders(self):
        return self.checkpoints, self.saved_model

    def _files(self):
        return (
            self.config,
            self.metrics,
            self.results,
            self.predictions,
            self.imported,
            self.curves,
            self.curves_plot,
            self.adversarial,
            self.adversarial_sheet,
            self.report,
        )

    def write_results(self, results: dict):
        """Replaces results.json."""
        with self.writing("results.json"):
            os.makedirs(self.place, exist_ok=True)
            write_text(self.results, json.dumps(results, indent=2) + "\n")
