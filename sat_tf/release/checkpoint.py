"""Checkpoints of the original TensorFlow 1 release: what they hold, and of which network.

    checkpoint = read("downloads/Res50-silu")
    network = recognise(checkpoint)  # Network(family="resnet", model="resnet50", …)
    shapes = network_shapes(checkpoint, network)  # {"conv0/W": (7, 7, 3, 64), …}

The release's ResNets have the variable names of tensorpack (conv0/W, group0/block0/conv1/W, …,
linear/W), its EfficientNets those of tf.layers below a scope with the network's name
(efficientnet-bL1/stem/conv2d/kernel, …).
"""

import collections
import dataclasses
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sat_tf import errors, models
from sat_tf.files import plain, real

# What tf.train.ExponentialMovingAverage appends to the name of the variable that it averages.
AVERAGED = "/ExponentialMovingAverage"

_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    tf.errors.OpError,
)
_RESNET_VARIABLE = re.compile(r"(conv0|group\d+|linear)/.*")
_RESNET_BLOCK = re.compile(r"group(\d+)/block\d+/conv1/W")
# Either will do, so that a checkpoint that lacks one is refused for that, not as unknown.
_EFFICIENTNET_SIGN = re.compile(
    r"(.+)/(?:stem/conv2d/kernel|blocks_0/depthwise_conv2d/depthwise_kernel)"
)
# The moving averages that tensorpack keeps of what it reports, one set a GPU.
_REPORTED = re.compile(r"(tower\d+/)?EMA/.*")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint.

    `shapes` has the shape of each tensor by its name, without ":0".  `load(name)` returns the
    tensor; see `tensor` for one that checks it.
    """

    path: str
    shapes: dict[str, tuple[int, ...]]
    load: Callable[[str], np.ndarray]
    flag: str = "init_checkpoint"

    def tensor(self, name: str) -> np.ndarray:
        """Returns a tensor as float32.

        Raises: UserError if it cannot be read, is not floating-point or not finite.
        """
        try:
            value = self.load(name)
        except _UNREADABLE as error:
            raise _unreadable(self.flag, self.path, error) from error
        if value.dtype.kind != "f" and value.dtype != tf.bfloat16.as_numpy_dtype:
            raise self._unusable(name, f"is {value.dtype}, not floating-point")
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused
            value = np.asarray(value, np.float32)
        if not np.all(np.isfinite(value)):
            raise self._unusable(name, "has values that are NaN or infinite")
        return value

    def _unusable(self, name, problem):
        return errors.UserError(
            f"--{self.flag}={self.path}: {name} {problem}; name a sound checkpoint"
        )


class Network(NamedTuple):
    """What a checkpoint's names and shapes say about its network.

    `family` is "resnet" or "efficientnet"; `scope` is the root of the latter's names and "" for
    the former.  `model` is the row of `models.MODELS` that it is, None if it is none of them;
    `num_classes` is None if the last layer is missing.  `has_raw` and `has_averaged` tell whether
    there are variables as trained, and moving averages of them.
    """

    family: str
    scope: str
    model: str | None
    num_classes: int | None
    learns_smoothrelu: bool
    has_raw: bool
    has_averaged: bool


def read(path: str, flag: str = "init_checkpoint") -> Checkpoint:
    """Opens a TensorFlow checkpoint by its prefix, or a tensorpack model saved as `.npz`.

    TensorFlow's older format of one file is read as well.  Nothing is ever unpickled.
    Raises: UserError, naming `flag`, if it is neither or damaged.
    """
    try:
        shapes, load = (_open_npz if path.endswith(".npz") else _open_tensorflow)(path)
    except _UNREADABLE as error:
        raise _unreadable(flag, path, error) from error
    return Checkpoint(path, shapes, load, flag)


def _open_tensorflow(prefix):
    reader = tf.train.load_checkpoint(plain(prefix))
    shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    return shapes, reader.get_tensor


def _open_npz(path):
    opened = np.load(path, allow_pickle=False)
    if isinstance(opened, np.ndarray):
        raise ValueError("it holds one array without a name")
    with opened as archive:
        arrays = {name.removesuffix(":0"): archive[name] for name in archive.files}
        if len(arrays) < len(archive.files):
            raise ValueError("it has a variable twice, with and without :0")
    return {name: array.shape for name, array in arrays.items()}, arrays.__getitem__


def _unreadable(flag, path, error):
    problem = real(errors.one_line(error))
    if "pickle" in problem:  # newer NumPys go on to explain how to load it all the same
        problem = "it holds Python objects, and loading those could run any code"
    return errors.UserError(
        f"--{flag}={path}: not a readable checkpoint ({problem}); if it is damaged, fetch it "
        "again, or name another: a TensorFlow checkpoint, or an .npz file of plain arrays"
    )


def recognise(checkpoint: Checkpoint) -> Network | None:
    """Returns which network of the release a checkpoint is of; None if it is of none."""
    shapes = _base_shapes(checkpoint)
    signs = sorted(filter(None, map(_EFFICIENTNET_SIGN.fullmatch, shapes)), key=lambda m: m[1])
    if signs:
        family, scope = "efficientnet", signs[0][1]
        model, head = _efficientnet_model(scope), f"{scope}/head/dense/kernel"
    elif any(map(_RESNET_BLOCK.fullmatch, shapes)):
        family, scope = "resnet", ""
        model, head = _resnet_model(shapes), "linear/W"
    else:
        return None
    network = Network(
        family,
        scope,
        model,
        shapes[head][-1] if shapes.get(head) else None,
        any(name.endswith("/smoothrelu_beta") for name in shapes),
        False,
        False,
    )
    names = network_shapes(checkpoint, network)
    return network._replace(
        has_raw=any(name in checkpoint.shapes for name in names),
        has_averaged=any(name + AVERAGED in checkpoint.shapes for name in names),
    )


def _base_shapes(checkpoint):
    """Returns {name: shape}, a variable and its moving average being one, named as the variable."""
    shapes = {name.removesuffix(AVERAGED): shape for name, shape in checkpoint.shapes.items()}
    return {name: checkpoint.shapes.get(name, shape) for name, shape in shapes.items()}


def _efficientnet_model(scope):
    try:
        return models.canonical_name(scope.rpartition("/")[2])
    except ValueError:
        return None


def _resnet_model(shapes):
    """The row whose blocks and groups are these, among the networks of bottleneck blocks."""
    depths = collections.Counter(
        int(match[1]) for match in map(_RESNET_BLOCK.fullmatch, shapes) if match
    )
    blocks = tuple(depths[group] for group in sorted(depths))
    grouped_kernel = shapes.get("group0/block0/conv2/W")
    if "group0/block0/conv3/W" not in shapes or grouped_kernel is None:
        return None
    for name, row in models.MODELS.items():
        if getattr(row.builder, "func", None) is models.resnet.bottleneck_resnet:
            settings = {"group": 1, "bottleneck_width": 64, **row.builder.keywords}
            width = settings["bottleneck_width"]
            kernel = (3, 3, width, width * settings["group"])
            if (settings["blocks"], kernel) == (blocks, grouped_kernel):
                return name
    return None


def network_shapes(checkpoint: Checkpoint, network: Network) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the network's variables; a moving average counts as its variable.

    Left out is what training kept beside them: steps, rates, optimizer slots, reported averages.
    Whatever is not known to be one of those is taken for the network's.
    """
    shapes = _base_shapes(checkpoint)
    names = {*shapes, *checkpoint.shapes}
    return {
        name: shape
        for name, shape in shapes.items()
        if not _is_bookkeeping(name, shape, names, network)
    }


def _is_bookkeeping(name, shape, names, network):
    parent, _, leaf = name.rpartition("/")
    if parent in names or leaf in ("biased", "local_step"):
        return True  # a slot such as conv0/W/Momentum, or the correction of a moving average
    if network.family == "resnet":
        in_network = _RESNET_VARIABLE.fullmatch(name)
    else:
        in_network = name.startswith(f"{network.scope}/")
    return not in_network and (shape == () or bool(_REPORTED.fullmatch(name)))
