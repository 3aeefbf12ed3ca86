"""Checkpoints of the original TensorFlow 1 release: read, recognised, and filled into our networks.

from sat_tf import release
checkpoint = release.read("downloads/Res50-silu")
release.recognise(checkpoint).model          # "resnet50"
release.fill(classifier, checkpoint)
"""

from sat_tf.release.checkpoint import AVERAGED, Checkpoint, Network, network_shapes, read, recognise
from sat_tf.release.filling import fill, variables

__all__ = [
    "AVERAGED",
    "Checkpoint",
    "Network",
    "fill",
    "network_shapes",
    "read",
    "recognise",
    "variables",
]
