"""Makes every `tf.distribute` strategy of the project, and refuses nonsense by name.

strategy = create("auto")
with strategy.scope():
    ...
"""

import glob
import os

import tensorflow as tf

from sat_tf.distribution import cluster as clusters
from sat_tf.distribution.workers import worker_of
from sat_tf.errors import UserError, look_up, one_line


def split_cpu(count: int):
    """Makes `count` logical devices of the CPU, to try a strategy; before any TensorFlow op."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )


def _devices():
    """Returns the GPUs where there are any, else the CPUs, as TensorFlow names them."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


def _one_device(unused_resolver, unused_cluster):
    return tf.distribute.OneDeviceStrategy(_devices()[0])


def _mirrored(unused_resolver, unused_cluster):
    devices = _devices()
    # NCCL serves GPUs; between logical CPUs, the default's collectives keep keys for the life of
    # the process, so that a second strategy object fails. Reduction on one device does not.
    across = None if "GPU" in devices[0] else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=across)


def _tpu(resolver, unused_cluster):
    if resolver is None:
        raise UserError(
            "--strategy=tpu: no TPU was named; give --tpu=NAME, or --tpu=local on a TPU VM"
        )
    return tf.distribute.TPUStrategy(resolver)


def _multi_worker(unused_resolver, cluster):
    if cluster is None:
        cluster = clusters.cluster_of(clusters.NAME)
    clusters.meet(cluster)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=cluster.resolver())
    except tf.errors.OpError as error:
        raise UserError(
            f"--strategy={clusters.NAME}: worker {cluster.index} cannot join as "
            f"{cluster.workers[cluster.index]} ({one_line(error)}); do all workers name the same "
            "addresses?"
        ) from error


def _auto(resolver, cluster):
    if resolver is not None:
        return _tpu(resolver, None)
    if cluster is not None:
        return _multi_worker(None, cluster)
    return (_mirrored if len(_devices()) > 1 else _one_device)(None, None)


STRATEGIES = {
    "auto": _auto,
    "one_device": _one_device,
    "mirrored": _mirrored,
    clusters.NAME: _multi_worker,
    "tpu": _tpu,
}


def create(name: str, tpu_resolver=None, cluster=None) -> tf.distribute.Strategy:
    """Returns the named strategy over this machine's devices, and those of other workers.

    Args:
      name: a key of STRATEGIES.  `auto` takes the TPU where one was named, else the workers where
        there are several, else all GPUs, or all logical CPUs.
      tpu_resolver: of a connected and initialised TPU system, or None.
      cluster: the Cluster that this process belongs to; None: alone, or with `multi_worker` what
        the environment says.  Before any TensorFlow op, and only once in a process; returns when
        all workers are there.
    Raises: ValueError for an unknown name; UserError for `tpu` without a TPU, and where this
      worker cannot join the others.
    """
    return look_up(STRATEGIES, "strategy", name)(tpu_resolver, cluster)


def local_replicas(strategy: tf.distribute.Strategy) -> int:
    """Returns how many of the replicas this process has; every worker has as many."""
    return strategy.num_replicas_in_sync // worker_of(strategy).count


def device_type(strategy: tf.distribute.Strategy) -> str:
    """Returns "CPU", "GPU" or "TPU": what the replicas run on."""
    return tf.DeviceSpec.from_string(strategy.extended.worker_devices[0]).device_type


def check_divisible(flag: str, batch_size: int, replicas: int):
    """Raises UserError where a batch cannot be split evenly over so many replicas."""
    if batch_size % replicas:
        nearest = max(replicas, round(batch_size / replicas) * replicas)
        raise UserError(
            f"--{flag}={batch_size}: not divisible by the {replicas} replicas; "
            f"give a multiple, such as {nearest}"
        )


def deal(strategy: tf.distribute.Strategy, batch_size: int, share_of):
    """Returns global batches as a distributed dataset, of which every worker makes its share alone.

    Args:
      strategy: where the batches go.
      batch_size: the global batch, which the replicas divide.
      share_of: called with `worker` and `num_workers`, returns the dataset of one worker's share
        of each global batch.
    """

    def of_worker(context):
        share = share_of(worker=context.input_pipeline_id, num_workers=context.num_input_pipelines)
        of_replica = context.get_per_replica_batch_size(batch_size)
        return share.rebatch(of_replica, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    return strategy.distribute_datasets_from_function(of_worker)


def set_precision(precision: str):
    """Sets Keras' compute dtype: float32, or bfloat16 or float16 with float32 weights."""
    policy = precision if precision == "float32" else "mixed_" + precision
    tf.keras.mixed_precision.set_global_policy(policy)


def device_name(kind: str) -> str:
    """Returns what the maker calls the first device of a kind, or the kind."""
    first = tf.config.list_physical_devices(kind)[:1]
    details = tf.config.experimental.get_device_details(first[0]) if first else {}
    return details.get("device_name", kind)


def unused_gpu() -> str:
    """Returns a sentence on a GPU of this machine that TensorFlow cannot use, "" where none is.

    One that was hidden by CUDA_VISIBLE_DEVICES is not meant to be used.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
    if hidden or tf.config.list_physical_devices("GPU"):
        return ""
    nodes = glob.glob("/dev/nvidia[0-9]*")
    drivers = glob.glob("/proc/driver/nvidia/gpus/*")
    if not (nodes or drivers):
        return ""
    return (
        f"this machine has a GPU ({', '.join(nodes) or 'NVIDIA'}), which TensorFlow does not use: "
        "its CUDA libraries are not there; python -m pip install "
        f"'tensorflow[and-cuda]=={tf.__version__}' installs them"
    )
