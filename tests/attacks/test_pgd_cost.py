"""What the attack loop costs in traces, gradients and memory."""

import functools
import gc

import pytest
import tensorflow as tf
from attacked import (
    EPSILON,
    IMAGES,
    LABELS,
    Counting,
    executed_ops,
    functions_of,
    linear,
    logits_fn,
)

from sat_tf.attacks import COMPILED_FORMS, pgd

pytestmark = pytest.mark.smoke


@functools.cache
def traced(compiled):
    """The attack of the convolutional network as a tf.function, the same one for all tests."""
    return tf.function(
        lambda x, y, s: pgd(logits_fn, x, y, s, epsilon=EPSILON, num_steps=3, compiled=compiled)
    )


def batch(number):
    return tf.constant(IMAGES), tf.constant(LABELS), tf.constant([0, number])


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_traces_grow_neither_with_steps_nor_with_batches(compiled):
    for num_steps in (1, 2, 50):
        counting = Counting(linear)
        attack = tf.function(
            lambda x, y, s: pgd(
                counting, x, y, s, epsilon=EPSILON, num_steps=num_steps, compiled=compiled
            )
        )
        for number in range(3 if num_steps < 50 else 1):
            attack(*batch(number))
        assert counting.calls == 1


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_graph_size_does_not_grow_with_steps_or_restarts(compiled):
    def size(num_steps, restarts):
        attack = tf.function(
            lambda: pgd(
                linear,
                IMAGES,
                LABELS,
                0,
                epsilon=EPSILON,
                num_steps=num_steps,
                restarts=restarts,
                compiled=compiled,
            )
        )
        return sum(len(function.node_def) for function in functions_of(attack))

    assert size(2, 2) == size(90, 2) == size(2, 30)


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_no_weight_gradient_is_executed(compiled):
    # TensorFlow's gradient of a convolution always writes both halves down; the one for the
    # weights must lead nowhere, so that it is dropped before anything runs.
    functions = functions_of(traced(compiled), *batch(0))
    ops = [op for function in functions for op in executed_ops(function)]
    assert ops.count("Conv2D") == ops.count("Conv2DBackpropInput") == 1
    assert "Conv2DBackpropFilter" not in ops
    assert ops.count("MatMul") == 2  # the dense layer, forward and towards the images


@pytest.mark.parametrize("compiled, programs", [("none", []), ("step", [0]), ("loop", [1])])
def test_the_form_decides_what_xla_compiles(compiled, programs):
    loops_in_programs = [
        sum(node.op in ("While", "StatelessWhile") for node in function.node_def)
        for function in functions_of(traced(compiled), *batch(0))
        if function.attr["_XlaMustCompile"].b
    ]
    assert loops_in_programs == programs


def test_compiled_program_has_two_convolutions():
    attack = tf.function(
        lambda: pgd(logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=2, random_start=False),
        jit_compile=True,
    )
    program = attack.experimental_get_compiler_ir()(stage="optimized_hlo")
    assert program.count(" convolution(") == 2  # forward, and towards the images


def test_no_variable_is_watched(monkeypatch):
    watched = []
    original = tf.GradientTape.gradient

    def spy(tape, target, sources, **kwargs):
        watched.extend(tape.watched_variables())
        return original(tape, target, sources, **kwargs)

    monkeypatch.setattr(tf.GradientTape, "gradient", spy)
    pgd(logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=2)
    assert watched == []


def test_gradients_stop_at_the_result():
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        attacked = pgd(logits_fn, images, LABELS, 0, epsilon=EPSILON, num_steps=2)
    assert tape.gradient(attacked, images) is None


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_nothing_is_left_behind_by_a_batch(compiled):
    attack = traced(compiled)

    def live_tensors_after(numbers):
        for number in numbers:
            attack(*batch(number))
        gc.collect()
        return sum(isinstance(thing, tf.Tensor) for thing in gc.get_objects())

    attack(*batch(0))  # the function is shared with other tests, which may have traced it before
    traces = attack.experimental_get_tracing_count()
    first = live_tensors_after(range(2))
    assert live_tensors_after(range(2, 12)) <= first
    assert attack.experimental_get_tracing_count() == traces
