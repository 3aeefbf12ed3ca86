"""Auto-PGD eagerly, as a graph and compiled; networks that are random; what it refuses."""

import numpy as np
import pytest
import tensorflow as tf
from apgd_twin import (
    EPSILONS,
    IMAGES,
    NEAR_PEAK,
    SHAPE,
    SLOPES,
    WEIGHTS,
    ZEROS,
    broken,
    linear,
    network,
    run,
    states,
)
from attacked import op_by_op

from sat_tf.attacks import COMPILED_FORMS
from sat_tf.attacks.apgd import apgd, apgd_search

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    "loss, norm, restarts",
    [
        pytest.param("ce", "linf", 2, marks=pytest.mark.slow),
        ("dlr", "l2", 1),
        ("dlr-targeted", "linf", 1),
    ],
)
def test_every_form_agrees_with_the_eager_loop(loss, norm, restarts):
    settings = dict(
        loss=loss, norm=norm, epsilon=EPSILONS[norm], num_steps=6, restarts=restarts, num_targets=1
    )
    with op_by_op():
        eager = apgd(network, NEAR_PEAK, ZEROS, 2, **settings)
    assert np.abs(eager.numpy() - NEAR_PEAK).max() > 0.05
    for compiled in COMPILED_FORMS:
        np.testing.assert_allclose(
            run(network, NEAR_PEAK, ZEROS, 2, compiled=compiled, **settings),
            eager,
            atol=1e-5,
            err_msg=compiled,
        )


def test_one_compiled_program_breaks_as_many_examples_of_a_network_with_more_classes():
    images = np.random.RandomState(1).uniform(0.2, 0.8, (64,) + SHAPE).astype("float32")
    deep = lambda images: tf.nn.swish(linear(images - 0.5) @ WEIGHTS[:5]) @ WEIGHTS[5:10]
    labels = deep(images).numpy().argmax(-1).astype("int32")
    shares = {}
    for compiled in ("none", "loop"):
        attacked = run(
            deep,
            images,
            labels,
            loss="dlr-targeted",
            num_targets=2,
            epsilon=0.02,
            num_steps=20,
            eot=2,
            compiled=compiled,
        )
        shares[compiled] = broken(deep, attacked, labels).mean()
    assert 0.1 < shares["none"] < 0.9 and abs(shares["none"] - shares["loop"]) < 0.04


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_graph_size_grows_with_nothing_and_the_batch_size_may_be_unknown(compiled):
    def attack(**settings):
        attack = tf.function(
            lambda images, labels: apgd(
                network,
                images,
                labels,
                0,
                loss="dlr-targeted",
                epsilon=0.2,
                num_targets=1,
                compiled=compiled,
                **settings,
            ),
            input_signature=[tf.TensorSpec((None,) + SHAPE), tf.TensorSpec([None], tf.int32)],
        )
        graph = attack.get_concrete_function().graph.as_graph_def()
        return attack, sum(len(function.node_def) for function in graph.library.function)

    few, size = attack(num_steps=3, eot=2)
    assert size == attack(num_steps=90, eot=20)[1]
    assert few(NEAR_PEAK, ZEROS).shape == NEAR_PEAK.shape


# Networks that are random.


def test_loss_and_gradient_are_means_over_passes_through_a_random_network():
    noises = []

    def random_network(images):
        noises.append(np.random.uniform(0.5, 1.5))
        second = noises[-1] * (tf.reshape(images, [-1, 48]) @ SLOPES[:, None] - 99)
        return tf.concat([tf.zeros_like(second), second], -1)

    search = apgd_search("dlr", epsilon=0.01, eot=5)
    images = tf.constant(IMAGES)
    state = search.begin(random_network, images, ZEROS, tf.constant([0, 1]), ZEROS)
    new = search.step(random_network, images, ZEROS, state, ZEROS)
    assert len(noises) == 5 == len(set(noises))
    mean = np.mean(noises)
    margin = state["current"].numpy().reshape(8, 48) @ SLOPES - 99
    np.testing.assert_allclose(new["last"], mean * margin, rtol=1e-5)
    np.testing.assert_allclose(new["gradient"][0], mean * SLOPES.reshape(SHAPE), rtol=1e-5)


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_a_graph_draws_anew_in_each_pass(compiled):
    def random_network(images):
        second = tf.random.normal([]) - 99 + 0 * tf.reshape(images, [-1, 48])[:, :1]
        return tf.concat([tf.zeros_like(second), second], -1)

    search = apgd_search("dlr", epsilon=0.01, eot=400, compiled=compiled, num_steps=1)
    last = states(search, random_network, IMAGES, ZEROS)[-1]["last"].numpy()
    assert np.abs(last + 99).max() < 0.25  # 5 standard deviations


# What it refuses.


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"loss": "cw"}, "unknown loss 'cw'; known: ce, dlr, dlr-targeted"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"restarts": 0}, "restarts=0"),
        ({"num_targets": 0}, "num_targets=0"),
        ({"eot": 1.5}, "eot=1.5"),
        ({"epsilon": -1}, "epsilon=-1"),
        ({"norm": "l1"}, "norm='l1'"),
        ({"bounds": (1, 0)}, r"bounds=\(1, 0\)"),
        ({"loss_scale": 0.0}, "loss_scale=0.0"),
        ({"compiled": "yes"}, "'yes': allowed are none, step, loop"),
        ({"logits_fn": lambda images: tf.zeros([8, 4])}, "not differentiable"),
        ({"loss": "dlr", "logits_fn": lambda images: images[:, 0, 0, :1]}, "at least 2 classes"),
    ],
)
def test_values_out_of_range_are_refused_by_name(settings, message):
    arguments = {
        "logits_fn": linear,
        "images": IMAGES,
        "labels": ZEROS,
        "seed": 0,
        "epsilon": 0.1,
        "num_steps": 1,
        **settings,
    }
    with pytest.raises(ValueError, match=message):
        apgd(**arguments)


def test_images_out_of_range_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="images must be within"):
        apgd(linear, 255 * IMAGES, ZEROS, 0, epsilon=0.1, num_steps=1)
