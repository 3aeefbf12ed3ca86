"""The attack loop in training, and on several replicas."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from attacked import EPSILON, IMAGES, LABELS, linear, make_conv_net

from sat_tf.attacks import COMPILED_FORMS, cross_entropy, pgd

pytestmark = pytest.mark.smoke


class Attacked(tf.keras.Model):
    """A model whose train_step (run by Keras without AutoGraph) attacks its batch."""

    def __init__(self, compiled, random_start):
        super().__init__()
        self.net = make_conv_net()
        self.settings = dict(
            epsilon=EPSILON, num_steps=2, compiled=compiled, random_start=random_start
        )
        self.traces = 0

    def logits(self, images):
        self.traces += 1
        return self.net(images, training=False)

    def train_step(self, data):
        images, labels = data
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
        attacked = pgd(self.logits, images, labels, tf.stack([1, replica]), **self.settings)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(cross_entropy(self.net(attacked, training=True), labels))
        weights = self.net.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        num_replicas = tf.distribute.get_strategy().num_replicas_in_sync  # Keras sums over them
        return {"loss": loss, "moved": tf.reduce_max(tf.abs(attacked - images)) / num_replicas}


# Each strategy and each form once a day; the other pairs of them are slow.
DAILY = {("default", "loop"), ("one_device", "step"), ("mirrored", "none")}


@pytest.mark.parametrize(
    "kind, compiled",
    [
        pytest.param(*pair, marks=[] if pair in DAILY else pytest.mark.slow)
        for pair in itertools.product(("default", "one_device", "mirrored"), COMPILED_FORMS)
    ],
)
def test_works_inside_a_keras_train_step(kind, compiled, mirrored):
    strategy = {
        "default": tf.distribute.get_strategy(),
        "mirrored": mirrored,
        "one_device": tf.distribute.OneDeviceStrategy("CPU:0"),
    }[kind]
    with strategy.scope():
        model = Attacked(compiled, random_start=True)
        model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).repeat(4).batch(6)
    history = model.fit(data, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    np.testing.assert_allclose(history["moved"], EPSILON, atol=1e-5)
    assert model.traces <= 2 * strategy.num_replicas_in_sync  # Keras may trace a step twice


def attack_on(strategy, logits_fn, **settings):
    def replica(images, labels):
        index = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
        return pgd(
            logits_fn,
            images,
            labels,
            tf.stack([1, index]),
            epsilon=EPSILON,
            num_steps=3,
            **settings,
        )

    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(6)
    batch = next(iter(strategy.experimental_distribute_dataset(data)))
    result = tf.function(lambda *batch: strategy.run(replica, batch))(*batch)
    return [part.numpy() for part in strategy.experimental_local_results(result)]


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_one_replica_equals_two_without_a_random_start(mirrored, compiled):
    (one,) = attack_on(tf.distribute.get_strategy(), linear, random_start=False, compiled=compiled)
    two = attack_on(mirrored, linear, random_start=False, compiled=compiled)
    assert [len(part) for part in two] == [3, 3]
    np.testing.assert_allclose(np.concatenate(two), one, atol=1e-6)


def test_replicas_start_from_different_noise(mirrored):
    def replica():
        index = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
        return pgd(
            linear,
            tf.fill([2, 8, 8, 3], 0.5),
            tf.constant([0, 1]),
            tf.stack([1, index]),
            epsilon=EPSILON,
            num_steps=1,
            step_size=0.0,
        )

    result = tf.function(lambda: mirrored.run(replica))()
    first, second = (part.numpy() for part in mirrored.experimental_local_results(result))
    assert np.mean(first == second) < 0.01
