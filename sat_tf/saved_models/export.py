"""A trained classifier as a SavedModel that plain TensorFlow loads, runs and differentiates.

export(classifier, "saved_model", image_size=8, class_names=tuple("0123456789"))
loaded = tf.saved_model.load("saved_model")              # in a program without sat_tf
loaded.signatures["serving_default"](images=pixels)      # uint8 [N, H, W, 3]
loaded.signatures["image_bytes"](image_bytes=files)      # string [N], JPEG or PNG
loaded.logits(images)                                    # float32 in [0, 1]; differentiable
"""

import os
from collections.abc import Sequence

import tensorflow as tf

from sat_tf import data
from sat_tf.errors import UserError
from sat_tf.files import plain, real
from sat_tf.saved_models.folder import CLASS_NAMES

# Beside an export: what is being written, and the one in whose place it comes.
_PARTIAL, _EARLIER = ".partial", ".earlier"


def export(
    classifier: tf.keras.Model,
    path: str | os.PathLike,
    *,
    image_size: int,
    crop_padding: int = 0,
    class_names: Sequence[str] = (),
) -> None:
    """Writes `classifier` to the folder `path`, in the place of an earlier export there.

    The signatures `serving_default` and `image_bytes` give a dictionary of `logits` float32
    [N, C], `probabilities` float32 [N, C] and `classes` int64 [N].  `serving_default` uses images
    of the model's size as they are and crops others; `image_bytes` always crops.  The signature
    `logits` gives a dictionary of `logits`, the attribute of that name the bare tensor.

    All is written beside `path` first and then moved there: if anything fails, what was at `path`
    stays and the new files are removed.

    Args:
      classifier: a Keras model, float32 [N, S, S, 3] in [0, 1] -> logits [N, C]; it may have been
        made under a strategy or a mixed-precision policy.  To be called outside of a strategy's
        scope.
      path: the folder to write; anything `tf.io.gfile` understands.
      image_size: S, the side of the model's input in pixels.
      crop_padding: of the evaluation crop, see `data.evaluation_crop`.
      class_names: one name a class, written to `assets/class_names.txt`, one a line; () for none.
    Raises:
      UserError: if `path` holds something else than a SavedModel.
      ValueError: if the class names do not fit.
      OSError, tf.errors.OpError: if the files cannot be written.
    """
    path = _plain_parent(str(path).rstrip("/"))
    _check_replaceable(path)
    partial = path + _PARTIAL
    try:
        _remove(partial)  # of a process that was killed
        tf.io.gfile.makedirs(partial)
        module = _serving_module(classifier, image_size, crop_padding)
        if class_names:
            names_file = _write_class_names(partial, class_names, module)
            module.class_names = tf.saved_model.Asset(names_file)
        tf.saved_model.save(
            module,
            partial + "/model",
            signatures=_signatures(module),
            options=tf.saved_model.SaveOptions(experimental_custom_gradients=True),
        )
        _swap_in(partial + "/model", path)
    finally:
        _remove(partial)


def _serving_module(classifier, image_size, crop_padding):
    """Returns the module to save: the classifier's variables and the functions that use them.

    The Keras model itself is closed over and not an attribute, because saving it would trace
    every one of its layers, which for the largest networks takes far longer than the functions.
    """
    module = tf.Module()
    module.model_variables = list(classifier.variables)
    size = image_size

    @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32, name="images")])
    def logits(images):
        return tf.cast(classifier(images, training=False), tf.float32)

    def predictions(images):
        values = logits(images)
        return {
            "logits": values,
            "probabilities": tf.nn.softmax(values),
            "classes": tf.argmax(values, axis=-1, output_type=tf.int64),
        }

    def fitted(images):
        return tf.cond(
            tf.reduce_all(tf.equal(tf.shape(images)[1:3], size)),
            lambda: tf.ensure_shape(data.to_float(images), [None, size, size, 3]),
            lambda: data.evaluation_crop(images, size, crop_padding),
        )

    def decoded(image_bytes):
        return data.evaluation_crop(data.decode_jpeg_or_png(image_bytes), size, crop_padding)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def serving_default(images):
        return predictions(fitted(images))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def image_bytes(image_bytes):
        images = tf.map_fn(
            decoded,
            image_bytes,
            parallel_iterations=16,
            fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
        )
        return predictions(images)

    module.logits, module.serving_default, module.image_bytes = logits, serving_default, image_bytes
    return module


def _signatures(module):
    @tf.function(input_signature=module.logits.input_signature)
    def logits(images):
        return {"logits": module.logits(images)}

    return {
        "serving_default": module.serving_default,
        "image_bytes": module.image_bytes,
        "logits": logits,
    }


def _write_class_names(folder, class_names, module):
    num_classes = module.logits.get_concrete_function().output_shapes[-1]
    if len(class_names) != num_classes or any("\n" in name for name in class_names):
        raise ValueError(
            f"class_names={class_names!r}: give one name of one line for each of "
            f"the {num_classes} classes, or none at all"
        )
    names_file = f"{folder}/{CLASS_NAMES}"
    with tf.io.gfile.GFile(names_file, "wb") as file:
        # A folder's name need not be UTF-8; its bytes are kept.
        file.write("".join(f"{name}\n" for name in class_names).encode(errors="surrogateescape"))
    return names_file


def _check_replaceable(path):
    """Refuses to put an export in the place of anything but an earlier one."""
    if not tf.io.gfile.exists(path):
        return
    if tf.io.gfile.isdir(path):
        contents = tf.io.gfile.listdir(path)
        if not contents or "saved_model.pb" in contents:
            return
    raise UserError(
        f"the export's folder {real(path)} holds something else than a SavedModel; move that away"
    )


def _swap_in(new, path):
    """Renames `new` to `path`; an earlier export steps aside, and comes back if that fails."""
    earlier = path + _EARLIER
    if tf.io.gfile.exists(path):
        _remove(earlier)
        tf.io.gfile.rename(path, earlier)
    try:
        tf.io.gfile.rename(new, path)
    except BaseException:
        if tf.io.gfile.exists(earlier):
            tf.io.gfile.rename(earlier, path)
        raise
    _remove(earlier)  # where a process was killed in between, this is the last one before it


def recover(path: str):
    """Ends what a killed `export` has begun; an earlier one comes back where none is in place."""
    path = _plain_parent(path)
    earlier = path + _EARLIER
    if tf.io.gfile.exists(earlier) and not tf.io.gfile.exists(path):
        tf.io.gfile.rename(earlier, path)
    for left in (earlier, path + _PARTIAL):
        _remove(left)


def _plain_parent(path):
    """Returns a path to the same folder that can be renamed, which the link itself could not."""
    return os.path.join(plain(os.path.dirname(path)), os.path.basename(path))


def _remove(folder):
    if tf.io.gfile.exists(folder):
        tf.io.gfile.rmtree(folder)
