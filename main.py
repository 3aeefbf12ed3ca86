"""Trains, evaluates, exports and applies robust networks.

python main.py                                          # minutes on two CPU cores
python main.py --activation=swish --model=efficientnet-l1
python main.py --help
"""

import dataclasses
import os
import sys

# Before TensorFlow is imported: oneDNN's convolutions are about 1.5 times as fast on CPUs for which
# TensorFlow leaves them off; and TensorFlow's log would bury our own lines (what fails still
# reaches us as an exception).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402
from absl import logging  # noqa: E402

from flags import definitions, notes, saved_models, to_config  # noqa: E402
from sat_tf import (  # noqa: E402
    activation_transfer,
    config_settings,
    distribution,
    errors,
    saved_model,
    tf1_checkpoint,
    weights,
)
from sat_tf.interruption import Interrupted, Interruption  # noqa: E402
from sat_tf.run import Run  # noqa: E402
from sat_tf.run_folder import RunFolder  # noqa: E402
from sat_tf.training import checkpoints  # noqa: E402
from tpu import connect  # noqa: E402


def _train(run, flags, interruption, said, then_evaluates=False):
    run.open_data()
    _print(said)
    run.train(
        interruption, initial=_initial(flags), resume=flags.resume, then_evaluates=then_evaluates
    )


def _train_and_eval(run, flags, interruption, said):
    _train(run, flags, interruption, said, then_evaluates=True)
    run.evaluate(interruption)
    run.export()


def _eval(run, flags, interruption, said):
    run.open_data()
    if not flags.saved_model:  # which has its own
        run.load_weights(_initial(flags))
    _print(said)
    run.evaluate(interruption)


def _export(run, flags, interruption, said):
    run.load_weights(_initial(flags))
    _print(said)
    interruption.check()
    run.export()


def _predict(run, flags, interruption, said):
    run.load_weights(_initial(flags))
    _print(said)
    run.predict(interruption, flags.images, flags.output)


def _print(said):
    for note in said:
        print(f"note: {note}", file=sys.stderr)


MODES = {
    "train_and_eval": _train_and_eval,
    "train": _train,
    "eval": _eval,
    "export": _export,
    "predict": _predict,
}


def _initial(flags):
    """Returns the checkpoint that was named to begin with, or None."""
    if flags.init_checkpoint is None:
        return None
    return weights.Initial(flags.init_checkpoint, flags.checkpoint_channels, flags.checkpoint_ema)


def _imported_network(flags):
    """Returns what the checkpoint that was named says of its network, if it is the release's."""
    if flags.init_checkpoint is None:
        for name in ("checkpoint_channels", "checkpoint_ema"):
            if flags[name].present:
                raise errors.UserError(
                    f"--{name}={flags[name].value}: there is no checkpoint to read; "
                    "give --init_checkpoint"
                )
        return None
    return tf1_checkpoint.recognise(tf1_checkpoint.read(checkpoints.find(flags.init_checkpoint)))


def _learnt_network(flags, stored):
    """Returns the settings of the network whose activations a new run starts with, or None."""
    if flags.sparta_from is None or stored is not None:  # it has them, and their source may be gone
        return None
    return activation_transfer.source_config(flags.sparta_from)


def _training_config(flags, folder, imported):
    """Returns what to train, that of a run in a folder that was named but for flags; and its data.

    No run is applied, which the None is for.
    """
    stored = folder.stored_config() if flags.model_dir and flags.resume else None
    description = to_config.describe(flags, stored, imported)
    config = to_config.to_config(
        flags, stored, imported, description, _learnt_network(flags, stored)
    )
    if flags.resume:
        begun = folder.stored_config()
        if begun:  # what there was no setting for then is as it was then
            config = config_settings.with_settings_of(
                begun,
                config,
                {flag for flag in folder.settings_without() if not flags[flag].present},
            )
        folder.check_continues(config)
    else:
        folder.check_replaceable()
    return config, description, None


def _applied_config(flags, folder, imported):
    """Returns what to evaluate, export or predict with, the run's but for flags; and its data.

    Then what the run was trained with, or None.
    """
    initial = flags.init_checkpoint
    source = RunFolder(checkpoints.run_of(initial)) if initial else folder
    stored = None if imported else source.stored_config()
    same_run = os.path.realpath(source.path) == os.path.realpath(folder.path)
    if not same_run and folder.stored_config() is not None:
        raise errors.UserError(
            f"--model_dir={folder.path}: holds another run than that of "
            f"--init_checkpoint={initial}; give a folder for its results"
        )
    if stored is None and not initial:
        raise errors.UserError(
            f"--model_dir={folder.path}: no run there; train one first, name "
            "another folder, or give --init_checkpoint"
        )
    recorded = source.stored_description() if stored is not None else None
    description = to_config.describe(flags, stored, imported, recorded)
    config = to_config.to_config(
        flags, stored, imported, description, _learnt_network(flags, stored)
    )
    if stored is not None:
        source.check_same_model(stored, config)
    if imported:
        folder.check_import(_about_import(flags, config))
    return config, description, stored


def _about_import(flags, config):
    """Returns what decides on the weights and the network that are imported."""
    return {
        "checkpoint": os.path.abspath(checkpoints.find(flags.init_checkpoint)),
        "channels": flags.checkpoint_channels,
        "ema": flags.checkpoint_ema,
        **dataclasses.asdict(config.model),
    }


def prepare_devices(settings):
    """Sets devices and precision up as a Config's `distribution` says; returns the strategy."""
    if settings.virtual_cpus > 1:
        distribution.split_cpu(settings.virtual_cpus)
    distribution.set_precision(settings.precision)
    try:
        resolver = connect.connect(settings.tpu) if settings.tpu else None
    except ValueError as error:
        raise errors.UserError(str(error)) from error
    return distribution.create(settings.strategy, resolver)


def _evaluate_saved_model(flags, interruption):
    """Measures --saved_model: what can be refused before it is loaded is, which takes a while."""
    folder = RunFolder(flags.model_dir or saved_models.default_model_dir(flags))
    if folder.stored_config() is not None:
        raise errors.UserError(
            f"--model_dir={folder.path}: holds a run; give a folder for the "
            f"results of --saved_model={flags.saved_model}"
        )
    description = to_config.describe(flags)
    config = to_config.to_config(flags, description=description)  # but for the network
    strategy = prepare_devices(config.distribution)
    with strategy.scope():
        saved = saved_model.load(
            flags.saved_model,
            input_range=flags.input_range,
            signature=flags.saved_model_signature,
            image_size=flags.image_size or description.image_size,
        )
    config = dataclasses.replace(config, model=saved_models.network(flags, saved, description))
    saved_models.check(saved, config.evaluation, strategy.num_replicas_in_sync)
    folder.check_import(saved_models.about(saved))
    run = Run(config, strategy, folder, description, trains=False, saved=saved)
    _eval(
        run,
        flags,
        interruption,
        [*saved_models.notes(saved, description), *notes.on_evaluation(flags, config)],
    )
    folder.record_import(saved_models.about(saved))


def _run(flags, interruption):
    """Goes from the flags to a configuration, a strategy and one entry of MODES."""
    saved_models.check_flags(flags)
    if flags.saved_model:
        _evaluate_saved_model(flags, interruption)
        return
    if flags.mode == "predict" and not flags.images:
        raise errors.UserError(
            "--images=: nothing to classify; give a glob, such as --images='photos/*.png'"
        )
    imported = _imported_network(flags)
    folder = RunFolder(flags.model_dir or to_config.default_model_dir(flags, imported))
    trains = definitions.trains(flags)
    config, description, applied = (_training_config if trains else _applied_config)(
        flags, folder, imported
    )
    said = notes.of(flags, config, imported, applied)
    run = Run(config, prepare_devices(config.distribution), folder, description, trains)
    MODES[flags.mode](run, flags, interruption, said)
    if imported and not trains:
        folder.record_import(_about_import(flags, config))


def exit_status(action) -> int:
    """Calls action() and returns 0, or says what was wrong and returns the status that means it.

    That is 1 for a run that failed, 2 for what the user can mend, 128 and the signal for a signal.
    """
    try:
        action()
    except Interrupted as interrupted:
        return 128 + interrupted.signum
    except errors.UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except errors.RunFailure as error:
        print(f"error: {errors.one_line(error)}", file=sys.stderr)
        return 1
    return 0


def main(argv) -> int:
    """Returns the exit status, see `exit_status`."""
    tf.get_logger().setLevel("ERROR")  # its advice on retracing is not for our users,
    logging.set_verbosity(logging.ERROR)  # nor that of TFDS on where else it looked
    flags = definitions.define()
    if {"--help", "-help", "-h"} & set(argv[1:]):
        print(definitions.help_text(flags))
        return 0

    def parse_and_run():
        definitions.parse(flags, argv)
        with Interruption() as interruption:
            _run(flags, interruption)
            interruption.check()  # a signal that came while the last files were written

    return exit_status(parse_and_run)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
