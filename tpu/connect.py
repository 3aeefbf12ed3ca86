"""Resolves, connects to and initialises a TPU system.

resolver = connect("local")          # on a TPU VM
strategy = tf.distribute.TPUStrategy(resolver)
"""

import tensorflow as tf

# What TensorFlow raises where there is no such TPU: a name that does not resolve, a machine
# without TPUs (NotFoundError, or a bare IndexError), an address nobody answers at.
_FAILURES = (ValueError, IndexError, RuntimeError, OSError, tf.errors.OpError)


def connect(name: str) -> tf.distribute.cluster_resolver.TPUClusterResolver:
    """Returns the resolver of an initialised TPU system.

    Args:
      name: `local` on a TPU VM, the name of a Cloud TPU node, or its `grpc://` address.
    Raises: ValueError, in one line, where it cannot be reached or holds no TPU.
    """
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except _FAILURES as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"--tpu={name}: no TPU there ({type(error).__name__}: {reason}); run on a TPU VM with "
            "--tpu=local, or check the name, the zone and the credentials"
        ) from error
    return resolver
