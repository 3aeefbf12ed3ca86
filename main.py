"""Trains, evaluates, exports and applies robust networks.

python main.py --activation=swish --model=efficientnet-l1
python main.py --help                                   # where it is installed: sat-tf --help
"""

import sys

from flags import start

start.prepare()  # before TensorFlow is imported, and anything opened

import tensorflow as tf  # noqa: E402
from absl import logging  # noqa: E402

from flags import definitions, help, streams, subjects  # noqa: E402
from sat_tf import distribution, errors, runs  # noqa: E402
from sat_tf.interruption import Interrupted, Interruption  # noqa: E402
from tpu import connect  # noqa: E402


def _train(run, subject, interruption, then_evaluates=False):
    run.train(
        interruption, initial=subject.initial, resume=subject.resume, then_evaluates=then_evaluates
    )


def _train_and_eval(run, subject, interruption):
    _train(run, subject, interruption, then_evaluates=True)
    run.evaluate(interruption)
    run.export()


def _export(run, subject, interruption):
    interruption.check()
    run.export()


def _predict(run, subject, interruption):
    run.predict(interruption, subject.images, subject.output, top=subject.top)


MODES = {
    "train_and_eval": _train_and_eval,
    "train": _train,
    "eval": lambda run, subject, interruption: run.evaluate(interruption),
    "export": _export,
    "predict": _predict,
}


def prepare_devices(settings, cluster=None) -> tf.distribute.Strategy:
    """Sets devices and precision up as a Config's `distribution` says; returns the strategy."""
    if settings.virtual_cpus > 1:
        distribution.split_cpu(settings.virtual_cpus)
    distribution.set_precision(settings.precision)
    try:
        resolver = connect.connect(settings.tpu) if settings.tpu else None
    except ValueError as error:
        raise errors.UserError(str(error)) from error
    return distribution.create(settings.strategy, resolver, cluster)


def _run(flags, interruption):
    """Goes from the flags to a subject, devices, and one entry of MODES."""
    subject = subjects.of(flags)
    with subject.locked(), subject.telling():
        with interruption.at_once():
            strategy = prepare_devices(subject.config.distribution, subject.cluster)
            print(*subject.plan(strategy), sep="\n", flush=True)
        with runs.workers.together(strategy, subject.config, interruption):
            with interruption.at_once():
                run = subject.open(strategy)
            for note in filter(None, (*subject.notes, distribution.unused_gpu())):
                print(f"note: {note}", file=sys.stderr)
            (runs.rehearse if subject.dry_run else MODES[subject.mode])(run, subject, interruption)
            subject.close()


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


def main(argv=None) -> int:
    """Returns the exit status, see `exit_status`; without arguments, of this process's command."""
    argv = sys.argv if argv is None else argv
    tf.get_logger().setLevel("ERROR")  # its advice on retracing is not for our users,
    logging.set_verbosity(logging.ERROR)  # nor that of TFDS on where else it looked
    flags = definitions.define()

    def parse_and_run():
        if (topic := help.topic(argv)) is not None:
            print(help.help_text(flags, topic))
            return
        definitions.parse(flags, argv)
        with Interruption() as interruption:
            _run(flags, interruption)
            interruption.check()  # a signal that came while the last files were written

    with streams.that_may_close():
        return exit_status(parse_and_run)


if __name__ == "__main__":
    sys.exit(main())
