"""The attack loop: what it computes, and what it costs in traces, gradients and memory."""

import gc

import numpy as np
import pytest
import tensorflow as tf

from sat_tf.attacks import (
    COMPILED_FORMS,
    compiled_form,
    cross_entropy,
    default_step_size,
    fgsm,
    pgd,
    pgd_search,
)

pytestmark = pytest.mark.smoke

EPSILON = 8 / 255
RNG = np.random.RandomState(0)
IMAGES = RNG.rand(6, 8, 8, 3).astype("float32")
LABELS = (np.arange(6) % 4).astype("int32")
TEMPLATES = RNG.randn(8 * 8 * 3, 4).astype("float32")


def linear(images):
    return tf.reshape(images, [-1, 8 * 8 * 3]) @ TEMPLATES


def make_conv_net(dtype="float32"):
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Conv2D(8, 3, activation="swish", input_shape=(8, 8, 3), dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.GlobalAveragePooling2D(dtype=dtype),
            layers.Dense(4, dtype=dtype),
        ]
    )


class Counting:
    """A logits_fn that counts its calls: traces, when inside a graph."""

    def __init__(self, logits_fn):
        self.logits_fn, self.calls = logits_fn, 0

    def __call__(self, images):
        self.calls += 1
        return self.logits_fn(images)


@pytest.fixture(scope="module")
def conv_net():
    tf.keras.utils.set_random_seed(1)
    return make_conv_net()


@pytest.fixture
def logits_fn(conv_net):
    return lambda images: conv_net(images, training=False)


def functions_of(function, *arguments):
    """The graph of a tf.function as FunctionDefs: itself, and the loop bodies and calls in it."""
    concrete = function.get_concrete_function(*arguments)
    return [concrete.function_def, *concrete.graph.as_graph_def().library.function]


def executed_ops(function_def):
    """The ops on which the outputs depend.  TensorFlow never runs the other ones."""
    nodes = {node.name: node for node in function_def.node_def}
    reached = set()
    waiting = [*function_def.ret.values(), *function_def.control_ret.values()]
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name in nodes and name not in reached:
            reached.add(name)
            waiting.extend(nodes[name].input)
    return [nodes[name].op for name in reached]


# What it computes.


def test_linear_model_has_the_closed_form():
    # With two classes the gradient of a linear model is one direction, whatever the image.
    pair = TEMPLATES[:, :2]
    labels = np.array([0, 1, 0, 1, 0, 1], "int32")
    weights = (pair[:, 1] - pair[:, 0]).reshape(8, 8, 3)
    sign = np.sign(weights) * np.where(labels == 0, 1, -1)[:, None, None, None]
    expected = np.clip(IMAGES + EPSILON * sign, 0, 1)
    two_class = lambda images: tf.reshape(images, [-1, 192]) @ pair
    attacked = pgd(two_class, IMAGES, labels, 0, epsilon=EPSILON, num_steps=20)
    np.testing.assert_allclose(attacked, expected, atol=1e-6)
    np.testing.assert_allclose(
        fgsm(two_class, IMAGES, labels, epsilon=EPSILON), expected, atol=1e-6
    )
    one_step = pgd(
        two_class,
        IMAGES,
        labels,
        0,
        epsilon=EPSILON,
        num_steps=1,
        step_size=1 / 255,
        random_start=False,
    )
    np.testing.assert_allclose(one_step, np.clip(IMAGES + sign / 255, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_steps": 1, "step_size": 0.5},
        {"restarts": 2},
        {"clip_start": True},
        {"clean_start_probability": 0.5},
        {"bounds": (0.25, 0.75)},
        {"epsilon": 0.0},
        {"epsilon": 1.0},
    ],
    ids=str,
)
def test_result_stays_in_the_ball_and_in_range(logits_fn, settings):
    settings = {"epsilon": EPSILON, "num_steps": 3, **settings}
    low, high = settings.get("bounds", (0.0, 1.0))
    images = np.clip(IMAGES, low, high)
    attacked = pgd(logits_fn, images, LABELS, 3, **settings).numpy()
    assert attacked.dtype == np.float32 and attacked.shape == images.shape
    assert np.abs(attacked - images).max() <= settings["epsilon"] + 1e-6
    assert low <= attacked.min() and attacked.max() <= high


def test_attack_raises_the_loss(logits_fn):
    attacked = pgd(logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=5)
    before, after = (cross_entropy(logits_fn(x), LABELS).numpy() for x in (IMAGES, attacked))
    assert (after > before).all()


def test_result_depends_on_the_seed_and_on_nothing_else(logits_fn):
    run = lambda seed: pgd(logits_fn, IMAGES, LABELS, seed, epsilon=EPSILON, num_steps=2).numpy()
    np.testing.assert_array_equal(run(5), run(5))
    np.testing.assert_array_equal(run((1, 5)), run(tf.constant([1, 5], tf.int64)))
    np.testing.assert_array_equal(run((1, 5)), run(tf.constant([1, 5], tf.int32)))
    assert np.abs(run(5) - run(6)).max() > 0 and np.abs(run((1, 5)) - run((2, 5))).max() > 0
    state = tf.random.get_global_generator().state.numpy()
    run(7)
    np.testing.assert_array_equal(tf.random.get_global_generator().state.numpy(), state)


def noises(seeds, **settings):
    """The noise with which attacks of mid-grey images start: that is all a step of 0 leaves."""
    grey = np.full((4, 8, 8, 3), 0.5, "float32")
    attack = tf.function(
        lambda seed: (
            pgd(
                linear,
                grey,
                LABELS[:4],
                seed,
                epsilon=EPSILON,
                num_steps=1,
                step_size=0.0,
                **settings,
            )
            - grey
        )
    )
    return np.stack([attack(tf.constant([0, seed])) for seed in seeds])


def test_start_is_uniform_in_the_ball():
    noise = noises(range(40)) / EPSILON
    assert np.abs(noise).max() <= 1 + 1e-5
    counts, _ = np.histogram(noise, 10, (-1.0001, 1.0001))
    assert np.abs(counts / noise.size - 0.1).max() < 0.01
    assert not np.array_equal(noise[0, 0], noise[0, 1])  # every example has its own


def test_clean_start_is_drawn_once_per_batch_and_as_often_as_asked():
    share_of_zeros = np.mean(noises(range(300), clean_start_probability=0.2) == 0, (1, 2, 3, 4))
    clean = share_of_zeros == 1
    assert (clean | (share_of_zeros < 0.01)).all()
    assert 0.13 < clean.mean() < 0.27  # 3 standard deviations are 0.07
    assert not noises([0], clean_start_probability=1.0).any()
    assert not noises([0], random_start=False).any()


def test_only_clip_start_fits_the_start_to_the_range():
    seen = []

    def logits_fn(images):
        seen.append(images.numpy())
        return linear(images)

    for clip_start in (False, True):
        pgd(
            logits_fn,
            np.zeros_like(IMAGES),
            LABELS,
            0,
            epsilon=EPSILON,
            num_steps=1,
            clip_start=clip_start,
        )
    assert seen[0].min() < -EPSILON / 2 and seen[1].min() == 0
    np.testing.assert_array_equal(seen[1], np.clip(seen[0], 0, 1))


def test_step_size_is_the_release_rule_or_the_one_given():
    assert default_step_size(4 / 255, 1) == 4 / 255
    assert default_step_size(4 / 255, 200) == 1 / 255
    grey = np.full_like(IMAGES, 0.5)
    run = lambda **s: np.abs(
        pgd(linear, grey, LABELS, 0, epsilon=EPSILON, num_steps=2, random_start=False, **s).numpy()
        - grey
    ).max()
    np.testing.assert_allclose(run(), EPSILON, atol=1e-6)
    np.testing.assert_allclose(run(step_size=0.001), 0.002, atol=1e-6)


def test_in_0_to_255_the_attack_is_255_times_that_in_0_to_1():
    """With more steps than epsilon has grey levels, so that a step is one of those.

    The loss is highest 2.5 grey levels up: after an even number of steps, the attack is back at 2.
    """
    flat = lambda images: tf.reshape(images, [-1, 8 * 8 * 3])
    settings = dict(
        num_steps=12,
        random_start=False,
        loss=lambda logits, labels: (
            -tf.reduce_sum(tf.abs(logits - flat(0.9 * IMAGES) - 2.5 / 255), -1)
        ),
    )
    unit = pgd(flat, 0.9 * IMAGES, LABELS, 0, epsilon=EPSILON, **settings).numpy()
    grey = pgd(
        lambda images: flat(images / 255),
        255 * 0.9 * IMAGES,
        LABELS,
        0,
        epsilon=8,
        bounds=(0, 255),
        **settings,
    ).numpy()
    np.testing.assert_allclose(grey, 255 * 0.9 * IMAGES + 2, atol=1e-3)
    np.testing.assert_allclose(grey, 255 * unit, atol=1e-3)
    assert default_step_size(8, 12, (0, 255)) == default_step_size(8, 12, (-127.5, 127.5)) == 1


def test_loss_scale_changes_nothing_in_float32(logits_fn):
    plain, scaled = (
        pgd(logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=3, loss_scale=scale).numpy()
        for scale in (1.0, 128.0)
    )
    np.testing.assert_array_equal(plain, scaled)  # a power of two is exact


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_float16_model_is_attacked_in_float32_images(conv_net, compiled):
    half = make_conv_net("float16")
    half.set_weights(conv_net.get_weights())
    attack = tf.function(
        lambda: pgd(
            lambda x: half(x, training=False),
            IMAGES,
            LABELS,
            0,
            epsilon=EPSILON,
            num_steps=3,
            loss_scale=128.0,
            compiled=compiled,
        )
    )
    attacked = attack()
    assert attacked.dtype == tf.float32
    loss = lambda x: cross_entropy(conv_net(x, training=False), LABELS).numpy()
    assert (loss(attacked) > loss(IMAGES)).all()


# Restarts.


def test_restarts_are_never_weaker_and_break_at_least_as_many(logits_fn):
    clean_labels = tf.argmax(logits_fn(IMAGES), -1, tf.int32)  # so that some can be broken
    previous = np.full(6, -np.inf)
    was_broken = np.zeros(6, bool)
    for restarts in (1, 2, 4):
        attacked = pgd(
            logits_fn,
            IMAGES,
            clean_labels,
            0,
            epsilon=EPSILON,
            num_steps=1,
            step_size=1 / 255,
            restarts=restarts,
        )
        logits = logits_fn(attacked)
        broken = (tf.argmax(logits, -1, tf.int32) != clean_labels).numpy()
        value = cross_entropy(logits, clean_labels).numpy()
        assert (broken | ~was_broken).all()
        assert (was_broken | broken | (value >= previous)).all()
        previous, was_broken = value, broken


def test_a_misclassified_restart_is_preferred_to_a_higher_loss():
    """The first restart breaks the example, the second has the higher (made-up) loss."""
    calls = []

    def made_up_loss(logits, labels):
        return tf.reduce_sum(logits, -1) * 0 + float(len(calls))

    def logits_fn(images):  # called for: step, result, step, result
        calls.append(images.numpy())
        broken = len(calls) == 2
        return tf.stack(
            [
                images[:, 0, 0, 0] + (0.0 if broken else 10.0),
                images[:, 0, 0, 1] + (10.0 if broken else 0.0),
            ],
            -1,
        )

    attacked = pgd(
        logits_fn,
        IMAGES,
        np.zeros(6, "int32"),
        0,
        epsilon=EPSILON,
        num_steps=1,
        restarts=2,
        loss=made_up_loss,
    )
    np.testing.assert_array_equal(attacked, calls[1])
    assert len(calls) == 4 and np.abs(calls[1] - calls[3]).max() > 0


def test_one_restart_costs_no_extra_forward_pass():
    for restarts, passes in ((1, 3), (2, 8)):
        counting = Counting(linear)
        pgd(counting, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=3, restarts=restarts)
        assert counting.calls == passes


# The forms: eager, graph, and compiled.


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_every_form_agrees_with_the_eager_loop(compiled, restarts):
    settings = dict(epsilon=EPSILON, num_steps=3, clean_start_probability=0.2, restarts=restarts)
    eager = pgd(linear, IMAGES, LABELS, 2, **settings)
    graph = tf.function(lambda x, y, s: pgd(linear, x, y, s, compiled=compiled, **settings))
    np.testing.assert_allclose(graph(IMAGES, LABELS, tf.constant(2, tf.int64)), eager, atol=1e-6)


@pytest.mark.parametrize("compiled", ["step", "loop"])
def test_compiled_forms_reach_the_same_loss_on_a_network(logits_fn, compiled):
    run = lambda form: cross_entropy(
        logits_fn(
            tf.function(
                lambda: pgd(
                    logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=5, compiled=form
                )
            )()
        ),
        LABELS,
    )
    np.testing.assert_allclose(run(compiled), run("none"), rtol=1e-3)


def test_an_attack_may_be_part_of_a_larger_compiled_program(logits_fn):
    attack = tf.function(
        lambda: pgd(
            logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=2, restarts=2, compiled="loop"
        ),
        jit_compile=True,
    )
    assert np.abs(attack().numpy() - IMAGES).max() <= EPSILON + 1e-6


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_batch_size_may_be_unknown(logits_fn, compiled):
    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3]), tf.TensorSpec([None], tf.int32)])
    def attack(images, labels):
        return pgd(
            logits_fn,
            images,
            labels,
            0,
            epsilon=EPSILON,
            num_steps=2,
            restarts=2,
            random_start=False,
            compiled=compiled,
        )

    np.testing.assert_allclose(
        attack(IMAGES, LABELS)[:4], attack(IMAGES[:4], LABELS[:4]), atol=1e-6
    )


@pytest.mark.parametrize(
    "xla, device_type, form",
    [
        ("off", "CPU", "none"),
        ("off", "TPU", "none"),
        ("auto", "CPU", "none"),
        ("auto", "GPU", "loop"),
        ("auto", "TPU", "loop"),
        ("on", "CPU", "step"),
        ("on", "GPU", "loop"),
    ],
)
def test_the_form_follows_flag_and_device(xla, device_type, form):
    assert compiled_form(xla, device_type) == form


def test_unknown_flag_values_and_devices_are_refused():
    with pytest.raises(ValueError, match="'yes': allowed are off, auto, on"):
        compiled_form("yes", "CPU")
    with pytest.raises(ValueError, match="'gpu': allowed are CPU, GPU, TPU"):
        compiled_form("auto", "gpu")


# What it costs.


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_traces_grow_neither_with_steps_nor_with_batches(logits_fn, compiled):
    for num_steps in (1, 2, 50):
        counting = Counting(logits_fn)
        attack = tf.function(
            lambda x, y, s: pgd(
                counting, x, y, s, epsilon=EPSILON, num_steps=num_steps, compiled=compiled
            )
        )
        for batch in range(3 if num_steps < 50 else 1):
            attack(tf.constant(IMAGES), tf.constant(LABELS), tf.constant([0, batch]))
        assert counting.calls == 1


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_graph_size_does_not_grow_with_steps_or_restarts(logits_fn, compiled):
    def size(num_steps, restarts):
        attack = tf.function(
            lambda: pgd(
                logits_fn,
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
def test_no_weight_gradient_is_executed(logits_fn, compiled):
    # TensorFlow's gradient of a convolution always writes both halves down; the one for the
    # weights must lead nowhere, so that it is dropped before anything runs.
    attack = tf.function(
        lambda: pgd(logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=2, compiled=compiled)
    )
    ops = [op for function in functions_of(attack) for op in executed_ops(function)]
    assert ops.count("Conv2D") == ops.count("Conv2DBackpropInput") == 1
    assert "Conv2DBackpropFilter" not in ops
    assert ops.count("MatMul") == 2  # the dense layer, forward and towards the images


@pytest.mark.parametrize("compiled, programs", [("none", []), ("step", [0]), ("loop", [1])])
def test_the_form_decides_what_xla_compiles(logits_fn, compiled, programs):
    attack = tf.function(
        lambda: pgd(logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=2, compiled=compiled)
    )
    loops_in_programs = [
        sum(node.op in ("While", "StatelessWhile") for node in function.node_def)
        for function in functions_of(attack)
        if function.attr["_XlaMustCompile"].b
    ]
    assert loops_in_programs == programs


def test_compiled_program_has_two_convolutions(logits_fn):
    attack = tf.function(
        lambda: pgd(logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=2, random_start=False),
        jit_compile=True,
    )
    program = attack.experimental_get_compiler_ir()(stage="optimized_hlo")
    assert program.count(" convolution(") == 2  # forward, and towards the images


def test_no_variable_is_watched(conv_net, monkeypatch):
    watched = []
    original = tf.GradientTape.gradient

    def spy(tape, target, sources, **kwargs):
        watched.extend(tape.watched_variables())
        return original(tape, target, sources, **kwargs)

    monkeypatch.setattr(tf.GradientTape, "gradient", spy)
    pgd(lambda x: conv_net(x, training=False), IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=2)
    assert watched == []


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_every_variable_is_left_bitwise_alone(conv_net, logits_fn, compiled):
    before = [v.numpy().copy() for v in conv_net.variables]
    tf.function(
        lambda: pgd(
            logits_fn,
            IMAGES,
            LABELS,
            0,
            epsilon=EPSILON,
            num_steps=3,
            restarts=2,
            compiled=compiled,
        )
    )()
    for old, variable in zip(before, conv_net.variables):
        np.testing.assert_array_equal(old, variable.numpy())


def test_gradients_stop_at_the_result(logits_fn):
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        attacked = pgd(logits_fn, images, LABELS, 0, epsilon=EPSILON, num_steps=2)
    assert tape.gradient(attacked, images) is None


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_nothing_is_left_behind_by_a_batch(logits_fn, compiled):
    attack = tf.function(
        lambda x, y, s: pgd(logits_fn, x, y, s, epsilon=EPSILON, num_steps=3, compiled=compiled)
    )

    def live_tensors_after(batches):
        for batch in batches:
            attack(tf.constant(IMAGES), tf.constant(LABELS), tf.constant([0, batch]))
        gc.collect()
        return sum(isinstance(thing, tf.Tensor) for thing in gc.get_objects())

    first = live_tensors_after(range(2))
    assert live_tensors_after(range(2, 12)) <= first
    assert attack.experimental_get_tracing_count() == 1


# In training, and under strategies.


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


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
@pytest.mark.parametrize("kind", ["default", "one_device", "mirrored"])
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


# What it refuses.


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_steps": 0}, "num_steps=0"),
        ({"num_steps": 2.0}, "num_steps=2.0"),
        ({"restarts": 0}, "restarts=0"),
        ({"step_size": -1.0}, "step_size=-1.0"),
        ({"step_size": float("nan")}, "step_size=nan"),
        ({"epsilon": -0.1}, "epsilon=-0.1"),
        ({"epsilon": 4}, "epsilon=4"),
        ({"epsilon": float("nan")}, "epsilon=nan"),
        ({"clean_start_probability": 1.5}, "clean_start_probability=1.5"),
        ({"loss_scale": 0.0}, "loss_scale=0.0"),
        ({"bounds": (1.0, 0.0)}, r"bounds=\(1.0, 0.0\)"),
        ({"compiled": "yes"}, "'yes': allowed are none, step, loop"),
        ({"seed": 0.5}, "seed=0.5"),
        ({"seed": (1, 2, 3)}, r"seed=\(1, 2, 3\)"),
        ({"images": IMAGES.astype("uint8")}, "images are uint8"),
        ({"labels": LABELS.astype("float32")}, "labels are float32"),
        ({"logits_fn": lambda images: tf.zeros([6, 4])}, "not differentiable"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused_by_name(settings, message):
    arguments = {
        "logits_fn": linear,
        "images": IMAGES,
        "labels": LABELS,
        "seed": 0,
        "epsilon": EPSILON,
        "num_steps": 1,
        **settings,
    }
    with pytest.raises(ValueError, match=message):
        pgd(**arguments)


# What an example has to survive.


def stretch(images):
    """Class 1 only between the greys 0.5 and 0.6; further on, an iterate is right again."""
    grey = tf.reduce_mean(images, [1, 2, 3])
    return 100 * tf.stack([tf.zeros_like(grey), 0.05 - tf.abs(grey - 0.55), grey - 100], -1)


@pytest.mark.parametrize(
    "loss, robust_if, grey",
    [
        (lambda logits, labels: logits[:, 2], "final", 0.7),  # rises with grey
        (lambda logits, labels: logits[:, 2], "best_loss", 0.7),
        (lambda logits, labels: logits[:, 2], "any_iterate", 0.55),
        (
            lambda logits, labels: -tf.abs(logits[:, 2] + 10000 - 58),
            "final",
            0.7,
        ),  # rises up to 0.58
        (lambda logits, labels: -tf.abs(logits[:, 2] + 10000 - 58), "best_loss", 0.55),
    ],
)
def test_the_iterate_that_is_judged(loss, robust_if, grey):
    search = pgd_search(
        epsilon=0.5, num_steps=2, step_size=0.15, random_start=False, robust_if=robust_if, loss=loss
    )
    found = search(stretch, tf.fill([3, 2, 2, 3], 0.4), tf.zeros([3], tf.int32), 0)
    np.testing.assert_allclose(found, grey, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_with_a_seed_for_each_example_its_result_depends_on_no_other(logits_fn, norm):
    search = pgd_search(epsilon=0.1, num_steps=3, restarts=2, norm=norm)
    seeds = tf.constant([[1, number] for number in range(6)], tf.int64)
    whole = search(logits_fn, IMAGES, LABELS, seeds).numpy()
    order = [4, 0, 3]
    part = search(logits_fn, IMAGES[order], LABELS[order], tf.gather(seeds, order))
    np.testing.assert_allclose(part, whole[order], atol=1e-6)
    assert len(np.unique((whole - IMAGES)[:, 0, 0, 0])) > 1


def test_l2_reaches_the_closed_form_on_a_linear_model():
    pair = TEMPLATES[:, :2]
    gap = (pair[:, 1] - pair[:, 0]).reshape(8, 8, 3)
    images = np.full((6, 8, 8, 3), 0.5, "float32")
    found = pgd(
        lambda x: tf.reshape(x, [-1, 192]) @ pair,
        images,
        np.zeros(6, "int32"),
        1,
        epsilon=0.4,
        num_steps=3,
        step_size=0.2,
        norm="l2",
        random_start=False,
    )
    np.testing.assert_allclose(
        found.numpy() - images,
        np.broadcast_to(0.4 * gap / np.linalg.norm(gap), images.shape),
        atol=1e-5,
    )


def test_the_best_loss_does_not_hide_logits_that_are_no_number():
    def fragile(images):
        grey = tf.reduce_mean(images, [1, 2, 3])
        return tf.stack([tf.zeros_like(grey), tf.where(grey > 0.5, np.nan, grey)], -1)

    search = pgd_search(
        epsilon=0.5, num_steps=3, step_size=0.15, random_start=False, robust_if="best_loss"
    )
    found = search(fragile, tf.fill([1, 2, 2, 3], 0.4), tf.zeros([1], tf.int32), 0)
    assert not np.isfinite(fragile(found)).all()
