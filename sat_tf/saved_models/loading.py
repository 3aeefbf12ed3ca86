"""Any SavedModel, ours or another program's, as a classifier to measure and to attack.

    with strategy.scope():
        saved = load("downloads/model", input_range="-1,1")
    logits = saved.logits_fn(images)   # float32 [B, H, W, C] in [0, 1] -> float32 [B, num_classes]
    print(saved.summary)               # which of its functions that is, and what goes in and out

A SavedModel is a program: load only one that you would run.
"""

import dataclasses
import functools
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from sat_tf.config import refuse
from sat_tf.errors import look_up, one_line
from sat_tf.saved_models import folder, functions

# What a network wants, from images in [0, 1].
INPUT_RANGES = {
    "0,1": lambda images: images,
    "0,255": lambda images: 255.0 * images,
    "-1,1": lambda images: 2.0 * images - 1.0,
}
_SIDE = 32  # of the images a function is tried with that takes any size, where none is named


@dataclasses.dataclass(frozen=True)
class SavedClassifier:
    """A function of a SavedModel, ready for attacks and evaluation.

    Attributes:
      logits_fn: float32 [B, H, W, C] in [0, 1] -> float32 [B, num_classes].
      path: of the SavedModel's folder, as it was given.
      function: the name of the chosen function.
      input_range: a key of INPUT_RANGES.
      image_shape: (H, W, C), None for each that is free.
      batch_size: the batch that it was saved for, None for any.  Others are filled up, or cut
        into a call for each such batch, which makes a large graph of a large one.
      num_classes: the number of logits, 2 or more.
      no_gradient: why there is no gradient with respect to the images, or None where there is.
      probabilities: whether the function gives those; the logits are then their logarithm.
      fingerprint: of the files with graph and weights, hexadecimal.
      class_names: those in `assets/class_names.txt`, in the order of the logits; () without them.
      summary: one line on all that.
    """

    logits_fn: Callable[[tf.Tensor], tf.Tensor]
    path: str
    function: str
    input_range: str
    image_shape: tuple[int | None, int | None, int | None]
    batch_size: int | None
    num_classes: int
    no_gradient: str | None
    probabilities: bool
    fingerprint: str
    class_names: tuple[str, ...] = ()
    summary: str = ""

    @property
    def differentiable(self) -> bool:
        """Whether white-box attacks have a gradient to follow."""
        return self.no_gradient is None

    @property
    def image_size(self) -> int | None:
        """The side of the square images, None if it is free or the images are not square."""
        sides = set(self.image_shape[:2]) - {None}
        return sides.pop() if len(sides) == 1 else None

    @property
    def channels(self) -> int | None:
        return self.image_shape[-1]


def load(
    path: str | os.PathLike,
    *,
    input_range: str = "0,1",
    signature: str | None = None,
    image_size: int | None = None,
    flag: str = "saved_model",
) -> SavedClassifier:
    """Loads a SavedModel, of TensorFlow 2 or 1, and finds the function that classifies images.

    To be called in the scope of the strategy that is to run it.  The function is tried once,
    forwards and backwards, on two images of noise.

    The function is a signature or function called `logits`, as our exports have, else the
    signature `serving_default`, else the only signature, else the object's own `__call__`.  It has
    one input, a batch of images of a floating dtype.  Of several outputs the logits are the one of
    that name, else the only floating [N, C].  Where they turn out to be probabilities, their
    logarithm is taken, of which the softmax gives them back: cross-entropy ascends as it would on
    the logits, but for what has been rounded to 0 or 1.

    Args:
      path: the SavedModel's folder.
      input_range: a key of INPUT_RANGES: what the function expects.  Images in [0, 1] are mapped
        to it, and the gradient comes back through that.
      signature: the name of a signature or function to take instead.
      image_size: side of the images to try it with where it takes any; 32 if None.
      flag: named in errors.
    Raises: UserError, one line naming flag, value and remedy.
    """
    path = os.fspath(path)
    folder.check(path, flag)
    try:
        to_range = look_up(INPUT_RANGES, "range", input_range)
    except ValueError as error:
        refuse("input_range", input_range, str(error))
    problem = functools.partial(refuse, flag, path)
    function = functions.choose(*folder.open_graphs(path, problem), signature, problem)
    batch, *image_shape = function.shape
    images = _noise(batch or 2, image_shape, image_size)

    def outputs(images):
        return function.call(tf.cast(to_range(images), function.images.dtype))

    output, values = functions.logits_of(
        _tried(outputs, images, function, problem), function, problem
    )
    probabilities = _are_probabilities(values)

    def logits_of_batch(images):
        logits = tf.cast(outputs(images)[output], tf.float32)
        if probabilities:
            logits = tf.math.log(tf.maximum(logits, np.finfo(np.float32).tiny))
        return logits

    logits_fn = _in_batches(logits_of_batch, batch, problem) if batch else logits_of_batch

    return _described(
        SavedClassifier(
            logits_fn,
            path,
            function.name,
            input_range,
            tuple(image_shape),
            batch,
            int(values.shape[-1]),
            function.no_gradient or _why_no_gradient(logits_fn, images),
            probabilities,
            folder.fingerprint(path),
            folder.class_names(path, int(values.shape[-1])),
        ),
        function,
        output,
    )


def _noise(batch, shape, image_size):
    height, width, channels = shape
    side = height or width or image_size or _SIDE
    return tf.constant(
        np.random.default_rng(0).uniform(
            size=[batch, height or side, width or side, channels or 3]
        ),
        tf.float32,
    )


def _in_batches(logits_fn, batch, problem):
    """Returns `logits_fn`, which takes one size of batch alone, for batches of any."""

    def logits_of_any(images):
        count = images.shape[0]
        if count is None:
            problem(
                f"was saved for batches of {batch}, and this one's size is not known in advance; "
                "export it for batches of any size"
            )
        filled = tf.pad(images, [[0, -count % batch], [0, 0], [0, 0], [0, 0]])
        return tf.concat(
            [logits_fn(part) for part in tf.split(filled, filled.shape[0] // batch)], 0
        )[:count]

    return logits_of_any


def _tried(outputs, images, function, problem):
    """Returns the outputs for `images`, called as evaluation will call it."""
    strategy = tf.distribute.get_strategy()
    try:
        results = strategy.run(tf.function(outputs, autograph=False), args=(images,))
    except Exception as error:  # as in loading
        problem(
            f"{function.title} fails on images of {list(images.shape)} ({one_line(error)}); give "
            "the --image_size that it takes, or another --saved_model_signature"
        )
    return {name: strategy.experimental_local_results(value)[0] for name, value in results.items()}


def _are_probabilities(values):
    values = tf.cast(values, tf.float32)
    return bool(
        tf.reduce_all(values >= 0) & tf.reduce_all(tf.abs(tf.reduce_sum(values, -1) - 1) < 5e-3)
    )  # float16 rounds


def _why_no_gradient(logits_fn, images):
    """Returns what stands between logits and images, or None for nothing."""

    @functools.partial(tf.function, autograph=False)
    def gradient(images):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            total = tf.reduce_sum(logits_fn(images))
        return tape.gradient(total, images)

    try:
        found = tf.distribute.get_strategy().run(gradient, args=(images,))
    except Exception as error:  # an operation without derivative, or one that was not saved
        return one_line(error)
    return "an operation in between has no derivative" if found is None else None


def _described(saved, function, output):
    """Returns `saved` with its summary."""
    parts = [
        f"{saved.path}: {function.title} of {functions.described(function.images)} in "
        f"[{saved.input_range}]",
        f"its output {output} has {saved.num_classes} classes",
    ]
    if saved.probabilities:
        parts.append(
            "as probabilities, whose logarithm is attacked; where they round to 0 or 1 "
            "there is no gradient, so export logits if you can"
        )
    if saved.no_gradient:
        parts.append(f"no gradient ({saved.no_gradient})")
    return dataclasses.replace(saved, summary=", ".join(parts))
