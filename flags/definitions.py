"""Every flag of `main.py`: its default, its unit and its allowed values, in groups.

A default that is empty here is the data set's, the model's or the method's; `flags/defaults.py`
has those, and `flags/to_config.py` resolves them.
"""

import difflib
import os
import re
import textwrap
from fractions import Fraction

from absl import flags as absl_flags

from sat_tf import activations, attacks, data, distribution, models, saved_model
from sat_tf.errors import UserError
from sat_tf.training import METHODS
from sat_tf.training.optimization import OPTIMIZERS, SCHEDULES, WEIGHT_DECAY_ON

MODES = ("train_and_eval", "train", "eval", "export", "predict")


class _FractionParser(absl_flags.ArgumentParser):
    """Reads 4/255 or 0.0157 as a float; never evaluates."""

    syntactic_help = "a number or a fraction, such as 4/255"

    def parse(self, argument):
        if isinstance(argument, float):
            return argument
        try:
            return float(Fraction(argument))
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            raise ValueError("give a number or a fraction, such as 4/255") from error

    def flag_type(self):
        return "fraction"


class _FractionsParser(_FractionParser):
    """Reads a comma list of such numbers as a tuple of floats."""

    syntactic_help = "a comma list of numbers or fractions, such as 1/2,3/4"

    def parse(self, argument):
        if isinstance(argument, tuple):
            return argument
        return tuple(map(super().parse, argument.split(",")))

    def flag_type(self):
        return "fractions"


def _numbers(name, default, help_text, flag_values):
    absl_flags.DEFINE(_FractionsParser(), name, default, help_text, flag_values)


def _number(name, default, help_text, flag_values):
    absl_flags.DEFINE(_FractionParser(), name, default, help_text, flag_values)


def _names(table):
    return ", ".join(table)


_string, _integer = absl_flags.DEFINE_string, absl_flags.DEFINE_integer
_switch, _choice = absl_flags.DEFINE_bool, absl_flags.DEFINE_enum
_list = absl_flags.DEFINE_list

# Group -> (kind, name, default, [allowed values,] help).
GROUPS = {
    "run": (
        (
            _choice,
            "mode",
            "train_and_eval",
            MODES,
            "What to do: train_and_eval also exports; the "
            "last three, and train, work on an existing --model_dir and take its settings where a "
            "flag is not given.",
        ),
        (
            _string,
            "model_dir",
            None,
            "The run's folder. Default: runs/<model>-<activation>-<dataset>-<method>.",
        ),
        (_integer, "seed", 0, "Of weights, data order and attack starts; 0 or more."),
        (_switch, "resume", True, "Continue the run in --model_dir; false replaces it."),
        (_string, "images", None, "For --mode=predict: a glob of JPEG or PNG files."),
        (
            _string,
            "output",
            None,
            "For --mode=predict: the CSV. Default: <model_dir>/predictions.csv.",
        ),
    ),
    "model": (
        (_string, "model", "resnet20", f"One of: {_names(models.MODELS)}."),
        (_string, "activation", "swish", f"One of: {_names(activations.ACTIVATIONS)}."),
        (
            _number,
            "activation_alpha",
            None,
            "Sharpness of an activation that has one, above 0. Default: the activation's own.",
        ),
        (
            _integer,
            "image_size",
            None,
            "Side of the network's square input in pixels. Default: "
            "the data set's; the model's where images vary in size.",
        ),
        (_integer, "num_classes", None, "Number of logits, 2 or more. Default: the data set's."),
        (_number, "dropout_rate", None, "Before the last layer, in [0, 1). Default: the model's."),
        (
            _number,
            "survival_probability",
            None,
            "Of the last block under stochastic depth, in (0, 1]; 1 is off. Default: the model's.",
        ),
        (
            _number,
            "batch_norm_momentum",
            None,
            "Of the moving statistics, in [0, 1). Default: the model's.",
        ),
        (
            _number,
            "batch_norm_epsilon",
            None,
            "Added to the variance, above 0. Default: the model's.",
        ),
        (_integer, "sparta_kernel_size", 3, "Side of sparta's kernel in pixels, odd."),
        (_switch, "sparta_shared", False, "One sparta kernel for all channels of a place."),
        (
            _number,
            "sparta_gain",
            1,
            "Factor on sparta's attention, above 0; at 2 its slope at 0 is 1.",
        ),
        (
            _string,
            "sparta_from",
            None,
            "A run whose learnt sparta activations this one starts with, "
            "each at its own place in the network, as it is evaluated; sparta's options are that "
            "run's "
            "where not given.",
        ),
        (
            _switch,
            "freeze_activation",
            False,
            "Keep the learnt activation as --sparta_from or --init_checkpoint gives it.",
        ),
        (
            _string,
            "init_checkpoint",
            None,
            "A run folder or checkpoint of this project, or a "
            "checkpoint of the original release (TensorFlow 1, or .npz), to start a new run's "
            "weights "
            "from, or to evaluate, export or predict with. Of a folder: the best checkpoint where "
            "that "
            "is evaluated, else the newest.",
        ),
        (
            _string,
            "saved_model",
            None,
            "For --mode=eval: the folder of any SavedModel, to measure in "
            "the place of a run's network.",
        ),
        (
            _choice,
            "input_range",
            "0,1",
            tuple(saved_model.INPUT_RANGES),
            "What the --saved_model expects of images; perturbation sizes stay in [0, 1].",
        ),
        (
            _string,
            "saved_model_signature",
            None,
            "The function of the --saved_model to measure. "
            "Default: logits, else serving_default, else the only signature, else the model's own "
            "call.",
        ),
        (
            _choice,
            "checkpoint_channels",
            None,
            ("rgb", "bgr"),
            "Channel order that the release's "
            "checkpoint was fed. Default: bgr for its ResNets, rgb for its EfficientNets.",
        ),
        (
            _switch,
            "checkpoint_ema",
            False,
            "Take the moving averages in the release's checkpoint; of "
            "its networks only EfficientNet-L1 Enhanced is evaluated so.",
        ),
    ),
    "data": (
        (
            _string,
            "dataset",
            "digits",
            f"One of: {_names(data.SOURCES)}, another image-classification "
            "set of TFDS, tfrecord:PATH (ImageNet's shards as in the release), folder:PATH "
            "(train/CLASS/ "
            "and val/CLASS/ of images).",
        ),
        (
            _string,
            "data_dir",
            None,
            "Where TFDS sets are prepared. Default: ~/tensorflow_datasets.",
        ),
        (_switch, "download", False, "Download and prepare a TFDS set that is not there."),
        (
            _integer,
            "max_bad_records",
            0,
            "Leave out up to N records or images that cannot be read, "
            "naming each; 0: stop at the first.",
        ),
        (
            _choice,
            "augment",
            None,
            tuple(data.AUGMENTATIONS),
            "Training augmentation. Default: the data set's.",
        ),
        (_integer, "randaugment_layers", 2, "Operations that randaugment applies, 1 or more."),
        (_number, "randaugment_magnitude", 9, "How strong they are, in [0, 30]."),
        (_integer, "train_examples", None, "Use the first N training examples. Default: all."),
        (_integer, "eval_examples", None, "Use the first N evaluation examples. Default: all."),
        (
            _integer,
            "validation_examples",
            0,
            "Hold out N of the training examples, and measure accuracy on them after every epoch.",
        ),
    ),
    "attack in training": (
        (_string, "method", "pgd", f"One of: {_names(METHODS)}."),
        (
            _number,
            "epsilon",
            None,
            "Radius of the L-infinity ball, also in evaluation, as a "
            "fraction of the pixel range, in [0, 1): 4/255. Default: the data set's.",
        ),
        (
            _number,
            "step_size",
            None,
            "Of one attack step, in the same scale. Default: max(1/255, "
            "epsilon/num_steps); 1.25 epsilon for fast, epsilon for backward_smoothing and "
            "converge_smooth.",
        ),
        (
            _integer,
            "num_steps",
            None,
            "Attack steps in training, 1 or more. Default: the data "
            "set's; 1 for the methods of one step.",
        ),
        (_switch, "random_start", True, "Start the attack at a random point of the ball."),
        (
            _number,
            "clean_start_probability",
            0.0,
            "Chance, drawn per batch, of starting at the "
            "clean image all the same, in [0, 1]; the release has 0.2.",
        ),
        (
            _integer,
            "clean_epochs",
            None,
            "Epochs without attack first, which helps where epsilon is "
            "large. Default: the data set's share of the run; a sixth for digits.",
        ),
        (
            _string,
            "attack_gradient",
            None,
            "An activation whose derivative replaces the network's own "
            "in the attack's gradient; values stay. Default: the exact one.",
        ),
        (_string, "update_gradient", None, "Likewise in the gradient of the weights."),
        (
            _number,
            "trades_beta",
            6,
            "For trades: weight of the KL divergence, 0 or more; the "
            "inverse of the paper's lambda.",
        ),
        (
            _number,
            "backward_smoothing_beta",
            10,
            "For backward_smoothing: weight of the KL divergence, 0 or more.",
        ),
        (
            _number,
            "backward_smoothing_gamma",
            1,
            "For backward_smoothing: size of the noise on the logits, 0 or more.",
        ),
        (
            _number,
            "converge_smooth_threshold",
            0.03,
            "For converge_smooth: how far a batch's benign "
            "loss may be from the last epoch's mean, 0 or more.",
        ),
        (
            _number,
            "converge_smooth_ratio",
            1,
            "For converge_smooth: the threshold follows the change "
            "of the epochs' means, from threshold/ratio to threshold; 1 or more, 1: constant.",
        ),
        (
            _number,
            "converge_smooth_weight",
            1,
            "For converge_smooth: weight of the benign loss where it is further, 0 or more.",
        ),
        (
            _integer,
            "converge_smooth_stride",
            1,
            "For converge_smooth: epochs without it at both ends "
            "of a stretch of constant learning rate, 0 or more.",
        ),
        (
            _switch,
            "converge_smooth_project",
            True,
            "For converge_smooth: project back to the ball; the authors' code does not.",
        ),
        (
            _number,
            "catastrophic_drop",
            None,
            "How far accuracy under PGD-5 on a training batch may "
            "fall from one epoch to the next, in [0, 1]; where it falls further, training stops "
            "and "
            "goes back an epoch. 0: not watched. Default: 0.2 for fast, else 0.",
        ),
    ),
    "optimisation": (
        (_integer, "batch_size", None, "Global batch, over all replicas. Default: the data set's."),
        (
            _number,
            "epochs",
            None,
            "Passes over the training set, above 0. Default: the data set's.",
        ),
        (_integer, "train_steps", None, "Length in steps instead; overrides --epochs."),
        (
            _choice,
            "optimizer",
            None,
            tuple(OPTIMIZERS),
            "sgd: Nesterov momentum 0.9; rmsprop: as in TensorFlow 1. Default: the model's.",
        ),
        (
            _number,
            "learning_rate",
            None,
            "The full rate. Default: the model's, times batch_size/256.",
        ),
        (
            _choice,
            "schedule",
            None,
            tuple(SCHEDULES),
            "Of the learning rate. Default: the model's.",
        ),
        (
            _numbers,
            "drops",
            None,
            "Shares of training, in (0, 1), after which the schedules step and "
            "late_step drop to a tenth: 1/2,3/4. Default: 0.3,0.6,0.9 and 100/110,105/110.",
        ),
        (_number, "warmup_epochs", None, "Linear warm-up. Default: the model's."),
        (_number, "warmup_learning_rate", None, "Where the warm-up starts. Default: the model's."),
        (
            _number,
            "weight_decay",
            None,
            "Times half the squared weights, added to the loss. Default: the model's.",
        ),
        (_choice, "weight_decay_on", None, tuple(WEIGHT_DECAY_ON), "Default: the model's."),
        (
            _number,
            "label_smoothing",
            None,
            "Share of the target spread over all classes, in [0, 1). Default: the data set's.",
        ),
        (
            _number,
            "ema_decay",
            None,
            "Of the moving average of weights and statistics that is "
            "evaluated and exported, in [0, 1); 0 is off. Default: the model's.",
        ),
        (
            _number,
            "sam_rho",
            0,
            "Radius of sharpness-aware minimisation, in the norm of all weights; "
            "0.05 is usual; 0 is off.",
        ),
        (
            _switch,
            "sam_adaptive",
            False,
            "Adaptive SAM: relative to the size of each weight; rho is "
            "then about ten times as large.",
        ),
        (
            _choice,
            "sam_norm",
            "global",
            ("global", "replica"),
            "global: one direction, of the global "
            "batch's gradient; replica: each replica's own, as the authors have it.",
        ),
    ),
    "evaluation": (
        (
            _string,
            "eval_attacks",
            "clean,pgd-20",
            f"Comma list of: {_names(attacks.ATTACKS)} ({attacks.LETTERS}).",
        ),
        (_choice, "eval_norm", "linf", attacks.NORMS, "Norm of the ball in evaluation."),
        (
            _number,
            "eval_epsilon",
            None,
            "Its radius: a fraction of the pixel range, in [0, 1), for "
            "linf; 0 or more for l2, such as 0.5. Default for linf: --epsilon.",
        ),
        (
            _number,
            "eval_step_size",
            None,
            "Of the evaluation's PGD, in the same scale. Default: max(1/255, epsilon/N).",
        ),
        (
            _choice,
            "robust_if",
            "final",
            tuple(attacks.CRITERIA),
            "Which iterate of PGD an example has "
            "to survive: the last, as in the paper; each of them; or the one of the highest loss.",
        ),
        (
            _string,
            "autoattack_version",
            "standard",
            "What autoattack is: "
            f"{_names(attacks.VERSIONS)}, or a comma list of the attacks above.",
        ),
        (
            _choice,
            "self_checks",
            "auto",
            ("auto", "full", "basic"),
            "What is tried beside the attacks "
            "to tell whether the numbers can be trusted. basic: a few passes over one batch; "
            "full: short "
            "attacks on some examples too; auto: full where one of the attacks is of AutoAttack.",
        ),
        (
            _string,
            "transfer_from",
            None,
            "A SavedModel, or a run with one, on which the attacks are "
            "made once more and carried over: as pgd-20:transfer.",
        ),
        (
            _list,
            "curves",
            None,
            "Draw robust accuracy against these: epsilon, steps, restarts; as "
            "curves.csv, curves.png and in the report.",
        ),
        (
            _string,
            "curve_attack",
            "pgd-20",
            "The attack of the curves; those of steps and restarts need a pgd-N.",
        ),
        (
            _numbers,
            "curve_epsilons",
            None,
            "Radii of the curve against epsilon. Default: 0, 1/4, 1/2, "
            "3/4, 1, 3/2, 2 and 4 times the evaluation's.",
        ),
        (
            _integer,
            "save_adversarial",
            0,
            "Write the first N examples and what the strongest attack "
            "made of them to adversarial.npz, and a sheet of them to adversarial.png.",
        ),
        (
            _integer,
            "eval_batch_size",
            None,
            "Global batch of evaluation. Default: 128, or less where there are fewer examples.",
        ),
        (_integer, "eval_every", 0, "Evaluate every N epochs as well; 0: only at the end."),
        (
            _string,
            "validation_attack",
            "pgd-10",
            "The attack on the examples that are held out, with "
            "steps of max(1/255, epsilon/N) whatever --eval_step_size.",
        ),
        (
            _integer,
            "patience",
            0,
            "Stop after N epochs without a higher robust accuracy on the "
            "examples that are held out; 0: never.",
        ),
        (
            _choice,
            "eval_checkpoint",
            None,
            ("best", "last"),
            "Which checkpoint is evaluated and "
            "exported. Default: the best where --validation_examples are held out, else the last.",
        ),
    ),
    "hardware": (
        (
            _string,
            "strategy",
            "auto",
            f"One of: {_names(distribution.STRATEGIES)}. auto: the TPU "
            "if --tpu is given, else all GPUs, else all logical CPUs.",
        ),
        (_string, "tpu", None, "Name or grpc:// address of a TPU, or local on a TPU VM."),
        (_integer, "virtual_cpus", 1, "Split the CPU into N logical devices, to try a strategy."),
        (
            _choice,
            "xla",
            "auto",
            ("auto", "on", "off"),
            "Compile the attack. auto: on GPU and TPU, "
            "where it is one program; off on a CPU, where it was measured to be no faster.",
        ),
        (
            _choice,
            "precision",
            "float32",
            ("float32", "bfloat16", "float16"),
            "Compute dtype; weights stay float32.",
        ),
        (_integer, "steps_per_execution", 1, "Training steps per call from Python."),
    ),
}


def define() -> absl_flags.FlagValues:
    """Returns all the flags, not yet parsed, in a registry of their own."""
    flags = absl_flags.FlagValues()
    for definitions in GROUPS.values():
        for kind, name, default, *rest in definitions:
            kind(name, default, *rest, flag_values=flags)
    return flags


def parse(flags, argv):
    """Reads a command line into `flags`; UserError names the flag, the value and the remedy."""
    try:
        stray = flags(argv)[1:]
    except absl_flags.UnrecognizedFlagError as error:
        near = [f"--{name}" for name in difflib.get_close_matches(error.flagname, list(flags))]
        meant = f"; did you mean {' or '.join(near)}?" if near else "; see --help"
        raise UserError(f"--{error.flagname}: no such flag{meant}") from error
    except absl_flags.Error as error:
        message = re.sub(r"^flag (?=--)|^ERROR:: ", "", str(error))
        if "Unable to open flagfile" in message:
            message = f"--flagfile: {message}; give a file of flags, one a line"
        raise UserError(message) from error
    if stray:
        raise UserError(f"{stray[0]}: not a flag; flags look like --epochs=3")
    for path in ("model_dir", "init_checkpoint", "saved_model", "sparta_from", "transfer_from"):
        # A shell expands no ~ after =.
        if flags[path].value:
            flags[path].value = os.path.expanduser(flags[path].value)


def help_text(flags) -> str:
    """Returns all flags with their groups, defaults and allowed values, for --help."""
    lines = ["Usage: python main.py [--flagfile=flags/recipes/NAME.flags] [--FLAG=VALUE ...]"]
    for title, definitions in GROUPS.items():
        lines += ["", f"{title}:"]
        for _, name, *_ in definitions:
            flag = flags[name]
            default = "" if flag.default is None else f" Default: {flag.default}."
            lines += [
                f"  --{name}",
                *textwrap.wrap(
                    flag.help.strip() + default,
                    96,
                    initial_indent="      ",
                    subsequent_indent="      ",
                    break_on_hyphens=False,
                ),
            ]
    return "\n".join(lines)


def trains(flags) -> bool:
    """Whether this command trains, for which alone the training images are needed."""
    return flags.mode in ("train", "train_and_eval")


def evaluates(flags) -> bool:
    """Whether this command measures a network in the end."""
    return flags.mode in ("train_and_eval", "eval")


def reads_data(flags) -> bool:
    """Whether this command reads images of the data set."""
    return flags.mode not in ("export", "predict")
