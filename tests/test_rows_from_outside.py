"""Rows that a user adds: the object itself where a name is taken, or a name of its own."""

import contextlib
import functools

import numpy as np
import pytest
import tensorflow as tf
import tiny

import sat_tf
from sat_tf import AdversarialModel, activations, attacks, data, models, training

TABLES = [
    attacks.ATTACKS,
    activations.ACTIVATIONS,
    models.MODELS,
    training.METHODS,
    data.SOURCES,
    data.AUGMENTATIONS,
]


@pytest.fixture(autouse=True)
def _tables_as_before():
    with contextlib.ExitStack() as after:
        for table in TABLES:
            rows = dict(table)
            after.callback(lambda table=table, rows=rows: (table.clear(), table.update(rows)))
        yield


class Scaled(tf.keras.layers.Layer):
    """max(x, 0) times a weight of the layer's own."""

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=[], initializer="ones")

    def call(self, inputs):
        return self.scale * tf.nn.relu(inputs)


def small(activation):
    return models.create(
        "resnet20", activation=activation, num_classes=4, image_size=8, batch_norm_momentum=0.5
    )


def layers_of(network):
    return list(models.activation_layers(network).values())


@pytest.mark.parametrize("given", [Scaled, lambda name: Scaled(name=name)], ids=["class", "maker"])
def test_a_layer_class_gives_every_place_its_own_layer(given):
    network = small(given)
    found = layers_of(network)
    assert len(found) == 19 and all(isinstance(layer, Scaled) for layer in found)
    assert len({id(layer.scale) for layer in found}) == 19


@pytest.mark.parametrize("given", [tf.nn.relu, lambda x: tf.nn.relu(x)])
def test_a_function_is_an_activation(given):
    images = tiny.examples(2)[0]
    named, ours = small("relu"), small(given)
    assert len(layers_of(ours)) == 19
    np.testing.assert_allclose(ours(images), named(images), atol=1e-6)
    with activations.derivative_of("swish"):  # its derivative can be replaced like any other
        x = tf.constant([-1.0, 2.0])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = activations.create(given)(name="a")(x)
    np.testing.assert_allclose(y, [0, 2])
    np.testing.assert_allclose(tape.gradient(y, x), [0.0723, 1.0908], atol=1e-3)


def test_what_is_no_activation_is_refused():
    with pytest.raises(ValueError, match="is a layer, which every place.*give its class"):
        small(tf.keras.layers.PReLU(name="mine"))
    with pytest.raises(ValueError, match="give a name, a function of a tensor or a layer class"):
        small(3)
    with pytest.raises(ValueError, match="'relu' is given as it is: leave out alpha"):
        models.create("resnet20", activation=tf.nn.relu, activation_alpha=2.0)


def test_activations_by_a_name_of_their_own(tmp_path):
    activations.register("doubled", lambda x: 2 * tf.nn.relu(x))
    activations.register("scaled", Scaled)
    assert not activations.is_learnt("doubled") and activations.is_learnt("scaled")
    np.testing.assert_allclose(activations.create("doubled")(name="a")([-1.0, 3.0]), [0, 6])
    assert isinstance(activations.create("scaled")(name="a"), Scaled)
    network = small("doubled")
    network.save(str(tmp_path / "network.keras"))
    loaded = tf.keras.models.load_model(str(tmp_path / "network.keras"))
    images = tiny.examples(2)[0]
    np.testing.assert_allclose(loaded(images), network(images), atol=1e-6)


def test_models_by_object_and_by_name():
    row = models.Row(
        lambda name, activation, num_classes, **unused: tiny.network(
            name=name, activation=lambda: activation(name="activation")
        ),
        "tiny",
        8,
    )
    models.register("my-tiny", row)
    for given, name in ((row, "tiny"), ("my-tiny", "my-tiny")):
        network = models.create(given, activation="mish", num_classes=4, image_size=8)
        assert network.name == name and layers_of(network)[0].activation_name == "mish"


def brighter(logits_fn, images, labels, seed, *, epsilon, bounds=(0.0, 1.0)):
    return tf.clip_by_value(images + epsilon, *bounds)


def test_attacks_by_object_and_by_name():
    attacks.register("brighter", brighter, needs_gradient=False)
    attacks.register("pgd-margin", functools.partial(attacks.pgd, num_steps=2, loss=attacks.margin))
    assert attacks.parse_names("brighter,pgd-3") == ("brighter", "pgd-3")
    assert not attacks.needs_gradient("brighter") and attacks.needs_gradient("pgd-margin")
    images, labels = tiny.examples(8)
    network = tiny.network()
    np.testing.assert_allclose(
        attacks.create("brighter", epsilon=0.1)(network, images, labels, 0),
        np.minimum(images + 0.1, 1),
        atol=1e-6,
    )
    measured = [
        sat_tf.evaluate(network, (images, labels), given, epsilon=0.1, checks=False, verbose=0)
        for given in ("brighter,pgd-margin", [brighter])
    ]
    moved = np.argmax(network(np.minimum(images + 0.1, 1)), -1) == labels
    stays = (np.argmax(network(images), -1) == labels) & moved
    for result in measured:
        assert result.robust_accuracy["brighter"] == np.mean(stays)
    assert measured[0].robust_accuracy["pgd-margin"] <= measured[0].clean_accuracy


@pytest.mark.parametrize(
    "name, attack, message",
    [
        ("pgd-7", brighter, "names an attack that is there"),
        ("Mine", brighter, "capital letters, which stand for numbers"),
        ("my attack", brighter, "a name has letters, digits"),
        ("mine", 3, "is no attack"),
        ("mine", lambda images: images, "cannot be called as attack"),
        ("mine", attacks.create("fgsm", epsilon=0.1), "has a radius of its own; give a function"),
    ],
)
def test_rows_that_are_no_attacks_are_refused(name, attack, message):
    with pytest.raises(ValueError, match=message):
        attacks.register(name, attack)
    assert name not in attacks.ATTACKS


def test_methods_by_a_name_of_their_own():
    training.register(
        "gentle",
        training.Row(
            lambda **settings: training.create("pgd", **settings),
            lambda steps: steps + 1,
            ("epsilon",),
        ),
    )
    model = AdversarialModel(tiny.network(), "gentle", epsilon=0.01)
    model.compile("sgd")
    seen = model.fit(*tiny.examples(8), verbose=0).history["perturbation_max"][0]
    assert seen == pytest.approx(0.01, rel=1e-3)


def test_data_sets_and_augmentations():
    digits = data.load("digits")
    data.register("mine", digits)
    assert data.load("mine") is digits and data.describe("mine") is digits.description
    assert data.load(digits) is digits
    invert = data.Augmentation(
        random_crop=False, policy=lambda **unused: lambda image, seed: 255 - image
    )
    data.register("inverted", invert)
    batches = {
        augment: next(
            iter(data.training_batches(digits, batch_size=8, image_size=8, augment=augment, seed=0))
        )[0]
        for augment in ("none", "inverted", invert)
    }
    plain, *others = batches.values()
    for images in others:
        np.testing.assert_allclose(images, 1 - plain, atol=1e-6)


@pytest.mark.parametrize(
    "register,row",
    [
        (activations.register, tf.nn.relu),
        (models.register, models.MODELS["resnet20"]),
        (training.register, training.METHODS["pgd"]),
        (data.register, data.SOURCES["digits"]),
    ],
)
def test_a_name_is_taken_once(register, row):
    register("new", row)
    with pytest.raises(ValueError, match="'new' is there already: give yours another name"):
        register("new", row)
    with pytest.raises(ValueError, match="a name has letters, digits"):
        register("no name", row)
