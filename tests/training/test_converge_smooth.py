"""ConvergeSmooth: its loss by hand in every situation, its state over epochs, replicas and
resumes."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf.training import SAM, AdversarialModel, create, create_optimizer
from sat_tf.training import converge_smooth as converge
from sat_tf.training.methods import cross_entropy

pytestmark = pytest.mark.smoke

LABELS = tf.constant([0, 1])
CLEAN, ATTACKED = tf.constant([[2.0, 0.0], [0.0, 1.0]]), tf.constant([[0.0, 1.0], [0.5, 0.0]])
IMAGES, ADVERSARIAL = tf.zeros([2, 2, 2, 3]), tf.ones([2, 2, 2, 3])
BENIGN = np.log1p(np.exp([-2.0, -1.0]))
HARMED = np.log1p(np.exp([1.0, 0.5]))


def _state(means, **settings):
    method = converge.converge_smooth(epsilon=0.1, boundaries=(0, 9), **settings)
    method.state.build()
    method.state.active.assign(True)
    for variable, mean in zip(method.state.means, means):
        variable.assign(mean)
    return method


def _loss(method):
    return method.loss(
        lambda images: CLEAN if images is IMAGES else ATTACKED, IMAGES, ADVERSARIAL, LABELS
    )[0]


MEAN = BENIGN.mean()
SITUATIONS = {  # (last mean, the one before), settings -> direction
    "over": (((MEAN - 0.1, 0.0), {}), 1),
    "under": (((MEAN + 0.1, 0.0), {}), -1),
    "near": (((MEAN - 0.02, 0.0), {}), 0),
    "near enough for a wide threshold": (((MEAN - 0.1, 0.0), dict(threshold=0.2)), 0),
    # With ratio 4 the threshold is between 0.01 and 0.04, here the last change of 0.02.
    "over what the means moved by": (
        ((MEAN - 0.03, MEAN - 0.05), dict(threshold=0.04, ratio=4.0)),
        1,
    ),
    "within what the means moved by": (
        ((MEAN - 0.01, MEAN - 0.03), dict(threshold=0.04, ratio=4.0)),
        0,
    ),
    "above the least threshold": (((MEAN - 0.02, MEAN), dict(threshold=0.04, ratio=4.0)), 1),
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_loss_by_hand(situation, weight):
    (means, settings), direction = SITUATIONS[situation]
    method = _state(means, weight=weight, **settings)
    np.testing.assert_allclose(_loss(method), HARMED + weight * direction * BENIGN, rtol=1e-5)
    method.state.active.assign(False)
    np.testing.assert_allclose(_loss(method), HARMED, rtol=1e-5)


def test_active_inside_the_segments_only():
    state = converge.State(threshold=0.03, ratio=1, stride=1, boundaries=(0, 5, 9.5))
    assert [epoch for epoch in range(12) if state.is_active(epoch)] == [2, 3, 7, 8]
    assert not converge.State(threshold=0.03, ratio=1, stride=0, boundaries=()).is_active(3)


def test_means_follow_the_epochs():
    state = converge.State(threshold=0.03, ratio=1, stride=1, boundaries=(0, 9))
    state.build()
    for epoch, losses in enumerate([[1.0, 3.0], [5.0], [7.0]]):
        state.begin_epoch(epoch)
        for loss in losses:
            state.update({"benign_loss": tf.fill([4], loss)})
            state.begin_epoch(epoch)  # an interruption in the middle changes nothing
    assert [float(mean.numpy()) for mean in state.means] == [5.0, 2.0]
    state.begin_epoch(3)
    assert [float(mean.numpy()) for mean in state.means] == [7.0, 5.0]
    assert bool(state.active.numpy())


def _model(strategy=None, *, boundaries=(0, 9), sam=None):
    strategy = strategy or tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(0)
    method = create("converge_smooth", epsilon=0.05, boundaries=boundaries, threshold=0.001)
    with strategy.scope():
        model = AdversarialModel(tiny.network(batch_norm=False), method, sam=sam)
        model.compile(create_optimizer("sgd", 0.1))
    return model


def _batches():
    return tf.data.Dataset.from_tensor_slices(tiny.examples(16)).batch(8)


@pytest.mark.slow
def test_state_is_resumed_exactly(tmp_path):
    whole = _model()
    whole.fit(_batches(), epochs=6, verbose=0)
    parts = _model()
    parts.fit(_batches(), epochs=3, verbose=0)
    prefix = parts.training_state.write(str(tmp_path / "state"))
    resumed = _model()
    resumed.training_state.read(prefix).assert_consumed()
    resumed.fit(_batches(), initial_epoch=3, epochs=6, verbose=0)
    for a, b in zip(whole.classifier.weights, resumed.classifier.weights):
        np.testing.assert_array_equal(a, b)
    forgetful = _model()
    forgetful.training_state.read(prefix)
    for mean in forgetful.method.state.means:
        mean.assign(0.0)
    forgetful.method.state.total.assign(0.0)
    forgetful.fit(_batches(), initial_epoch=3, epochs=6, verbose=0)
    assert any(
        np.abs(a.numpy() - b.numpy()).max() > 1e-6  # so the state matters
        for a, b in zip(whole.classifier.weights, forgetful.classifier.weights)
    )


def test_the_outlier_is_of_the_global_batch(mirrored):
    """Replica 0 is over the mean and replica 1 under it; both hear of the sum of the two."""
    model = _model(mirrored)
    state = model.method.state
    state.active.assign(True)
    state.means[0].assign(1.0)

    @tf.function
    def directions():
        def of_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            losses = tf.where(replica == 0, tf.fill([4], 5.0), tf.fill([4], -1.0))
            state.update({"benign_loss": losses})
            return state.direction(losses)

        return mirrored.experimental_local_results(mirrored.run(of_replica))

    assert [float(d) for d in directions()] == [1.0, 1.0]  # the mean is 2
    state.begin_epoch(1)
    assert float(state.means[0].numpy()) == 2.0


def test_a_ratio_below_one_is_refused():
    with pytest.raises(ValueError, match="ratio=0.5"):
        converge.converge_smooth(epsilon=0.1, ratio=0.5)


def test_a_state_is_of_one_model():
    method = create("converge_smooth", epsilon=0.05)
    AdversarialModel(tiny.network(), method)
    with pytest.raises(ValueError, match="belongs to one model"):
        AdversarialModel(tiny.network(), method)


def test_both_passes_of_sam_go_in_the_direction_of_the_first():
    """At w the batch is under the mean; at w + e, far away, it is over it."""
    model = _model(sam=SAM(rho=5.0))
    state = model.method.state
    images, labels = tiny.examples(8)
    state.means[0].assign(float(tf.reduce_mean(cross_entropy(model.logits(images), labels))) + 0.1)
    state.active.assign(True)
    directions, losses, plain = [], [], state.direction

    def spy(benign):
        directions.append(float(plain(benign)))
        losses.append(float(tf.reduce_mean(benign)))
        return tf.constant(directions[-1])

    state.direction = spy
    model.run_eagerly = True
    model.train_step((tf.constant(images), tf.constant(labels)))
    assert losses[0] < float(state.means[0].numpy()) < losses[1]
    assert directions == [-1.0, -1.0]
