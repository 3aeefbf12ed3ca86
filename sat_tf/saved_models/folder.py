"""The folder of a SavedModel: whether it is one, what it holds, and a digest of it."""

import hashlib
import os

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from sat_tf.config import refuse
from sat_tf.errors import one_line
from sat_tf.files import plain, real
from sat_tf.saved_models import functions

_KERAS_FILES = (".keras", ".h5", ".hdf5")
_GRAPH_FILE = "saved_model.pb"
CLASS_NAMES = "class_names.txt"


def check(path, flag):
    """Refuses what is not a SavedModel's folder, saying what it may be and what to do with it."""
    name = plain(path.rstrip("/"))
    if not tf.io.gfile.exists(name):
        refuse(flag, path, "no such folder; give the folder of a SavedModel")
    if not tf.io.gfile.isdir(name):
        if name.endswith(_KERAS_FILES):
            refuse(
                flag,
                path,
                "a Keras file, not a SavedModel; write one where it was made: "
                "tf.saved_model.save(tf.keras.models.load_model(FILE), FOLDER), or "
                "model.export(FOLDER) of Keras 3, and give that folder",
            )
        refuse(flag, path, "a file; give the folder of a SavedModel")
    if _has_graph(name):
        return
    within = [
        real(f"--{flag}={name}/{inner.rstrip('/')}")
        for inner in sorted(tf.io.gfile.listdir(name))
        if _has_graph(f"{name}/{inner.rstrip('/')}")
    ]
    if within:
        refuse(flag, path, f"not a SavedModel; give {' or '.join(within[:3])}")
    if tf.io.gfile.exists(f"{name}/config.json") and tf.io.gfile.isdir(f"{name}/checkpoints"):
        refuse(
            flag,
            path,
            "a run that was not exported; give --model_dir instead, or export it: "
            f"--mode=export --model_dir={path}",
        )
    refuse(flag, path, "not a SavedModel: it has no saved_model.pb; give a folder that has")


def _has_graph(folder):
    return tf.io.gfile.exists(f"{folder}/{_GRAPH_FILE}")


def open_graphs(path, problem):
    """Returns what was loaded, and the names of custom gradients that were not saved with it."""
    path = plain(path)
    try:
        with tf.io.gfile.GFile(f"{path}/{_GRAPH_FILE}", "rb") as file:
            graphs = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
        # TensorFlow 1 writes several graphs, as for a TPU.
        loaded = tf.saved_model.load(path, tags=["serve"] if len(graphs) > 1 else None)
    except Exception as error:  # another's program, which may fail in any way
        problem(
            f"cannot be loaded ({real(one_line(error))}); if it is damaged, fetch it again, and "
            "if it needs operations of another package, export it without"
        )
    return loaded, set().union(*(functions.unsaved_gradients(graph.graph_def) for graph in graphs))


def fingerprint(path):
    """Returns a digest of the files that decide on the logits."""
    digest = hashlib.sha256()
    folder = plain(path.rstrip("/"))
    variables = f"{folder}/variables"
    names = sorted(tf.io.gfile.listdir(variables)) if tf.io.gfile.isdir(variables) else []
    for file in (f"{folder}/{_GRAPH_FILE}", *(f"{variables}/{name}" for name in names)):
        digest.update(os.path.basename(file).encode())
        with tf.io.gfile.GFile(file, "rb") as opened:
            while chunk := opened.read(1 << 24):
                digest.update(chunk)
    return digest.hexdigest()[:16]


def class_names(path, num_classes: int) -> tuple[str, ...]:
    """Returns the names in `assets/class_names.txt`, () unless there is one for each class."""
    file = f"{plain(path.rstrip('/'))}/assets/{CLASS_NAMES}"
    if not tf.io.gfile.exists(file):
        return ()
    with tf.io.gfile.GFile(file, "rb") as opened:
        names = tuple(opened.read().decode(errors="surrogateescape").split("\n")[:-1])
    return names if len(names) == num_classes else ()
