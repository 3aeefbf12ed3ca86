"""Which function of a loaded SavedModel classifies images, and which of its outputs the logits are.

    function = choose(tf.saved_model.load(path), set(), None, problem)
    name, logits = logits_of(function.call(images), function, problem)

A part of `saved_model`, which alone uses it.  `problem(remedy)` raises the UserError that names
the SavedModel.
"""

import collections.abc
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from sat_tf.config import refuse
from sat_tf.errors import few

_LOGITS = "logits"
_SERVING = "serving_default"
_CALL = "__call__"
_ADVICE = "export a function of floating-point images [N, H, W, C] to logits [N, C]"


class Function(NamedTuple):
    """A function of a SavedModel.

    `call` takes images of the spec `images` and returns {name: tensor}; it keeps the SavedModel,
    and so its variables, alive.  `no_gradient` says why it cannot be differentiated, or is None.
    """

    name: str
    title: str
    images: tf.TensorSpec
    call: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    no_gradient: str | None = None

    @property
    def shape(self) -> tuple:
        """(N, H, W, C), None for each that is free."""
        return (None,) * 4 if self.images.shape.rank is None else tuple(self.images.shape)


class _Candidate(NamedTuple):
    """Something to call: what errors call it, its inputs by name, its graph, and itself."""

    title: str
    inputs: dict[str, tf.TensorSpec]
    graph: tf.Graph
    call: Callable[[tf.Tensor], Any]


def choose(loaded, unsaved, name, problem) -> Function:
    """Returns the function called `name`, or the one that `loading.load` describes.

    Args:
      loaded: what tf.saved_model.load returned.
      unsaved: what `unsaved_gradients` found.
      name: of a signature, `logits` or `__call__`; or None.
      problem: see above.
    """
    candidates = {**_attributes(loaded), **_signatures(loaded)}
    name = name or _default(loaded, candidates, problem)
    if name not in candidates:
        refuse(
            "saved_model_signature",
            name,
            f"not in the SavedModel; give one of: {', '.join(sorted(candidates)) or 'none there'}",
        )
    candidate = candidates[name]
    inputs = candidate.inputs
    if len(inputs) != 1:
        problem(
            f"{candidate.title} has {len(inputs)} inputs ({_list(inputs)}); "
            f"{_ADVICE}{_others(candidates, name)}"
        )
    images = next(iter(inputs.values()))
    _check_images(images, candidate, _others(candidates, name), problem)
    return Function(
        name,
        candidate.title,
        images,
        lambda images: _named(candidate.call(images)),
        _without_gradient(candidate.graph, unsaved),
    )


def _default(loaded, candidates, problem):
    signatures = list(loaded.signatures)
    for name in (_LOGITS, _SERVING, *(signatures if len(signatures) == 1 else ())):
        if name in candidates:
            return name
    if len(signatures) > 1:
        problem(
            "has several signatures and none is the default; give --saved_model_signature with "
            f"one of: {', '.join(sorted(signatures))}"
        )
    if _CALL not in candidates:
        problem(f"has no function that can be called; {_ADVICE}")
    return _CALL


def _signatures(loaded):
    def candidate(name, signature):
        inputs = dict(signature.structured_input_signature[1])

        def call(images, kept=loaded):  # the function alone would let go of its variables
            return signature(**dict.fromkeys(inputs, images))

        return _Candidate(f"signature {name}", inputs, signature.graph, call)

    return {name: candidate(name, signature) for name, signature in loaded.signatures.items()}


def _attributes(loaded):
    found = {}
    for name in (_LOGITS, _CALL):
        function = getattr(loaded, name, None)
        traces = [
            trace
            for trace in getattr(function, "concrete_functions", ())
            if not _is_for_training(trace)
        ]
        if traces:
            found[name] = _attribute(
                f"function {name}", loaded, function, max(traces, key=_takes_images)
            )
    return found


def _attribute(title, loaded, function, trace):
    """Returns the candidate that calls a function as it was traced, with those Python values."""

    def call(images, kept=loaded):
        args, kwargs = tf.nest.map_structure(
            lambda leaf: images if isinstance(leaf, tf.TensorSpec) else leaf,
            trace.structured_input_signature,
        )
        return function(*args, **kwargs)

    inputs = {f"{i}: {spec.name}": spec for i, spec in enumerate(_specs(trace), 1)}
    return _Candidate(title, inputs, trace.graph, call)


def _specs(trace):
    return [
        leaf
        for leaf in tf.nest.flatten(trace.structured_input_signature)
        if isinstance(leaf, tf.TensorSpec)
    ]


def _is_for_training(trace):
    return any(leaf is True for leaf in tf.nest.flatten(trace.structured_input_signature))


def _takes_images(trace):
    specs = _specs(trace)
    return len(specs) == 1 and specs[0].dtype.is_floating and specs[0].shape.rank in (None, 4)


def _check_images(spec, candidate, others, problem):
    if not spec.dtype.is_floating:
        problem(
            f"{candidate.title} takes {described(spec)}, through which there is no gradient; "
            f"{_ADVICE}{others}"
        )
    if spec.shape.rank not in (None, 4):
        problem(
            f"{candidate.title} takes {described(spec)}, not images [N, H, W, C]; {_ADVICE}{others}"
        )


def _gradients(graph_def):
    """Returns {node: name of its custom gradient} of a GraphDef and the functions in it."""
    nodes = (
        *graph_def.node,
        *(node for function in graph_def.library.function for node in function.node_def),
    )
    return {
        node.name: node.attr["_gradient_op_type"].s.decode()
        for node in nodes
        if node.op == "IdentityN" and "_gradient_op_type" in node.attr
    }


def unsaved_gradients(graph_def) -> set:
    """Returns the names of custom gradients that a saved GraphDef has not brought along.

    A graph names a custom gradient, as swish has one, by a number.  Where it was not saved, as by
    TensorFlow 1, a program that loads the graph may have none of that number, but as well another.
    (TensorFlow gives those that were saved a new number.)
    """
    return set(_gradients(graph_def).values()) - {
        gradient.registered_op_type for gradient in graph_def.library.registered_gradients
    }


def _without_gradient(graph, unsaved):
    """Returns why a graph cannot be differentiated, though TensorFlow might do it; or None."""
    nodes = [node for node, name in _gradients(graph.as_graph_def()).items() if name in unsaved]
    return f"the custom gradient of {few(sorted(nodes))} was not saved" if nodes else None


def logits_of(outputs, function, problem):
    """Returns (name, tensor) of the logits among {name: tensor}."""
    fitting = {
        name: value
        for name, value in outputs.items()
        if value.dtype.is_floating and value.shape.rank == 2 and value.shape[1] >= 2
    }
    if _LOGITS in fitting:
        return _LOGITS, fitting[_LOGITS]
    if len(fitting) != 1:
        what = "several outputs may be" if fitting else "no output can be"
        problem(
            f"{what} the logits of {function.title} ({_list(outputs)}); export a function with "
            "one output [N, C], or one that is called logits"
        )
    return next(iter(fitting.items()))


def _named(outputs):
    """Returns {name: tensor} of what a function returned: a dictionary, a tensor or several."""
    if isinstance(outputs, collections.abc.Mapping):
        return dict(outputs)
    return {f"output_{i}": value for i, value in enumerate(tf.nest.flatten(outputs))}


def _others(candidates, name):
    others = sorted(set(candidates) - {name})
    return f", or give another --saved_model_signature: {', '.join(others)}" if others else ""


def _list(tensors):
    return ", ".join(f"{name} {described(tensor)}" for name, tensor in tensors.items()) or "none"


def described(tensor) -> str:
    """Returns dtype and shape of a tensor or spec, such as `float32 [N, 8, 8, 3]`."""
    if tensor.shape.rank is None:
        return f"{tensor.dtype.name} of any shape"
    sides = [str(side or ("any" if i else "N")) for i, side in enumerate(tensor.shape)]
    return f"{tensor.dtype.name} [{', '.join(sides)}]"
