"""SavedModels, which are evaluated in the place of a run's network."""

import dataclasses
import os
import re

from flags import notes, to_config
from flags.groups import GROUPS
from flags.subjects.subject import Subject
from sat_tf import attacks, data, runs, saved_models
from sat_tf.config import SavedModelConfig, refuse
from sat_tf.errors import UserError

_OWN = ("input_range", "saved_model_signature")
# Of the groups that make or train a network, what measuring one reads too; and of the other
# groups, what only training does.
_GROUPS = ("model", "attack in training", "optimisation")
_READ = ("saved_model", *_OWN, "image_size", "epsilon")
_ONLY_TRAINING = (
    "augment",
    "randaugment_layers",
    "randaugment_magnitude",
    "train_examples",
    "validation_examples",
    "eval_every",
    "validation_attack",
    "patience",
    "eval_checkpoint",
    "steps_per_execution",
)


def check_flags(flags):
    """Refuses flags that do not go together, as far as they tell by themselves."""
    if not flags.saved_model:
        for name in _OWN:
            if flags[name].present:
                refuse(
                    name, flags[name].value, "there is no SavedModel to read; give --saved_model"
                )
        return
    if flags.mode != "eval":
        refuse("saved_model", flags.saved_model, f"not for --mode={flags.mode}; give --mode=eval")
    if flags.init_checkpoint:
        refuse(
            "init_checkpoint",
            flags.init_checkpoint,
            "--saved_model has its own weights; give one of the two",
        )
    of_networks = (flag.name for group in _GROUPS for flag in GROUPS[group])
    for name in (*of_networks, *_ONLY_TRAINING):
        if name not in _READ and flags[name].present:
            refuse(
                name, flags[name].value, "--saved_model is measured as it is; leave the flag out"
            )


class SavedModel(Subject):
    """A SavedModel of anybody's, which is evaluated as it is."""

    def __init__(self, given):
        super().__init__(given)
        flags = given.flags
        self.folder = given.whole(flags.model_dir or default_model_dir(flags))
        if self.folder.stored_config() is not None:
            raise UserError(
                f"--model_dir={self.folder.path}: holds a run; give a folder for the "
                f"results of --saved_model={flags.saved_model}"
            )
        self.description = to_config.describe(flags)
        # But for the network, of which only loading it tells.
        self.config = to_config.to_config(flags, description=self.description)
        self.notes = notes.on_evaluation(flags, self.config)
        self._path, self._image_size = flags.saved_model, flags.image_size
        self._called = f"SavedModel {flags.saved_model}"
        self._reading = dict(
            input_range=flags.input_range,
            signature=flags.saved_model_signature,
            image_size=flags.image_size or self.description.image_size,
        )

    @classmethod
    def fits(cls, given):
        return bool(given.flags.saved_model)

    def open(self, strategy):
        with strategy.scope():
            saved = saved_models.load(self._path, **self._reading)
        self.description = data.aligned(self.description, saved.class_names)
        network = network_of(saved, self.description, image_size=self._image_size)
        self.config = dataclasses.replace(self.config, model=network)
        check(saved, self.config.evaluation, strategy.num_replicas_in_sync)
        self._about = about(saved)
        self.folder.check_import(self._about)
        self.notes = [
            *notes_on(saved, self.description),
            *self.notes,
            *notes.about_lacking(self.description),
            *notes.about_passed_over(self.description),
        ]
        run = runs.Run(
            self.config,
            strategy,
            self.folder,
            self.description,
            runs.networks.Saved(saved, self.description),
            trains=False,
        )
        run.open_data()
        return run

    def _record(self):
        self.folder.record_import(self._about)


def default_model_dir(flags) -> str:
    """Returns runs/<name of the SavedModel, or of the run it is in>-<dataset>-saved_model."""
    parent, name = os.path.split(os.path.abspath(flags.saved_model))
    if name == "saved_model":
        name = os.path.basename(parent)
    return os.path.join("runs", re.sub("[/:]", "_", f"{name}-{flags.dataset}-saved_model"))


def network_of(saved, description, *, image_size=None) -> SavedModelConfig:
    """Returns what the images have to be like, and checks that they can be.

    Args:
      saved: the `SavedClassifier`.
      description: of the data.
      image_size: what was asked for, or None.
    Raises: UserError where the data set, or --image_size, does not fit.
    """
    height, width, channels = saved.image_shape
    if channels not in (None, 3):
        first = ", channels first" if height == 3 else ""
        refuse(
            "saved_model",
            saved.path,
            f"takes images of {channels} channels (height {height}, "
            f"width {width}{first}), and those of the data sets are [N, H, W, 3]; export a "
            "function of such images",
        )
    if None not in (height, width) and height != width:
        refuse(
            "saved_model",
            saved.path,
            f"takes images of {height} x {width} pixels, and the "
            "evaluation crop is square; export a function of square images",
        )
    if saved.num_classes < description.num_classes:
        refuse(
            "saved_model",
            saved.path,
            f"has {saved.num_classes} classes, and {description.name} "
            f"{description.num_classes}; name the --dataset that it was made for",
        )
    if saved.image_size and image_size not in (None, saved.image_size):
        refuse(
            "image_size",
            image_size,
            f"{saved.path} takes images of {saved.image_size} pixels; leave the flag out",
        )
    image_size = saved.image_size or image_size or description.image_size
    if image_size is None:
        raise UserError(
            f"--image_size: {saved.path} takes images of any size, and those of "
            f"{description.name} vary; give it"
        )
    return SavedModelConfig(
        path=saved.path,
        input_range=saved.input_range,
        signature=saved.function,
        image_size=image_size,
        num_classes=saved.num_classes,
    )


def check(saved, evaluation, replicas):
    """Refuses attacks that need a gradient there is not, and batches that it was not saved for."""
    asked = (*evaluation.attacks, *([evaluation.curve_attack] if evaluation.curves else ()))
    blocked = [
        name for name in asked if attacks.needs_gradient(name, evaluation.autoattack_version)
    ]
    if blocked and not saved.differentiable:
        refuse(
            "saved_model",
            saved.path,
            f"{saved.function} has no gradient with respect to its "
            f"images ({saved.no_gradient}), which {', '.join(blocked)} needs; give "
            "--eval_attacks=clean or a black-box attack, or export a differentiable function",
        )
    if saved.batch_size and evaluation.batch_size > saved.batch_size * replicas:
        refuse(
            "eval_batch_size",
            evaluation.batch_size,
            f"{saved.path} takes batches of "
            f"{saved.batch_size} only; give {saved.batch_size * replicas}",
        )


def about(saved) -> dict:
    """Returns what decides on the logits, for `RunFolder.check_import`."""
    return {
        "saved_model": os.path.abspath(saved.path),
        **{name: getattr(saved, name) for name in ("function", "input_range", "fingerprint")},
    }


def notes_on(saved, description) -> list:
    """Returns what a user should know of what was chosen."""
    more = saved.num_classes > description.num_classes and not saved.class_names
    return [
        saved.summary,
        *(
            [
                f"it has more classes than {description.name}, which has "
                f"{description.num_classes}; labels are used as they are"
            ]
            * more
        ),
    ]
