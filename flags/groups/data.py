"""The flags of the group "data": what is trained on and measured on."""

import functools

from flags.kinds import integer, names_of, number, string, switch
from sat_tf import data
from sat_tf.config import DataConfig, checked
from sat_tf.errors import UserError, look_up

FLAGS = (
    string(
        "dataset",
        "digits",
        f"One of: {names_of(data.SOURCES)}, another image-classification "
        "set of TFDS, tfrecord:PATH (ImageNet's shards as in the release), folder:PATH "
        "(train/CLASS/ "
        "and val/CLASS/ of images).",
    ),
    string("data_dir", None, "Where TFDS sets are prepared. Default: ~/tensorflow_datasets."),
    switch("download", False, "Download and prepare a TFDS set that is not there."),
    integer(
        "max_bad_records",
        0,
        "Leave out up to N records or images that cannot be read, naming each; 0: stop at the "
        "first.",
    ),
    string(
        "augment",
        None,
        f"Training augmentation: {names_of(data.AUGMENTATIONS)}. Default: the data set's.",
    ),
    integer("randaugment_layers", 2, "Operations that randaugment applies, 1 or more."),
    number("randaugment_magnitude", 9, "How strong they are, in [0, 30]."),
    integer("train_examples", None, "Use the first N training examples. Default: all."),
    integer("eval_examples", None, "Use the first N evaluation examples. Default: all."),
    integer(
        "validation_examples",
        0,
        "Hold out N of the training examples, and measure accuracy on them after every epoch.",
    ),
)


def config_of(values, description, otherwise, *, caps):
    # What a run has used of its data says nothing of another set it is measured on.
    elsewhere = values.names_another("dataset", description.name)
    sizes = {}
    for flag, available in (
        ("train_examples", description.train_examples),
        ("eval_examples", description.eval_examples),
    ):
        sizes[flag] = (
            available if elsewhere and not values.given(flag) else (values.get(flag, available))
        )
        if sizes[flag] > available and (caps or values.given(flag)):
            raise UserError(
                f"--{flag}={sizes[flag]}: {description.name} has {available}; give at "
                "most that many, or leave the flag out for all"
            )
    held_out = values.get("validation_examples")
    available = max(1, sizes["train_examples"] - held_out)
    batch_size = values.get("batch_size", min(otherwise["batch_size"], available))
    if not caps:  # nothing is trained, and the number of training images may be nominal
        sizes["train_examples"] = max(sizes["train_examples"], batch_size + held_out)
    augment = values.get("augment", otherwise["augment"])
    checked("augment", functools.partial(look_up, data.AUGMENTATIONS, "augmentation"), augment)
    return DataConfig(
        name=description.name,
        augment=augment,
        batch_size=batch_size,
        **{
            name: values.get(name)
            for name in (
                "data_dir",
                "download",
                "max_bad_records",
                "randaugment_layers",
                "randaugment_magnitude",
                "validation_examples",
            )
        },
        **sizes,
    )
