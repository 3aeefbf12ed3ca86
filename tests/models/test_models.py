"""What holds for every network: parameters, names, activations, seeds, saving, precision."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from sat_tf import activations, models
from sat_tf.config import ModelConfig
from sat_tf.models import efficientnet, layers

# Trainable parameters with 1000 classes and 224 pixels, and activations (smoothrelu adds a weight
# for each).  The small networks are summed up layer by layer in test_resnet.py and
# test_preact_resnet.py.
EXPECTED = {
    "resnet20": (336_824, 19),
    "resnet32": (531_256, 31),
    "resnet18": (11_689_512, 17),
    "resnet34": (21_797_672, 33),
    "preact-resnet18": (11_680_040, 17),
    "wide-resnet-34-10": (46_795_064, 31),
    "resnet50": (25_557_032, 49),
    "resnet101": (44_549_160, 100),
    "resnet152": (60_192_808, 151),
    "resnext50-32x4d": (25_028_904, 49),
    "resnext50-32x8d": (48_021_800, 49),
    "resnext152-32x8d": (122_372_392, 151),
    "efficientnet-b0": (5_288_548, 2 + 15 + 2 * 16),
    "efficientnet-b1": (7_794_184, 2 + 21 + 2 * 23),
    "efficientnet-b2": (9_109_994, 2 + 21 + 2 * 23),
    "efficientnet-b3": (12_233_232, 2 + 24 + 2 * 26),
    "efficientnet-b4": (19_341_616, 2 + 30 + 2 * 32),
    "efficientnet-b5": (30_389_784, 2 + 36 + 2 * 39),
    "efficientnet-b6": (43_040_704, 2 + 42 + 2 * 45),
    "efficientnet-b7": (66_347_960, 2 + 51 + 2 * 55),
    "efficientnet-b8": (87_413_142, 2 + 57 + 2 * 61),
    "efficientnet-l1": (272_630_564, 2 + 59 + 2 * 63),
    "efficientnet-l2": (480_309_308, 2 + 82 + 2 * 88),
}
SMALLEST = {"resnet": "resnet20", "efficientnet": "efficientnet-b0"}
# These would only repeat the others at a price of some seconds each.
LARGE = {
    "resnet152",
    "resnext152-32x8d",
    "efficientnet-l2",
    *(f"efficientnet-b{i}" for i in (4, 5, 6, 7, 8)),
}

every_model = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name
        for name in models.MODELS
    ],
)
every_family = pytest.mark.parametrize("name", SMALLEST.values())
every_family_slowly = pytest.mark.parametrize(
    "name", [SMALLEST["resnet"], pytest.param(SMALLEST["efficientnet"], marks=pytest.mark.slow)]
)


def _abstract(name, **kwargs):
    """Builds in a graph that is never run, so that no weight takes memory."""
    with tf.Graph().as_default():
        return models.create(name, **kwargs)


def _trainable_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def _check_activations(model, requested, count):
    """Every non-linearity is the requested activation or a documented gate."""
    found = [layer for layer in model.layers if hasattr(layer, "activation_name")]
    assert {layer.activation_name for layer in found} == {requested}
    assert len(found) == len({id(layer) for layer in found}) == count
    allowed = (
        tf.keras.layers.InputLayer,
        tf.keras.layers.ZeroPadding2D,
        tf.keras.layers.Add,
        tf.keras.layers.MaxPooling2D,
        tf.keras.layers.GlobalAveragePooling2D,
        layers.InputNormalization,
        layers.BatchNormalization,
        layers.SigmoidGate,
        layers.Dropout,
        layers.StochasticDepth,
    )
    for layer in model.layers:
        if hasattr(layer, "activation"):  # convolutions and dense layers
            assert layer.activation is tf.keras.activations.linear, layer.name
        else:
            assert layer in found or isinstance(layer, allowed), layer.name


def test_the_tables_cover_every_model_and_family():
    assert set(EXPECTED) == set(models.MODELS)
    assert set(SMALLEST) == {row.family for row in models.MODELS.values()}


@every_model
def test_parameters_and_activations(name):
    parameters, sites = EXPECTED[name]
    model = _abstract(name)
    assert model.name == name and model.output_shape == (None, 1000)
    assert _trainable_parameters(model) == parameters
    _check_activations(model, "swish", sites)


def _smallest_efficientnet(activation):
    """One block a stage but for the sixth, which has two; every part that B0 has."""
    with tf.Graph().as_default():
        return efficientnet.efficientnet(
            width=0.25,
            depth=0.3,
            name="smallest",
            num_classes=5,
            image_size=32,
            seed=0,
            activation=activations.create(activation),
            dropout_rate=0.2,
            survival_probability=0.8,
            batch_norm=functools.partial(layers.batch_norm, 0.9, 1e-5),
        )


@pytest.mark.parametrize("activation", activations.ACTIVATIONS)
@pytest.mark.parametrize(
    "build, sites, blocks",
    [
        (lambda activation: _abstract("resnet20", activation=activation), 19, 0),
        (_smallest_efficientnet, 2 + 7 + 2 * 8, 8),
    ],
    ids=["resnet", "efficientnet"],
)
def test_only_the_requested_activation_and_the_gates(build, sites, blocks, activation):
    model = build(activation)
    _check_activations(model, activation, sites)
    learned = [
        weight
        for weight in model.trainable_weights
        if weight.name.endswith(("raw_alpha:0", "attention_taps:0", "attention_bias:0"))
    ]
    assert len(learned) == sites * {"smoothrelu": 1, "sparta": 2}.get(activation, 0)
    gates = [layer.name for layer in model.layers if isinstance(layer, layers.SigmoidGate)]
    assert gates == [f"blocks_{block}_se_gate" for block in range(blocks)]


@pytest.mark.parametrize(
    "name, expected",
    [
        ("efficientnet-bL1", "efficientnet-l1"),
        ("efficientnet-bL2", "efficientnet-l2"),
        ("EfficientNet-B7", "efficientnet-b7"),
        ("ResNeXt50-32x4d", "resnext50-32x4d"),
    ],
)
def test_canonical_name(name, expected):
    assert models.canonical_name(name) == expected


@pytest.mark.parametrize("function", [models.canonical_name, models.create])
def test_unknown_names_are_refused_with_the_known_ones(function):
    with pytest.raises(ValueError, match="resnet51.*resnext50-32x4d.*efficientnet-b0"):
        function("resnet51")


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match="image_size=7"):
        models.create("resnet20", image_size=7)


@pytest.mark.parametrize(
    "name, epsilon, size, dropout, survival",
    [
        ("resnet20", 1e-5, 32, 0.0, 1.0),
        ("resnet18", 1e-5, 224, 0.0, 1.0),
        ("resnet32", 1e-5, 32, 0.0, 1.0),
        ("resnet34", 1e-5, 224, 0.0, 1.0),
        ("preact-resnet18", 1e-5, 32, 0.0, 1.0),
        ("wide-resnet-34-10", 1e-5, 32, 0.0, 1.0),
        ("resnet50", 1e-5, 224, 0.0, 1.0),
        ("efficientnet-b0", 1e-5, 224, 0.2, 0.8),
        ("efficientnet-l1", 1e-5, 600, 0.5, 0.8),
    ],
)
def test_settings_of_the_rows(name, epsilon, size, dropout, survival):
    row = models.MODELS[name]
    assert (row.batch_norm_momentum, row.batch_norm_epsilon) == (0.9, epsilon)
    assert (row.image_size, row.dropout_rate, row.survival_probability) == (size, dropout, survival)


@every_family
def test_settings_reach_the_layers(name):
    model = models.build(
        ModelConfig(
            name=name,
            activation="celu",
            activation_alpha=2.0,
            image_size=16,
            num_classes=7,
            dropout_rate=0.3,
            survival_probability=0.6,
            batch_norm_momentum=0.8,
            batch_norm_epsilon=1e-3,
        ),
        seed=5,
    )
    by_class = {}
    for layer in model.layers:
        by_class.setdefault(type(layer).__name__, []).append(layer)
    assert model.input_shape == (None, 16, 16, 3) and model.output_shape == (None, 7)
    assert {layer.alpha for layer in by_class["ElementwiseActivation"]} == {2.0}
    assert {(layer.momentum, layer.epsilon) for layer in by_class["BatchNormalization"]} == {
        (0.8, 1e-3)
    }
    assert [(layer.rate, layer.seed) for layer in by_class["Dropout"]] == [(0.3, 5)]
    blocks = 9 if name == "resnet20" else 16
    shares = [layer.survival for layer in by_class["StochasticDepth"]]
    assert shares[-1] == pytest.approx(
        1 - 0.4 * ((blocks - 1) if name == "resnet20" else 14) / blocks
    )
    assert shares == sorted(shares, reverse=True)


def test_options_of_sparta_reach_the_layers():
    settings = dict(
        name="resnet20",
        activation="sparta",
        activation_alpha=None,
        image_size=16,
        num_classes=7,
        dropout_rate=0.0,
        survival_probability=1.0,
        batch_norm_momentum=0.9,
        batch_norm_epsilon=1e-5,
    )
    with tf.Graph().as_default():
        model = models.build(
            ModelConfig(**settings, sparta_kernel_size=5, sparta_shared=True, sparta_gain=2.0)
        )
    sites = models.activation_layers(model).values()
    assert {(s.kernel_size, s.shared, s.gain) for s in sites} == {(5, True, 2.0)}
    assert all(site.trainable for site in sites) and len(sites) == 19
    with pytest.raises(ValueError, match="swish has no gain"):
        models.create("resnet20", activation_options={"gain": 2.0})


@pytest.mark.parametrize("activation, weights", [("smoothrelu", 1), ("sparta", 2)])
def test_frozen_activations_are_not_trained(activation, weights):
    settings = dict(
        name="resnet20",
        activation=activation,
        activation_alpha=None,
        image_size=16,
        num_classes=7,
        dropout_rate=0.0,
        survival_probability=1.0,
        batch_norm_momentum=0.9,
        batch_norm_epsilon=1e-5,
    )
    with tf.Graph().as_default():
        free, frozen = (
            models.build(ModelConfig(**settings, freeze_activation=freeze))
            for freeze in (False, True)
        )
    names = [[w.name for w in model.trainable_weights] for model in (free, frozen)]
    assert len(names[0]) - len(names[1]) == 19 * weights
    assert not any("activation" in name for name in names[1])
    assert [w.shape for w in free.weights] == [w.shape for w in frozen.weights]


@every_family_slowly
def test_the_seed_alone_decides_the_weights(name):
    first = models.create(name, image_size=32, num_classes=5, seed=3).get_weights()
    tf.random.uniform([3])
    tf.keras.layers.Dense(4).build([None, 2])
    tf.keras.utils.set_random_seed(11)
    again = models.create(name, image_size=32, num_classes=5, seed=3).get_weights()
    other = models.create(name, image_size=32, num_classes=5, seed=4).get_weights()
    for weight, same in zip(first, again):
        np.testing.assert_array_equal(weight, same)
    assert any(not np.array_equal(weight, changed) for weight, changed in zip(first, other))
    kernels = [weight.ravel()[:8].tobytes() for weight in first if weight.ndim == 4]
    assert len(set(kernels)) == len(kernels)  # no two layers alike


def _randomized(name, image_size=16, batch=3, **kwargs):
    """A small network in which every weight matters (fresh ones have gammas of zero)."""
    model = models.create(name, image_size=image_size, num_classes=5, **kwargs)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.shape.rank == 1:
            weight.assign_add(random.uniform(0.0, 0.3, weight.shape))
    return model, tf.constant(random.random((batch, image_size, image_size, 3)), tf.float32)


@every_family
@pytest.mark.parametrize("activation", ["smoothrelu"])
def test_saved_networks_answer_the_same(name, activation, tmp_path):
    model, images = _randomized(name, activation=activation)
    logits = model(images)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), logits)
    model.save_weights(tmp_path / "weights.h5")
    fresh = models.create(name, image_size=16, num_classes=5, activation=activation, seed=1)
    fresh.load_weights(tmp_path / "weights.h5")
    np.testing.assert_array_equal(fresh(images), logits)


def test_a_config_is_plain_json():
    model = models.create("efficientnet-b0", image_size=16, num_classes=5)
    assert json.loads(model.to_json())["class_name"] == "Functional"


@every_family
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("activation", ["swish", "smoothrelu"])
def test_logits_and_weights_are_float32_under_mixed_precision(name, policy, activation):
    tf.keras.mixed_precision.set_global_policy(policy)
    model, images = _randomized(name, activation=activation)
    assert {weight.dtype for weight in model.trainable_weights} == {tf.float32}
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = model(images, training=False)
    gradient = tape.gradient(logits, images)
    assert logits.dtype == gradient.dtype == tf.float32
    assert np.all(np.isfinite(logits)) and np.all(np.isfinite(gradient))


@every_family
def test_training_mode_resumes_with_the_weights(name):
    """A copy of the weights draws the same dropout and the same depth from there on."""
    model, images = _randomized(name, dropout_rate=0.4, survival_probability=0.5)
    train = tf.function(lambda: model(images, training=True))
    first = train()
    weights = model.get_weights()
    second, third = train(), train()
    assert not np.array_equal(second, third) and not np.array_equal(first, second)
    model.set_weights(weights)
    np.testing.assert_array_equal(train(), second)
    np.testing.assert_array_equal(train(), third)


@every_family
@pytest.mark.parametrize("activation", ["smoothrelu", "sparta"])
def test_one_step_moves_every_weight(name, activation):
    """Nothing is built but left out: all gradients exist and are finite."""
    model, images = _randomized(name, activation=activation)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.nn.log_softmax(model(images, training=True))[:, 0])
    for weight, gradient in zip(
        model.trainable_weights, tape.gradient(loss, model.trainable_weights)
    ):
        assert gradient is not None and np.all(np.isfinite(gradient)), weight.name


@every_family_slowly
def test_compiled_training_pass_equals_the_graph(name):
    """With draws switched off: XLA turns the same seeds into other numbers.

    The last maps have several pixels of several images: batch norm over fewer values amplifies
    a change of one rounding in the input to a change of everything.
    """
    model, images = _randomized(
        name, image_size=64, batch=8, dropout_rate=0.0, survival_probability=1.0
    )
    weights = model.get_weights()

    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(images, training=True) ** 2)
        return loss, tape.gradient(loss, model.get_layer("linear").kernel)

    results = []
    for compiled in (False, True):
        model.set_weights(weights)
        results.append([*tf.function(gradient, jit_compile=compiled)(), *model.get_weights()])
    for value, expected in zip(*results):
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-4)


@every_family_slowly
def test_random_layers_compile_within_the_network(name):
    model, images = _randomized(name, dropout_rate=0.4, survival_probability=0.5)
    train = tf.function(lambda: model(images, training=True), jit_compile=True)
    assert not np.array_equal(train(), train())


@pytest.mark.slow
def test_largest_of_the_paper_builds_in_seconds():
    model = models.create("efficientnet-l1", image_size=64)
    assert _trainable_parameters(model) == 272_630_564
    assert model(tf.zeros([1, 64, 64, 3])).shape == (1, 1000)
