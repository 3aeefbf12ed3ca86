"""Where a run is computed: devices, strategies of `tf.distribute`, and the workers of one run.

strategy = create("auto")
with strategy.scope():
    ...
"""

from sat_tf.distribution.cluster import Cluster, cluster_of
from sat_tf.distribution.strategies import (
    STRATEGIES,
    check_divisible,
    create,
    deal,
    device_name,
    device_type,
    local_replicas,
    set_precision,
    split_cpu,
    unused_gpu,
)
from sat_tf.distribution.workers import (
    Worker,
    agreement_of,
    gathered,
    losses_named,
    share_of,
    summed,
    worker_of,
)

__all__ = [
    "STRATEGIES",
    "Cluster",
    "Worker",
    "agreement_of",
    "check_divisible",
    "cluster_of",
    "create",
    "deal",
    "device_name",
    "device_type",
    "gathered",
    "local_replicas",
    "losses_named",
    "set_precision",
    "share_of",
    "split_cpu",
    "summed",
    "unused_gpu",
    "worker_of",
]
