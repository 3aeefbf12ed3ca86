"""What the flags mean where --saved_model is evaluated in the place of a run's network.

A part of `main`, which alone uses it, besides `flags/to_config.py` for all that is no network's.
"""

import os
import re

from flags import definitions
from sat_tf import attacks
from sat_tf import config as configs
from sat_tf.errors import UserError
from sat_tf.ranges import refuse

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
    of_networks = (name for group in _GROUPS for _, name, *_ in definitions.GROUPS[group])
    for name in (*of_networks, *_ONLY_TRAINING):
        if name not in _READ and flags[name].present:
            refuse(
                name, flags[name].value, "--saved_model is measured as it is; leave the flag out"
            )


def default_model_dir(flags) -> str:
    """Returns runs/<name of the SavedModel, or of the run it is in>-<dataset>-saved_model."""
    parent, name = os.path.split(os.path.abspath(flags.saved_model))
    if name == "saved_model":
        name = os.path.basename(parent)
    return os.path.join("runs", re.sub("[/:]", "_", f"{name}-{flags.dataset}-saved_model"))


def network(flags, saved, description) -> configs.SavedModelConfig:
    """Returns what the images have to be like, and checks that they can be.

    Args:
      flags: absl FlagValues, parsed.
      saved: the `SavedClassifier`.
      description: of the data.
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
    if saved.image_size and flags.image_size not in (None, saved.image_size):
        refuse(
            "image_size",
            flags.image_size,
            f"{saved.path} takes images of {saved.image_size} pixels; leave the flag out",
        )
    image_size = saved.image_size or flags.image_size or description.image_size
    if image_size is None:
        raise UserError(
            f"--image_size: {saved.path} takes images of any size, and those of "
            f"{description.name} vary; give it"
        )
    return configs.SavedModelConfig(
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


def notes(saved, description) -> list:
    """Returns what a user should know of what was chosen."""
    more = saved.num_classes > description.num_classes
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
