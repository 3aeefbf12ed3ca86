"""The flags of the group "run": what to do, and where."""

from flags.kinds import choice, integer, name_list, string, switch
from sat_tf import runs
from sat_tf.config import PluginConfig

MODES = ("train_and_eval", "train", "eval", "export", "predict")

FLAGS = (
    choice(
        "mode",
        "train_and_eval",
        MODES,
        "What to do: train_and_eval also exports; the last three, and train, work on an "
        "existing --model_dir and take its settings where a flag is not given.",
    ),
    string(
        "model_dir",
        None,
        "The run's folder. Default: runs/<model>-<activation>-<dataset>-<method>.",
    ),
    integer("seed", 0, "Of weights, data order and attack starts; 0 or more."),
    switch("resume", True, "Continue the run in --model_dir; false replaces it."),
    switch(
        "dry_run",
        False,
        "Print the plan, the configuration, size and cost, and an estimate of time from a few "
        "timed steps; train, measure and write nothing.",
    ),
    string(
        "save_every",
        "0",
        "Save the state within epochs too: every N steps, or after a time such as 30min, 2h or "
        "90s. 0: at the end of each epoch, and where the run is interrupted.",
    ),
    integer(
        "keep_checkpoints",
        2,
        "How many of the newest checkpoints stay, 2 or more: where the newest is damaged, the one "
        "before it is used.",
    ),
    integer(
        "histogram_every",
        0,
        "For TensorBoard: histograms of the weights and the norms of their gradients every N "
        "steps; 0: never.",
    ),
    string(
        "profile",
        "",
        "For TensorBoard: FIRST,LAST, the steps to profile, counted from 1, such as 100,110.",
    ),
    name_list(
        "plugin",
        None,
        "Python files that register activations, models, attacks, methods, augmentations or data "
        "sets of your own, which other flags may then name.",
    ),
    string(
        "images",
        None,
        "For --mode=predict: an image file, a folder of them, or a glob such as 'photos/*.webp'.",
    ),
    string(
        "output",
        None,
        "For --mode=predict: the CSV, - for standard output. Default: <model_dir>/predictions.csv.",
    ),
    integer("top", 1, "For --mode=predict: how many classes a row has, the likeliest first."),
)


def plugins_of(flags) -> tuple:
    """Loads the files that are given, so that what they register can be looked up."""
    return tuple(map(runs.plugins.load, flags.plugin or ()))


def config_of(flags, stored) -> PluginConfig:
    """Returns the files that are given, and those that the run was begun with."""
    files = dict.fromkeys(plugins_of(flags))
    contents = {plugin.sha256 for plugin in files}
    begun = stored.plugin.files if stored else ()
    return PluginConfig((*files, *(pair for pair in begun if pair[1] not in contents)))
