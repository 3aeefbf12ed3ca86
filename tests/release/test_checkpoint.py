"""Reading checkpoints of the original release: formats, damage, and which network it is."""

import os

import networks
import numpy as np
import pytest
import tensorflow as tf
import tf1_files

from sat_tf import errors, models
from sat_tf.release import checkpoint as tf1_checkpoint
from sat_tf.release import filling as tf1_import
from sat_tf.runs import checkpoints as paths
from sat_tf.runs import weights
from sat_tf.training import checkpoints

pytestmark = pytest.mark.smoke

DATA = ".data-00000-of-00001"


@pytest.fixture(scope="module")
def network():
    """A small ResNet, and values for all its variables."""
    model = models.create("resnet20", num_classes=5, image_size=8)
    shapes = {name: tuple(w.shape) for name, w in tf1_import.variables(model).items()}
    return model, {**tf1_files.drawn(shapes), "global_step": np.int64(3)}


def _check_loaded(model, values):
    for name, weight in tf1_import.variables(model).items():
        np.testing.assert_array_equal(weight, values[name], name)


def _reset(model):
    for weight in model.weights:
        weight.assign(tf.zeros_like(weight))


@pytest.mark.parametrize("ending", ["", ".index", DATA, ".meta"])
def test_any_file_of_a_checkpoint_names_it(network, tmp_path, ending):
    model, values = network
    _reset(model)
    prefix = tf1_files.save(tmp_path / "model.ckpt-7", values)
    found = paths.find(prefix + ending)
    assert found == prefix and checkpoints.step_of(found) == 0
    weights.load_classifier(model, found, channels="rgb")
    _check_loaded(model, values)


def test_a_folder_of_one_checkpoint_names_it(network, tmp_path):
    """With TensorFlow's `checkpoint` file, without it, and with one that speaks of elsewhere."""
    prefix = tf1_files.save(tmp_path / "model.ckpt-7", network[1])
    assert paths.find(str(tmp_path)) == prefix
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt-7"\n')
    assert paths.find(str(tmp_path)) == prefix
    os.remove(tmp_path / "checkpoint")
    assert paths.find(str(tmp_path)) == prefix
    tf1_files.save(tmp_path / "other", {"global_step": np.int64(3)})
    os.remove(tmp_path / "checkpoint")
    with pytest.raises(errors.UserError, match=r"several checkpoints there \(model.*, other\)"):
        paths.find(str(tmp_path))


def test_the_older_format_of_one_file(network, tmp_path):
    model, values = network
    _reset(model)
    path = paths.find(tf1_files.save(tmp_path / "older", values, older_format=True))
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "older"]
    weights.load_classifier(model, path, channels="rgb")
    _check_loaded(model, values)


@pytest.mark.parametrize("form", ["{}", "{}:0"])
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz(network, tmp_path, form, write):
    model, values = network
    _reset(model)
    write(tmp_path / "model.npz", **{form.format(name): v for name, v in values.items()})
    weights.load_classifier(model, paths.find(str(tmp_path / "model.npz")), channels="rgb")
    _check_loaded(model, values)


def _refused(model, path):
    before = model.get_weights()
    with pytest.raises(errors.UserError) as caught:
        weights.load_classifier(model, str(path))
    for weight, same in zip(model.get_weights(), before):
        np.testing.assert_array_equal(weight, same)
    message = str(caught.value)
    assert message.startswith(f"--init_checkpoint={path}: not a readable checkpoint (")
    assert "\n" not in message and "fetch it again, or name another" in message
    return message


@pytest.mark.parametrize(
    "file, size",
    [(".index", 0), (".index", 20), (".index", 500), (DATA, 0), (DATA, 100), (DATA, -4)],
)
def test_truncated_checkpoints_are_refused(network, tmp_path, file, size):
    model, values = network
    prefix = tf1_files.save(tmp_path / "model.ckpt", values)
    with open(prefix + file, "r+b") as stream:
        stream.truncate(size if size >= 0 else os.path.getsize(prefix + file) + size)
    _refused(model, prefix)


def test_a_changed_byte_is_refused(network, tmp_path):
    model, values = network
    prefix = tf1_files.save(tmp_path / "model.ckpt", values)
    with open(prefix + DATA, "r+b") as stream:
        stream.seek(4000)
        stream.write(b"\xaa\x55")
    assert "Checksum does not match" in _refused(model, prefix)


def test_a_missing_shard_is_refused(network, tmp_path):
    model, values = network
    prefix = tf1_files.save(tmp_path / "model.ckpt", values)
    os.remove(prefix + DATA)
    _refused(model, prefix)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 and no more", b"\x80\x04K\x01.", b"text", b"cos\nsystem\n(S'true'\ntR."],
)
@pytest.mark.parametrize("name", ["model.npz", "model"])
def test_files_of_something_else_are_refused(network, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    _refused(network[0], tmp_path / name)


def test_truncated_npz_are_refused(network, tmp_path):
    model, values = network
    np.savez_compressed(tmp_path / "model.npz", **values)
    content = (tmp_path / "model.npz").read_bytes()
    (tmp_path / "model.npz").write_bytes(content[:-100])
    _refused(model, tmp_path / "model.npz")
    changed = bytearray(content)
    changed[len(content) // 2] ^= 255
    (tmp_path / "model.npz").write_bytes(changed)
    _refused(model, tmp_path / "model.npz")


def test_npz_of_objects_are_never_unpickled(network, tmp_path):
    model, values = network
    unused = np.array([{"any": "object"}], object)
    np.savez(tmp_path / "model.npz", **values, extra=unused)
    message = _refused(model, tmp_path / "model.npz")
    assert "(it holds Python objects, and loading those could run any code)" in message
    assert "allow_pickle" not in message and "unsafely" not in message


def test_npz_that_contradict_themselves_are_refused(network, tmp_path):
    model, values = network
    np.savez(tmp_path / "model.npz", **values, **{"linear/b:0": values["linear/b"] + 1})
    assert "a variable twice" in _refused(model, tmp_path / "model.npz")
    with open(tmp_path / "model.npz", "wb") as stream:
        np.save(stream, values["linear/b"])
    assert "one array without a name" in _refused(model, tmp_path / "model.npz")


def _recognised(shapes):
    return tf1_checkpoint.recognise(tf1_files.of_shapes(shapes))


def test_scopes_of_efficientnets():
    shapes = tf1_files.golden_shapes("efficientnet-b0_r64")
    for scope, model in (
        ("efficientnet-bL1", "efficientnet-l1"),
        ("student", None),
        ("tower0/efficientnet-b3", "efficientnet-b3"),
        ("resnet51", None),
    ):
        moved = {name.replace("efficientnet-b0", scope): s for name, s in shapes.items()}
        recognised = _recognised({**moved, "global_step": ()})
        assert (recognised.scope, recognised.model) == (scope, model)


def test_a_scope_of_another_name_loads():
    """The names below it and the shapes decide what fits."""
    model = networks.small(networks.SMALL["efficientnet"])
    values = tf1_files.drawn(tf1_files.variable_shapes(model, "student"))
    tf1_import.fill(model, tf1_files.in_memory(values))
    np.testing.assert_array_equal(model.get_layer("linear").bias, values["student/head/dense/bias"])


def test_resnets_that_are_no_row():
    shapes = tf1_files.golden_shapes("resnet50_silu_r64")
    wider = {**shapes, "group0/block0/conv2/W": (3, 3, 128, 128)}
    deeper = {**shapes, "group2/block6/conv1/W": (1, 1, 1024, 256)}
    basic = {name: s for name, s in shapes.items() if "conv3" not in name}
    assert [_recognised(s).model for s in (shapes, wider, deeper, basic)] == [
        "resnet50",
        None,
        None,
        None,
    ]


def test_what_lacks_a_variable_is_recognised():
    """So that the refusal names what it lacks."""
    shapes = tf1_files.golden_shapes("resnet50_silu_r64")
    del shapes["linear/W"], shapes["conv0/W"]
    assert _recognised(shapes)[:4] == ("resnet", "", "resnet50", None)
    shapes = tf1_files.golden_shapes("efficientnet-b0_r64")
    del shapes["efficientnet-b0/stem/conv2d/kernel"]
    assert _recognised(shapes).model == "efficientnet-b0"


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"global_step": ()},
        {"conv0/W": (3, 3, 3, 8), "fc/W": (8, 10)},
        {"vgg/conv1/kernel": (3, 3, 3, 64)},
        {"stem/conv2d/kernel": (3, 3, 3, 32)},
    ],
)
def test_other_names_are_not_recognised(shapes):
    assert _recognised(shapes) is None
    with pytest.raises(errors.UserError, match="not a checkpoint of the original release"):
        tf1_import.fill(networks.abstract("resnet20", image_size=8), tf1_files.of_shapes(shapes))


def test_bookkeeping_is_told_from_the_network():
    kept = {
        "conv0/W": (7, 7, 3, 64),
        "group0/block0/conv1/W": (1, 1, 64, 64),
        "linear/b": (10,),
        "group0/block0/conv1/bn/mean/EMA": (64,),
        "conv0/alpha": (),
        "fc2/W": (64, 5),
        "EMA_head/W": (4, 4),
    }
    left_out = {
        "global_step": (),
        "learning_rate": (),
        "beta1_power": (),
        "loss_scale": (),
        "conv0/W/Momentum": (7, 7, 3, 64),
        "linear/b/RMSProp_1": (10,),
        "group0/block0/conv1/bn/mean/EMA/local_step": (),
        "conv0/bn/conv0/bn/mean/EMA/biased": (64,),
        "EMA/train-error": (),
        "tower1/EMA/confusion": (10, 10),
    }
    checkpoint = tf1_files.of_shapes({**kept, **left_out})
    network = tf1_checkpoint.recognise(checkpoint)
    assert tf1_checkpoint.network_shapes(checkpoint, network) == kept
