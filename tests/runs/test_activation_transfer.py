"""Which activation a place starts with, and what does not fit."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from flags import definitions, to_config
from sat_tf import activations, errors, models
from sat_tf.models import layers, resnet
from sat_tf.runs import activation_transfer
from sat_tf.runs import checkpoints as paths
from sat_tf.training.weight_average import WeightAverage


@functools.cache
def _names(name):
    with tf.Graph().as_default():
        return list(models.activation_layers(models.create(name, image_size=64)))


# Their graphs take over three seconds each.
LARGE = {"resnet34", "resnet50", "efficientnet-b0", "efficientnet-b1"}
# Of the places that are new, the one that each starts with.
MAPPED = {
    ("resnet20", "resnet32"): {
        f"group{g}_block{b}_{role}": f"group{g}_block2_{role}"
        for g in range(3)
        for b in (3, 4)
        for role in ("conv1_activation", "activation")
    },
    ("resnet18", "resnet34"): {
        f"group{g}_block{b}_{role}": f"group{g}_block1_{role}"
        for g, depth in enumerate((3, 4, 6, 3))
        for b in range(2, depth)
        for role in ("conv1_activation", "activation")
    },
    ("resnet32", "resnet20"): {},
    ("resnet50", "resnet18"): {},
    ("efficientnet-b1", "efficientnet-b1"): {},
}


@pytest.mark.parametrize(
    "there, here",
    [pytest.param(*pair, marks=[pytest.mark.slow] * bool(LARGE & set(pair))) for pair in MAPPED],
)
def test_namesakes_and_else_the_last_block_of_the_group(there, here):
    places = _names(here)
    found = activation_transfer.mapping(_names(there), places)
    assert list(found) == places
    assert {name: source for name, source in found.items() if name != source} == MAPPED[there, here]


KINDS = {
    ("preact-resnet18", "resnet18"): "no counterpart of conv0_activation, group0_block0_c",
    ("resnet20", "resnet18"): "no counterpart of group3_block0_conv1_activation",
    ("resnet18", "resnet50"): "no counterpart of group0_block0_conv2_activation",
    ("efficientnet-b0", "resnet20"): "no counterpart of conv0_activation",
    ("efficientnet-b0", "efficientnet-b1"): "no counterpart of blocks_",
    ("efficientnet-b1", "efficientnet-b0"): "no counterpart of blocks_1_expand|numbers of blocks",
}


@pytest.mark.parametrize(
    "there, here",
    [pytest.param(*pair, marks=[pytest.mark.slow] * bool(LARGE & set(pair))) for pair in KINDS],
)
def test_networks_of_another_kind_are_refused(there, here):
    with pytest.raises(ValueError, match=KINDS[there, here]):
        activation_transfer.mapping(_names(there), _names(here))


def test_an_efficientnet_of_other_stages_is_refused_though_it_has_the_names():
    with pytest.raises(ValueError, match="its stages have other numbers of blocks"):
        activation_transfer.mapping(["stem", "blocks_0_a", "blocks_1_a"], ["stem", "blocks_0_a"])


def _network(widths=(16, 32, 64), **options):
    """As resnet20, but of 1, 1 and 5 blocks."""
    return resnet.residual_network(
        resnet._small_stem(widths[0]),
        resnet._basic_block,
        widths,
        (1, 1, 5),
        name="short",
        num_classes=3,
        image_size=8,
        activation=activations.create("sparta", **options),
        seed=0,
        batch_norm=functools.partial(layers.batch_norm, 0.9, 1e-5),
        dropout_rate=0.0,
        survival_probability=1.0,
    )


def _run_folder(path, *, averaged=False, **settings):
    """A run folder whose resnet20 has random activations; and those weights by layer."""
    flags = definitions.define()
    definitions.parse(
        flags,
        [
            "main.py",
            "--model=resnet20",
            "--activation=sparta",
            *(f"--{key}={value}" for key, value in settings.items()),
        ],
    )
    config = to_config.to_config(flags)
    network = models.build(config.model)
    for i, layer in enumerate(models.activation_layers(network).values()):
        for weight in layer.weights:
            weight.assign(np.random.default_rng(i).normal(size=weight.shape))
    state = {"classifier": network}
    if averaged:
        state["average"] = WeightAverage(network, 0.9)
    learnt = {
        name: layer.get_weights() for name, layer in models.activation_layers(network).items()
    }
    if averaged:  # the weights in training are others
        for weight in network.trainable_weights:
            weight.assign_add(tf.ones_like(weight))
    (path / "checkpoints").mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config.to_dict()))
    tf.train.Checkpoint(**state).save(str(path / "checkpoints" / "checkpoint"))
    return str(path), learnt


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    return _run_folder(tmp_path_factory.mktemp("averaged") / "run", averaged=True)


def test_the_learnt_weights_arrive_and_no_others(averaged):
    """Those that are evaluated, which here are the averages."""
    path, learnt = averaged
    network = _network()
    before = {w.name: w.numpy() for w in network.weights if "attention" not in w.name}
    names, prefix = activation_transfer.transfer(network, path)
    assert prefix == paths.find(path)
    assert names["group2_block4_activation"] == "group2_block2_activation"
    for name, layer in models.activation_layers(network).items():
        for weight, expected in zip(layer.get_weights(), learnt[names[name]]):
            np.testing.assert_array_equal(weight, expected)
    assert all(np.array_equal(w, before[w.name]) for w in network.weights if w.name in before)


@pytest.mark.slow
def test_of_a_run_with_a_best_checkpoint_that_is_taken(tmp_path, monkeypatch):
    path, _ = _run_folder(tmp_path / "run", validation_examples=8)
    best = paths.find(path)
    monkeypatch.setattr(paths, "kept_of", lambda path: {"best": best, "last": "another"})
    assert activation_transfer.transfer(_network(), path)[1] == best


@pytest.mark.slow
def test_shared_taps_fit_other_widths(tmp_path):
    path, learnt = _run_folder(tmp_path / "run", sparta_shared=True, sparta_kernel_size=5)
    network = _network((8, 24, 48), shared=True, kernel_size=5)
    activation_transfer.transfer(network, path)
    for block, source in ((1, 1), (4, 2)):
        np.testing.assert_array_equal(
            network.get_layer(f"group2_block{block}_activation").attention_taps,
            learnt[f"group2_block{source}_activation"][0],
        )


@pytest.mark.parametrize(
    "here, message",
    [
        (
            {"shared": True},
            r"15 of 15 .* conv0_activation is \(3, 3, 16, 1\) and \(16,\) there, "
            r"\(3, 3, 1, 1\) and \(1,\) here; .*; …; give --sparta_shared=false, or leave it out",
        ),
        ({"kernel_size": 5}, "15 of 15 .*; give --sparta_kernel_size=3, or leave it out"),
        ({"widths": (16, 24, 64)}, "2 of 15 .*32.*24.*train the source with --sparta_shared=true"),
    ],
)
def test_other_shapes_are_refused_and_nothing_changes(here, message, averaged):
    path, _ = averaged
    network = _network(**here)
    before = network.get_weights()
    with pytest.raises(errors.UserError, match=f"^--sparta_from={path}: .*{message}"):
        activation_transfer.transfer(network, path)
    assert all(map(np.array_equal, before, network.get_weights()))


def test_runs_of_other_activations_and_no_runs_are_refused(tmp_path):
    flags = definitions.define()
    definitions.parse(flags, ["main.py", "--activation=gelu"])
    (tmp_path / "config.json").write_text(json.dumps(to_config.to_config(flags).to_dict()))
    with pytest.raises(
        errors.UserError, match="^--sparta_from=.*: its activation is gelu, not sparta"
    ):
        activation_transfer.source_config(str(tmp_path))
    with pytest.raises(errors.UserError, match="^--sparta_from=.*nowhere: no run of this project"):
        activation_transfer.source_config(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(errors.UserError, match="^--sparta_from=.*config.json cannot be read"):
        activation_transfer.source_config(str(tmp_path))
