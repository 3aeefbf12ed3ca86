"""One TensorFlow process with two logical CPU devices, and the fixtures every test shares."""

import contextlib
import gc
import os
import pathlib
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parent.parent)]

import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.python.framework.ops import gradient_registry  # noqa: E402

import sat_tf  # noqa: E402, F401  (chooses Keras 2)
from sat_tf import distribution  # noqa: E402

distribution.split_cpu(2)

# A shell that starts the tests in the background has them, and the commands that they start, ignore
# what Ctrl-C sends.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is imported stays: looking through it for garbage again and again took a fifth of the time.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def mirrored():
    """MirroredStrategy over the two logical CPU devices."""
    return distribution.create("mirrored")


@pytest.fixture(scope="session")
def one_device():
    return distribution.create("one_device")


@pytest.fixture(autouse=True, scope="module")
def _forget_gradients():
    """Frees the graphs that a file of tests has made.

    TensorFlow registers the custom gradients of each graph for good, and with them the graph; over
    the whole suite that would be more memory than a laptop has.
    """
    with _gradients_forgotten():
        yield


@pytest.fixture(autouse=True)
def _forget_gradients_of_runs(request):
    """The same after each test of a file of whole runs, none of which needs another one's
    graphs."""
    if request.path.parent.name != "main":
        yield
        return
    with _gradients_forgotten():
        yield


@contextlib.contextmanager
def _gradients_forgotten():
    registered = gradient_registry._registry
    before = set(registered)
    yield
    for name in set(registered) - before:
        del registered[name]
    gc.collect()
    gc.freeze()  # what has outlived its test is shared, and outlives the next one too


@pytest.fixture(autouse=True)
def _fresh_keras():
    """No test sees the layer names, the seed or the precision another one left."""
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    yield
    tf.keras.mixed_precision.set_global_policy("float32")
