"""Strategies by name, on two logical CPU devices, and what is refused."""

import pytest
import tensorflow as tf

from sat_tf import distribution, errors, seeds
from tpu import connect

# None: refused where nobody says which TPU, or which workers.
REPLICAS = {"auto": 2, "one_device": 1, "mirrored": 2, "multi_worker": None, "tpu": None}
REFUSALS = {
    "tpu": "no TPU was named; give --tpu=NAME",
    "multi_worker": "who the workers are is not said; give --workers=HOST:PORT",
}


def test_every_strategy_is_tested():
    assert set(REPLICAS) == set(distribution.STRATEGIES)


@pytest.mark.parametrize("name", REPLICAS)
def test_replicas_and_device(name):
    if REPLICAS[name] is None:
        with pytest.raises(errors.UserError, match=REFUSALS[name]):
            distribution.create(name)
        return
    strategy = distribution.create(name)
    assert strategy.num_replicas_in_sync == REPLICAS[name]
    assert distribution.local_replicas(strategy) == REPLICAS[name]
    assert distribution.worker_of(strategy) == (0, 1)
    assert distribution.device_type(strategy) == "CPU"


def test_unknown_strategies_are_refused_with_the_known():
    with pytest.raises(ValueError, match="unknown strategy 'ring'; known: auto, one_device"):
        distribution.create("ring")


def test_several_strategies_in_one_process_work(mirrored):
    for strategy in (mirrored, distribution.create("mirrored")):
        total = strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.SUM, tf.constant(1.0)
            )
        )
        assert float(strategy.experimental_local_results(total)[0]) == 2.0


def test_a_batch_must_divide_by_the_replicas():
    distribution.check_divisible("batch_size", 6, 2)
    distribution.check_divisible("batch_size", 7, 1)
    with pytest.raises(
        errors.UserError,
        match="--batch_size=7: not divisible by the 2 replicas; give a multiple, such as 8",
    ):
        distribution.check_divisible("batch_size", 7, 2)


@pytest.mark.parametrize(
    "precision, compute", [("float32", "float32"), ("bfloat16", "bfloat16"), ("float16", "float16")]
)
def test_precision_is_of_the_computation_not_of_the_weights(precision, compute):
    distribution.set_precision(precision)
    layer = tf.keras.layers.Dense(2)
    assert layer(tf.ones([1, 3])).dtype == compute and layer.kernel.dtype == "float32"


def test_streams_steps_and_replicas_have_their_own_seeds(mirrored):
    own = {
        tuple(seeds.stream_seed(seed, stream, number).numpy())
        for seed in (0, 1)
        for stream in range(4)
        for number in range(5)
    }
    assert len(own) == 2 * 4 * 5
    drawn = mirrored.run(lambda: seeds.replica_seed(0, seeds.TRAINING_ATTACK, tf.constant(3)))
    first, second = (tuple(s.numpy()) for s in mirrored.experimental_local_results(drawn))
    assert first != second


@pytest.mark.parametrize("name", ["local", "grpc://127.0.0.1:1/x"])
def test_without_a_tpu_connecting_is_one_clear_line(name, monkeypatch):
    # A real address would be dialled for minutes; the rest of the path is the real one.
    def unreachable(resolver):
        raise tf.errors.UnavailableError(None, None, "failed to connect\nto all addresses")

    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", unreachable)
    with pytest.raises(
        ValueError, match=f"--tpu={name}: no TPU there .*; run on a TPU VM"
    ) as refusal:
        connect.connect(name)
    assert "\n" not in str(refusal.value)


def test_replicas_and_workers_deal_out_each_global_batch(mirrored):
    """The two replicas of the one worker there is here; the shares of more are tests of data."""
    asked = []

    def share_of(worker, num_workers):
        asked.append((worker, num_workers))
        return tf.data.Dataset.range(12).batch(6, drop_remainder=True)

    parts = [
        [local.numpy().tolist() for local in mirrored.experimental_local_results(batch)]
        for batch in distribution.deal(mirrored, 6, share_of)
    ]
    assert parts == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert asked == [(0, 1)]
