"""Networks of ours for tests that no training follows, or that any network will do for."""

import functools

import tensorflow as tf

from sat_tf import activations, models
from sat_tf.models import efficientnet, layers, preact_resnet, resnet


@functools.lru_cache(maxsize=16)
def abstract(name, **settings):
    """Builds in a graph that is never run, so that no weight takes memory; the same one again."""
    with tf.Graph().as_default():
        return models.create(name, **settings)


def small(builder, *, activation="swish", **settings):
    """Returns what one of the rows' builders makes, for 5 classes of 16 pixels if not told."""
    return builder(
        **{
            **dict(
                name="small",
                num_classes=5,
                image_size=16,
                dropout_rate=0.0,
                survival_probability=1.0,
                seed=0,
                activation=activations.create(activation),
                batch_norm=functools.partial(layers.batch_norm, 0.9, 1e-5),
            ),
            **settings,
        }
    )


def abstract_small(*arguments, **settings):
    """The same in a graph that is never run."""
    with tf.Graph().as_default():
        return small(*arguments, **settings)


# Every part of the large networks, in a block a stage.
SMALL = {
    "resnet": functools.partial(resnet.cifar_resnet, depth=8),
    "basic": functools.partial(resnet.basic_resnet, blocks=(1, 1, 1, 1)),
    "bottleneck": functools.partial(resnet.bottleneck_resnet, blocks=(1, 2, 1, 1)),
    "resnext": functools.partial(
        resnet.bottleneck_resnet, blocks=(1, 1, 1, 1), group=32, bottleneck_width=4
    ),
    "preact": functools.partial(preact_resnet.wide_resnet, depth=10, width=1),
    # The sixth stage has two, so that there is an identity block.
    "efficientnet": functools.partial(efficientnet.efficientnet, width=0.25, depth=0.3),
}
