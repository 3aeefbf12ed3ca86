"""The processes that work on one run, on this machine and on others.

cluster = cluster_of("multi_worker", ("10.0.0.1:2222", "10.0.0.2:2222"), worker_index=0)
cluster = cluster_of("auto")                  # from TF_CONFIG, None where that names no others
meet(cluster)                                 # until all are there
"""

import json
import os
import re
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from sat_tf.errors import UserError

NAME = "multi_worker"  # of the strategy
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:]+):(\d{1,5})")
_SLURM_PORT = 8888  # TensorFlow's own choice for the first task of a machine
_MOST_TASKS = 1024  # of a machine
_PATIENT_SECONDS = 5  # before those are named that have not come


class Cluster(NamedTuple):
    """The workers of a run, and which of them this process is.

    Attributes:
      workers: "host:port" of each, the same in all of them; the first is the chief, which writes
        the files.
      index: of this one.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def resolver(self) -> tf.distribute.cluster_resolver.ClusterResolver:
        """Returns what TensorFlow learns the same from."""
        return tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(self.workers)}),
            task_type="worker",
            task_id=self.index,
            rpc_layer="grpc",
        )


def cluster_of(
    strategy: str,
    workers: Sequence[str] = (),
    worker_index: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> Cluster | None:
    """Returns the cluster that a command belongs to, None where it is alone.

    Args:
      strategy: `multi_worker` takes `workers`, else TF_CONFIG, else the tasks of a Slurm step;
        `auto` the same but Slurm, where there are any; with all others this process is alone.
      workers, worker_index: as the user gave them, () and None where not.
      environ: the environment; None means that of this process.
    Raises: UserError where they say nothing, or what cannot be.
    """
    environ = os.environ if environ is None else environ
    if strategy not in (NAME, "auto"):
        if workers or worker_index is not None:
            flag = "workers" if workers else "worker_index"
            raise UserError(
                f"--{flag}: is for --strategy={NAME}, and this is --strategy={strategy}; "
                "leave one of them out"
            )
        return None
    if workers or worker_index is not None:
        return _of_flags(tuple(workers), worker_index)
    if environ.get("TF_CONFIG"):
        cluster = _of_tf_config(environ["TF_CONFIG"])
        return cluster if strategy == NAME or cluster and len(cluster.workers) > 1 else None
    if strategy == "auto":
        return None
    if "SLURM_STEP_NODELIST" in environ:
        return _of_slurm(environ)
    raise UserError(
        f"--strategy={NAME}: who the workers are is not said; give --workers=HOST:PORT,... and "
        "--worker_index=N, set TF_CONFIG, or start them as the tasks of a Slurm job with srun"
    )


def _of_flags(workers, index):
    if not workers:
        raise UserError(
            f"--worker_index={index}: of which workers is not said; give --workers=HOST:PORT,..."
        )
    for address in workers:
        match = _ADDRESS.fullmatch(address)
        if not match or not 0 < int(match.group(2)) < 65536:
            raise UserError(
                f"--workers: {address!r} is no address; give HOST:PORT of each, such as "
                "10.0.0.1:2222"
            )
    twice = [address for address in workers if workers.count(address) > 1]
    if twice:
        raise UserError(f"--workers: {twice[0]} is there twice; give each worker a port of its own")
    if index is None:
        raise UserError(
            f"--workers={','.join(workers)}: which of them this is, is not said; give "
            f"--worker_index, 0 to {len(workers) - 1}"
        )
    if not 0 <= index < len(workers):
        raise UserError(
            f"--worker_index={index}: there are {len(workers)} workers; give one of 0 to "
            f"{len(workers) - 1}"
        )
    return Cluster(workers, index)


def _of_tf_config(text):
    """Returns what TF_CONFIG says; a chief is the first worker."""
    remedy = 'set it to {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", ...'
    try:
        config = json.loads(text)
        jobs, task = config.get("cluster", {}), config.get("task", {})
        others = sorted(set(jobs) - {"chief", "worker"})
        if others:
            raise ValueError(f"has tasks of type {others[0]!r}, which no run of ours has")
        if not jobs:
            return None
        addresses = [*jobs.get("chief", ()), *jobs.get("worker", ())]
        index = int(task["index"])
        if task["type"] not in jobs or not 0 <= index < len(jobs[task["type"]]):
            raise ValueError(f"has no {task['type']} {index}")
        if task["type"] == "worker":
            index += len(jobs.get("chief", ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"TF_CONFIG: cannot be used ({type(error).__name__}: {error}); {remedy}"
        ) from error
    return _of_flags(tuple(addresses), index)


def _of_slurm(environ):
    """Returns what Slurm says of the tasks of this step, as TensorFlow reads it."""
    # It reads this process's environment.  What GPUs a task has is Slurm's to say: where they are
    # counted here, a node has as many tasks as it has GPUs.
    try:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=_SLURM_PORT, gpus_per_node=_MOST_TASKS, gpus_per_task=1, auto_set_gpu=False
        )
        workers = resolver.cluster_spec().as_dict()["worker"]
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"--strategy={NAME}: Slurm's environment cannot be read ({error}); start the workers "
            "with srun, or give --workers and --worker_index"
        ) from error
    return Cluster(tuple(workers), int(environ["SLURM_PROCID"]))


def meet(cluster: Cluster):
    """Returns when all workers are there; says who is not, which TensorFlow would wait for mutely.

    Raises: UserError where this one's port is taken.
    """
    address = cluster.workers[cluster.index]
    try:
        # Whoever tries to reach it is answered by the kernel; TensorFlow's own server comes later.
        listening = socket.create_server(("", _parted(address)[1]))
    except OSError as error:
        raise UserError(
            f"--workers: worker {cluster.index} cannot listen on the port of {address} "
            f"({error.strerror}); give one that is free"
        ) from error
    missing = {index: at for index, at in enumerate(cluster.workers) if index != cluster.index}
    start, told = time.monotonic(), _PATIENT_SECONDS
    with listening:
        while missing := {index: at for index, at in missing.items() if not _answers(at)}:
            seconds = time.monotonic() - start
            if seconds >= told:
                named = ", ".join(f"{index} ({at})" for index, at in missing.items())
                print(
                    f"waiting for worker {named} ... {seconds:.0f} s so far",
                    file=sys.stdout if cluster.is_chief else sys.stderr,
                    flush=True,
                )
                told = min(2 * told, told + 60)
            time.sleep(0.3)


def _parted(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _answers(address):
    try:
        socket.create_connection(_parted(address), timeout=2).close()
    except OSError:
        return False
    return True
