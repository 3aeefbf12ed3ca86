"""Commands as a user gives them, in this process, and a network small enough for many of them."""

import glob
import pathlib
import sys

import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

import main  # noqa: E402
from sat_tf import activations, models  # noqa: E402

SHORT = (
    "--train_examples=64",
    "--batch_size=16",
    "--num_steps=1",
    "--eval_examples=20",
    "--eval_batch_size=16",
    "--eval_attacks=clean,fgsm,pgd-2",
    "--strategy=one_device",
    "--clean_epochs=0",
)
# For what has nothing to do with attacks, whose graphs take most of the time.
STANDARD = (
    *(flag for flag in SHORT if not flag.startswith("--num_steps")),
    "--method=standard",
    "--eval_attacks=clean",
)


def run(*arguments):
    """Returns the exit status of a command."""
    return main.main(["main.py", *map(str, arguments)])


def small_network(config, seed):
    """In the place of `models.build`: one convolution, and other shapes for other models' names."""
    initial = tf.keras.initializers.GlorotUniform
    inputs = tf.keras.Input((config.image_size, config.image_size, 3))
    features = tf.keras.layers.Conv2D(
        4 + list(models.MODELS).index(config.name),
        3,
        strides=2,
        kernel_initializer=initial(seed + 1),
    )(inputs)
    features = tf.keras.layers.BatchNormalization(synchronized=True)(features)
    features = activations.create(config.activation)()(features)
    features = tf.keras.layers.Flatten()(features)
    logits = tf.keras.layers.Dense(
        config.num_classes, kernel_initializer=initial(seed + 2), dtype="float32"
    )(features)
    return tf.keras.Model(inputs, logits)


def weights(folder):
    """Returns {name: value} of the newest checkpoint of a run, but for what counts saves."""
    return state(newest(folder))


def newest(folder):
    """Returns the prefix of the newest checkpoint of a run."""
    return tf.train.latest_checkpoint(str(folder / "checkpoints"))


def state(prefix):
    """Returns {name: value} of a checkpoint, but for what counts saves."""
    reader = tf.train.load_checkpoint(str(prefix))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if "CHECKPOINTABLE" not in name and "save_counter" not in name
    }


def tags(folder, part):
    """Returns the names of what TensorBoard shows of a part of a run."""
    return {
        value.tag
        for file in glob.glob(f"{folder}/{part}/events*")
        for event in tf.compat.v1.train.summary_iterator(file)
        for value in event.summary.value
    }


if __name__ == "__main__":  # main.py with the small network, in a process of its own
    models.build = small_network
    sys.exit(main.main(sys.argv))
