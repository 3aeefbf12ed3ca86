"""What TensorBoard's table of hyperparameters shows of a run.

write("runs/mine", {"activation": "swish", "epsilon": 0.0157, ...})
"""

import os
import time

import tensorflow as tf
from tensorboard.plugins.hparams import api, plugin_data_pb2

from sat_tf.reports.events import create_writer, files_of

# Those that studies vary, the first of them shown before the user has chosen any.  They are the
# same for all runs, since TensorBoard takes the columns from whichever run it finds first.
_AT_FIRST = ("activation", "model", "method", "epsilon", "seed")
SETTINGS = (
    *_AT_FIRST,
    "dataset",
    "num_steps",
    "step_size",
    "norm",
    "attack_gradient",
    "update_gradient",
    "clean_epochs",
    "train_steps",
    "batch_size",
    "optimizer",
    "learning_rate",
    "schedule",
    "weight_decay",
    "label_smoothing",
    "ema_decay",
    "sam_rho",
    "augment",
    "precision",
)
CLEAN, ROBUST, BEST = "clean_accuracy", "adversarial_accuracy", "best_adversarial_accuracy"
_METRICS = (
    (CLEAN, "clean accuracy", "of the last evaluation"),
    (ROBUST, "robust accuracy", "under all attacks of the last evaluation"),
    (BEST, "best robust accuracy", "the highest of the run's evaluations"),
)


def write(folder, settings: dict):
    """Writes a run's settings, in the place of those that an earlier process has written.

    Args:
      folder: the run's.
      settings: {flag: value}; those of SETTINGS are shown.
    """
    for path in files_of(folder, [""]):
        if os.path.isfile(path):
            os.unlink(path)
    shown = {name: _shown(settings[name]) for name in SETTINGS if name in settings}
    metrics = [
        api.Metric(tag, group="eval", display_name=name, description=text)
        for tag, name, text in _METRICS
    ]
    _write(
        folder,
        _columns(api.hparams_config_pb([api.HParam(name) for name in SETTINGS], metrics)),
        api.hparams_pb(shown, trial_id=_utf8(os.fspath(folder)), start_time_secs=time.time()),
    )


def _columns(summary):
    """Marks those that are shown at first, as TensorBoard marks those that differ."""
    for value in summary.value:
        content = value.metadata.plugin_data
        data = plugin_data_pb2.HParamsPluginData.FromString(content.content)
        for info in data.experiment.hparam_infos:
            info.differs = info.name in _AT_FIRST
        content.content = data.SerializeToString()
    return summary


def _write(folder, *summaries):
    with create_writer(folder) as writer, writer.as_default(step=0):
        for summary in summaries:
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=0)


def _shown(value):
    if value is None:
        return "none"
    if isinstance(value, (bool, int, float)):
        return value
    return _utf8(value if isinstance(value, str) else ",".join(map(str, value)))


def _utf8(text):
    """Spells the bytes of paths that are no UTF-8, which TensorBoard's messages cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
