"""A network to attack, a SavedModel that plain TensorFlow loads, and the table of what was
found."""

import numpy as np
import pytest
import tensorflow as tf

import sat_tf
from benchmarks.peers import agreement

_rows = []


@pytest.fixture(scope="session")
def rows():
    """A list of rows of `agreement.compare`; what tests add is printed after the last one."""
    return _rows


def pytest_terminal_summary(terminalreporter):
    if _rows:
        terminalreporter.section("agreement with other libraries")
        terminalreporter.write_line(agreement.markdown(_rows))


@pytest.fixture(scope="session")
def examples():
    """520 digits, all 360 test images and 160 others: float32 [520, 8, 8, 3] in [0, 1], int32."""
    digits = sat_tf.data.load("digits")
    images = np.concatenate([digits.eval.images, digits.train.images[:160]])
    labels = np.concatenate([digits.eval.labels, digits.train.labels[:160]])
    return np.float32(images / 255), labels


@pytest.fixture(scope="session")
def logits_fn(tmp_path_factory):
    """A small network trained against PGD at epsilon 0.1, exported, and loaded without sat_tf."""
    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    classifier = tf.keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(16, 3, padding="same", activation="swish"),
            layers.Conv2D(32, 3, 2, padding="same", activation="swish"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    model = sat_tf.AdversarialModel(
        classifier, sat_tf.training.create("pgd", epsilon=0.1, num_steps=3), clean_epochs=2
    )
    model.compile(tf.keras.optimizers.Adam(3e-3))
    train = sat_tf.data.load("digits").train
    model.fit(np.float32(train.images / 255), train.labels, batch_size=64, epochs=8, verbose=0)
    path = tmp_path_factory.mktemp("peers") / "saved_model"
    sat_tf.saved_models.export(classifier, path, image_size=8)
    loaded = tf.saved_model.load(str(path))
    return lambda images: loaded.logits(images)  # which keeps the model alive
