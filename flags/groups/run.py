"""The flags of the group "run": what to do, and where."""

from flags.kinds import choice, integer, string, switch

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
    string("images", None, "For --mode=predict: a glob of JPEG or PNG files."),
    string("output", None, "For --mode=predict: the CSV. Default: <model_dir>/predictions.csv."),
)
