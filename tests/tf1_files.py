"""Checkpoints as TensorFlow 1 wrote them, made from names and values; and what they should hold.

The expected names here are written down a second time, from the release's layers, on purpose.
"""

import golden_values
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import errors
from sat_tf.release import checkpoint as tf1_checkpoint
from sat_tf.release import filling as tf1_import

_WITH_EXPANSION = {
    "expand_conv": "conv2d",
    "expand_bn": "tpu_batch_normalization",
    "expand_activation": "smoothrelu",
    "depthwise_conv": "depthwise_conv2d",
    "depthwise_bn": "tpu_batch_normalization_1",
    "depthwise_activation": "smoothrelu_1",
    "se_reduce": "se/conv2d",
    "se_activation": "se/smoothrelu",
    "se_expand": "se/conv2d_1",
    "project_conv": "conv2d_1",
    "project_bn": "tpu_batch_normalization_2",
}
_WITHOUT_EXPANSION = {
    "depthwise_conv": "depthwise_conv2d",
    "depthwise_bn": "tpu_batch_normalization",
    "depthwise_activation": "smoothrelu",
    "se_reduce": "se/conv2d",
    "se_activation": "se/smoothrelu",
    "se_expand": "se/conv2d_1",
    "project_conv": "conv2d",
    "project_bn": "tpu_batch_normalization_1",
}


def save(prefix, values, *, older_format=False):
    """Writes {name: array} as a TensorFlow 1 Saver does; returns the prefix."""
    saver_def = tf.compat.v1.train.SaverDef
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        holders = {
            tf.compat.v1.placeholder(array.dtype, array.shape): (name, array)
            for name, array in values.items()
        }
        saved = [tf.compat.v1.Variable(holder, name=name) for holder, (name, _) in holders.items()]
        session.run(
            [variable.initializer for variable in saved],
            {holder: array for holder, (_, array) in holders.items()},
        )
        return tf.compat.v1.train.Saver(
            saved, write_version=saver_def.V1 if older_format else saver_def.V2
        ).save(session, str(prefix), write_meta_graph=False)


def in_memory(values, path="PATH"):
    """Returns {name: array} as an open checkpoint."""
    shapes = {name: np.shape(value) for name, value in values.items()}
    return tf1_checkpoint.Checkpoint(path, shapes, values.__getitem__)


def of_shapes(shapes, path="PATH"):
    """Returns an open checkpoint of which nothing may be read."""

    def load(name):
        raise AssertionError(f"{name} was read")

    return tf1_checkpoint.Checkpoint(path, dict(shapes), load)


def golden_shapes(case):
    description, _ = golden_values.load(case)
    return {entry["name"]: tuple(entry["shape"]) for entry in description["variables"]}


def drawn(names_and_shapes):
    """Returns {name: values seeded by the full name}."""
    return {
        name: golden_values.draw(name, shape).astype(np.float32)
        for name, shape in names_and_shapes.items()
    }


def variable_shapes(model, scope=""):
    """Returns {TF1 name: shape} of a model's weights."""
    return {name: tuple(w.shape) for name, w in tf1_import.variables(model, scope).items()}


def refusal(classifier, checkpoint, **kwargs):
    """Returns the one line with which an import is refused."""
    with pytest.raises(errors.UserError) as caught:
        tf1_import.fill(classifier, checkpoint, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("--")
    return message


def expected_resnet_names(blocks, *, smoothrelu=False):
    """Returns {(layer, weight): name} of a network with bottleneck blocks, `blocks` a group."""
    names = {("linear", "kernel"): "linear/W", ("linear", "bias"): "linear/b"}
    scopes = {"conv0": "conv0"}
    sites = {"conv0": "conv0"}
    for group, depth in enumerate(blocks):
        for block in range(depth):
            layer, scope = f"group{group}_block{block}", f"group{group}/block{block}"
            parts = ["conv1", "conv2", "conv3"] + ["convshortcut"] * (block == 0)
            scopes.update({f"{layer}_{part}": f"{scope}/{part}" for part in parts})
            sites.update(
                {
                    layer: scope,
                    f"{layer}_conv1": f"{scope}/conv1",
                    f"{layer}_conv2": f"{scope}/conv2",
                }
            )
    for layer, scope in scopes.items():
        names[layer, "kernel"] = f"{scope}/W"
        for weight, leaf in (
            ("gamma", "gamma"),
            ("beta", "beta"),
            ("moving_mean", "mean/EMA"),
            ("moving_variance", "variance/EMA"),
        ):
            names[f"{layer}_bn", weight] = f"{scope}/bn/{leaf}"
    if smoothrelu:
        names.update(
            {
                (f"{layer}_activation", "raw_alpha"): f"{scope}/smoothrelu_beta"
                for layer, scope in sites.items()
            }
        )
    return names


def expected_efficientnet_names(scope, *, first_stage, blocks, smoothrelu=False):
    """Returns {(layer, weight): name}; the first `first_stage` of the blocks have no expansion."""
    names = {("linear", leaf): f"{scope}/head/dense/{leaf}" for leaf in ("kernel", "bias")}
    tables = {
        part: {
            f"{part}_conv": f"{part}/conv2d",
            f"{part}_bn": f"{part}/tpu_batch_normalization",
            f"{part}_activation": f"{part}/smoothrelu",
        }
        for part in ("stem", "head")
    }
    for index in range(blocks):
        parts = _WITHOUT_EXPANSION if index < first_stage else _WITH_EXPANSION
        tables[index] = {
            f"blocks_{index}_{part}": f"blocks_{index}/{name}" for part, name in parts.items()
        }
    for layer, name in (item for table in tables.values() for item in table.items()):
        if layer.endswith("_activation"):
            leaves = {"raw_alpha": "smoothrelu_beta"} if smoothrelu else {}
        elif layer.endswith("_bn"):
            leaves = {leaf: leaf for leaf in ("gamma", "beta", "moving_mean", "moving_variance")}
        elif layer.endswith("depthwise_conv"):
            leaves = {"depthwise_kernel": "depthwise_kernel"}
        else:
            leaves = {"kernel": "kernel", **({"bias": "bias"} if "_se_" in layer else {})}
        names.update({(layer, weight): f"{scope}/{name}/{leaf}" for weight, leaf in leaves.items()})
    return names
