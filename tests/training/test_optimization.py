"""Schedules against hand-computed rates, RMSprop against TensorFlow 1, decay and averaging."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf.training import optimization
from sat_tf.training.weight_average import WeightAverage

EXPECTED_RATES = {  # at steps 0, 5, 25, 50, 75, 99 of 100, 10 to an epoch
    "constant": [1, 1, 1, 1, 1, 1],
    "step": [1, 1, 1, 0.1, 0.01, 0.001],
    "late_step": [1, 1, 1, 1, 1, 0.01],
    "exponential": [1, 1, 0.97, 0.97**2, 0.97**3, 0.97**4],
    "cosine": [1, 0.993844, 0.853553, 0.5, 0.146447, 0.000247],
    "triangular": [0, 0.1, 0.5, 1, 0.5, 0.02],
}


def test_every_schedule_is_tested():
    assert set(EXPECTED_RATES) == set(optimization.SCHEDULES)


@pytest.mark.parametrize("name", EXPECTED_RATES)
def test_schedule_rates(name):
    schedule = optimization.Schedule(name, learning_rate=2.0, total_steps=100, steps_per_epoch=10)
    rates = [float(schedule(step)) for step in (0, 5, 25, 50, 75, 99)]
    np.testing.assert_allclose(rates, 2.0 * np.array(EXPECTED_RATES[name]), atol=2e-6, rtol=1e-5)


def test_step_drops_are_the_releases_epochs_over_100():
    schedule = optimization.Schedule(
        "step", learning_rate=1.0, total_steps=1000, steps_per_epoch=10
    )
    drops = [
        epoch
        for epoch in range(1, 100)
        if float(schedule(10 * epoch)) < 0.5 * float(schedule(10 * epoch - 1))
    ]
    assert drops == [30, 60, 90]


def test_warmup_is_linear_from_its_start():
    schedule = optimization.Schedule(
        "constant",
        learning_rate=0.5,
        total_steps=100,
        steps_per_epoch=10,
        warmup_steps=4,
        warmup_learning_rate=0.1,
    )
    np.testing.assert_allclose(
        [float(schedule(s)) for s in range(6)], [0.1, 0.2, 0.3, 0.4, 0.5, 0.5], rtol=1e-6
    )


def test_cosine_begins_after_the_warmup():
    schedule = optimization.Schedule(
        "cosine", learning_rate=1.0, total_steps=110, steps_per_epoch=10, warmup_steps=10
    )
    np.testing.assert_allclose([float(schedule(10)), float(schedule(60))], [1.0, 0.5], rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimization.Schedule("linear", learning_rate=1, total_steps=1, steps_per_epoch=1),
        lambda: optimization.create_optimizer("lamb", 0.1),
        lambda: optimization.decayed_variables([], "all"),
    ],
)
def test_unknown_names_list_the_known(make):
    with pytest.raises(ValueError, match="known: .*(step|sgd|kernels)"):
        make()


def test_rmsprop_takes_tensorflow_1_steps():
    gradients = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    ours = tf.Variable([1.0, -2.0, 0.5])
    optimizer = optimization.create_optimizer("rmsprop", 0.1)
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient), ours)])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        theirs = tf.compat.v1.Variable([1.0, -2.0, 0.5], use_resource=True)
        holder = tf.compat.v1.placeholder(tf.float32, [3])
        update = tf.compat.v1.train.RMSPropOptimizer(
            0.1, decay=0.9, momentum=0.9, epsilon=1e-3
        ).apply_gradients([(holder, theirs)])
        session.run(tf.compat.v1.global_variables_initializer())
        for gradient in gradients:
            session.run(update, {holder: gradient})
        expected = session.run(theirs)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5)


def test_sgd_is_nesterov_momentum():
    variable = tf.Variable([1.0])
    optimizer = optimization.create_optimizer("sgd", 0.1)
    velocity, expected = 0.0, 1.0
    for gradient in (1.0, -0.5, 2.0):
        optimizer.apply_gradients([(tf.constant([gradient]), variable)])
        velocity = 0.9 * velocity - 0.1 * gradient
        expected += 0.9 * velocity - 0.1 * gradient
    np.testing.assert_allclose(variable.numpy(), [expected], rtol=1e-6)


def test_decayed_variables_follow_the_release():
    variables = tiny.network().trainable_variables

    def names(on):
        return [
            v.name.split("/")[-1].split(":")[0]
            for v in optimization.decayed_variables(variables, on)
        ]

    assert names("kernels") == ["kernel", "kernel"]
    assert names("all_but_batch_norm") == ["kernel", "bias", "kernel", "bias"]


def test_weight_decay_loss_is_half_the_squares():
    variables = [tf.Variable([3.0, 4.0]), tf.Variable([[1.0]])]
    assert float(optimization.weight_decay_loss(variables, 0.1)) == pytest.approx(0.1 * 26 / 2)
    assert float(optimization.weight_decay_loss(variables, 0.0)) == 0.0


def test_average_ramps_and_covers_statistics():
    model = tiny.network()
    average = WeightAverage(model, decay=0.5)
    expected = [w.numpy() for w in model.weights]
    for step in range(3):
        for weight in model.weights:
            weight.assign_add(tf.ones_like(weight))
        average.update(tf.constant(step, tf.int64))
        decay = min(0.5, (1 + step) / (10 + step))
        expected = [decay * e + (1 - decay) * w.numpy() for e, w in zip(expected, model.weights)]
    assert len(average.averages) == len(model.weights)  # moving mean and variance too
    for value, target in zip(average.averages, expected):
        np.testing.assert_allclose(value.numpy(), target, rtol=1e-5)


def test_average_in_classifier_gives_the_live_weights_back_bitwise():
    model = tiny.network()
    average = WeightAverage(model, decay=0.5)
    model.weights[0].assign_add(tf.ones_like(model.weights[0]))
    live, averaged = model.weights[0].numpy(), average.averages[0].numpy()
    with pytest.raises(RuntimeError), average.in_classifier():
        np.testing.assert_array_equal(model.weights[0].numpy(), averaged)
        raise RuntimeError("evaluation failed")
    np.testing.assert_array_equal(model.weights[0].numpy(), live)
    np.testing.assert_array_equal(average.averages[0].numpy(), averaged)


def test_drops_of_ones_own():
    schedule = optimization.Schedule(
        "step", learning_rate=1.0, total_steps=100, steps_per_epoch=10, drops=(0.5, 0.75)
    )
    assert [float(schedule(step)) for step in (49, 50, 74, 75)] == pytest.approx(
        [1, 0.1, 0.1, 0.01]
    )
    restored = optimization.Schedule.from_config(schedule.get_config())
    assert float(restored(75)) == pytest.approx(0.01)
