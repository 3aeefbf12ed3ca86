"""The flags of the group "hardware": where and in which precision it runs."""

import functools

from flags.kinds import choice, integer, name_list, names_of, string
from sat_tf import distribution
from sat_tf.config import DistributionConfig, checked
from sat_tf.errors import look_up

FLAGS = (
    string(
        "strategy",
        "auto",
        f"One of: {names_of(distribution.STRATEGIES)}. auto: the TPU "
        "if --tpu is given, else the workers if --workers or TF_CONFIG names several, else all "
        "GPUs, else all logical CPUs. multi_worker: those of --workers, TF_CONFIG or a Slurm step.",
    ),
    name_list(
        "workers",
        None,
        "HOST:PORT of all workers of the run, comma-separated, the same for each; the first is "
        "the chief, which writes the files.",
    ),
    integer("worker_index", None, "Which of --workers this process is, from 0."),
    string("tpu", None, "Name or grpc:// address of a TPU, or local on a TPU VM."),
    integer("virtual_cpus", 1, "Split the CPU into N logical devices, to try a strategy."),
    choice(
        "xla",
        "auto",
        ("auto", "on", "off"),
        "Compile the attack. auto: on GPU and TPU, where it is one program; off on a CPU, where "
        "it was measured to be no faster.",
    ),
    choice(
        "precision",
        "float32",
        ("float32", "bfloat16", "float16"),
        "Compute dtype; weights stay float32.",
    ),
    integer("steps_per_execution", 1, "Training steps per call from Python."),
)


def config_of(values):
    strategy = values.get("strategy")
    checked("strategy", functools.partial(look_up, distribution.STRATEGIES, "strategy"), strategy)
    return DistributionConfig(
        strategy=strategy,
        **{
            name: values.get(name)
            for name in ("tpu", "virtual_cpus", "xla", "precision", "steps_per_execution")
        },
    )
