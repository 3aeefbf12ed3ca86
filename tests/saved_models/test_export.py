"""The export as another program sees it: loaded where this project cannot be imported."""

import io
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from sat_tf.data import decoding, preprocessing
from sat_tf.saved_models.export import export

pytestmark = pytest.mark.smoke


SIZE, CLASSES = 8, 3
NAMES = ("cat", "dog", "owl")


@tf.custom_gradient
def _relu_with_soft_slope(x):
    """A backward-substituted activation: its derivative is not that of its values."""
    return tf.nn.relu(x), lambda upstream: upstream * tf.sigmoid(10.0 * x)


def tiny_network(policy="float32"):
    tf.keras.utils.set_random_seed(1)
    dtype = tf.keras.mixed_precision.Policy(policy)
    images = tf.keras.Input([SIZE, SIZE, 3])
    x = tf.keras.layers.Conv2D(4, 3, padding="same", dtype=dtype)(images)
    x = tf.keras.layers.BatchNormalization(dtype=dtype)(x)
    x = tf.keras.layers.Activation("swish", dtype=dtype)(x)
    x = tf.keras.layers.Conv2D(4, 3, strides=2, dtype=dtype)(x)
    x = tf.keras.layers.BatchNormalization(dtype=dtype)(x)
    x = tf.keras.layers.Lambda(_relu_with_soft_slope, dtype=dtype)(x)
    x = tf.keras.layers.GlobalAveragePooling2D(dtype=dtype)(x)
    model = tf.keras.Model(images, tf.keras.layers.Dense(CLASSES, dtype=dtype)(x))
    random = np.random.RandomState(2)
    model.set_weights([random.uniform(0.2, 1, weight.shape) for weight in model.get_weights()])
    return model


def pixels(*shape):
    return np.random.RandomState(len(shape)).randint(0, 256, shape).astype(np.uint8)


def encoded(image, kind):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def logits_and_gradient(function, images):
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = function(images)
        score = tf.reduce_sum(logits * [1.0, -2.0, 3.0])
    return logits.numpy(), tape.gradient(score, images).numpy()


@pytest.fixture(scope="module")
def model():
    return tiny_network()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "saved_model"
    export(model, path, image_size=SIZE, crop_padding=2, class_names=NAMES)
    return path


OTHER_PROGRAM = textwrap.dedent("""
    import sys
    try:
        import sat_tf
    except ImportError:
        pass
    else:
        raise SystemExit("sat_tf can be imported here")
    import numpy as np, tensorflow as tf
    tensors = np.load("inputs.npz")
    loaded = tf.saved_model.load(sys.argv[1])
    results = {}
    for case in ("same", "other"):
        found = loaded.signatures["serving_default"](images=tf.constant(tensors[case]))
        results.update({f"{case}_{key}": value.numpy() for key, value in found.items()})
    files = [open(name, "rb").read() for name in ("same.png", "other.png", "other.jpg")]
    found = loaded.signatures["image_bytes"](image_bytes=tf.constant(files))
    results.update({f"files_{key}": value.numpy() for key, value in found.items()})
    signature = lambda images: loaded.signatures["logits"](images=images)["logits"]
    for name, function in (("attribute", loaded.logits), ("signature", signature)):
        images = tf.constant(tensors["floats"])
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = function(images)
            score = tf.reduce_sum(logits * [1.0, -2.0, 3.0])
        results[name] = logits.numpy()
        results[name + "_gradient"] = tape.gradient(score, images).numpy()
    results["names"] = open(loaded.class_names.asset_path.numpy()).read().splitlines()
    np.savez("results.npz", **results)
""")


@pytest.fixture(scope="module")
def inputs():
    floats = np.random.RandomState(7).uniform(size=(5, SIZE, SIZE, 3)).astype(np.float32)
    return {"same": pixels(4, SIZE, SIZE, 3), "other": pixels(3, 21, 13, 3), "floats": floats}


@pytest.fixture(scope="module")
def elsewhere(exported, inputs, tmp_path_factory):
    """What a program without this project computes with the export."""
    folder = tmp_path_factory.mktemp("elsewhere")
    np.savez(folder / "inputs.npz", **inputs)
    (folder / "same.png").write_bytes(encoded(inputs["same"][0], "PNG"))
    (folder / "other.png").write_bytes(encoded(inputs["other"][0], "PNG"))
    (folder / "other.jpg").write_bytes(encoded(inputs["other"][0], "JPEG"))
    run = subprocess.run(
        [sys.executable, "-I", "-c", OTHER_PROGRAM, exported],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    results = dict(np.load(folder / "results.npz"))
    results["jpeg"] = (folder / "other.jpg").read_bytes()
    return results


def check(results, prefix, logits):
    np.testing.assert_allclose(results[prefix + "logits"], logits, rtol=1e-5)
    np.testing.assert_allclose(results[prefix + "probabilities"], tf.nn.softmax(logits), rtol=1e-4)
    classes = results[prefix + "classes"]
    assert classes.dtype == np.int64
    np.testing.assert_array_equal(classes, np.argmax(logits, -1))
    assert results[prefix + "logits"].dtype == results[prefix + "probabilities"].dtype == np.float32


def test_images_of_the_size_are_used_as_they_are(model, inputs, elsewhere):
    check(elsewhere, "same_", model(np.float32(inputs["same"] / 255)).numpy())


def test_other_images_get_the_evaluation_crop(model, inputs, elsewhere):
    cropped = preprocessing.evaluation_crop(inputs["other"], SIZE, 2)
    check(elsewhere, "other_", model(cropped).numpy())


def test_files_of_mixed_kind_and_size_get_the_evaluation_crop(model, inputs, elsewhere):
    images = [inputs["same"][0], inputs["other"][0], decoding.decode(elsewhere["jpeg"])]
    cropped = [preprocessing.evaluation_crop(image, SIZE, 2) for image in images]
    check(elsewhere, "files_", model(tf.stack(cropped)).numpy())


@pytest.mark.parametrize("name", ["attribute", "signature"])
def test_logits_are_differentiable_elsewhere(model, inputs, elsewhere, name):
    logits, gradient = logits_and_gradient(lambda x: model(x, training=False), inputs["floats"])
    np.testing.assert_allclose(elsewhere[name], logits, rtol=1e-5)
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(elsewhere[name + "_gradient"], gradient, rtol=1e-4, atol=1e-7)


def test_class_names_are_an_asset(exported, elsewhere):
    assert tuple(elsewhere["names"]) == NAMES
    assert (exported / "assets" / "class_names.txt").read_text() == "cat\ndog\nowl\n"


def test_signatures_are_named_and_typed_as_promised(exported):
    signatures = tf.saved_model.load(str(exported)).signatures
    described = {
        name: (function.structured_input_signature[1], function.structured_outputs)
        for name, function in signatures.items()
    }
    predictions = {
        "logits": (tf.float32, [None, CLASSES]),
        "classes": (tf.int64, [None]),
        "probabilities": (tf.float32, [None, CLASSES]),
    }
    promised = {
        "serving_default": ({"images": (tf.uint8, [None, None, None, 3])}, predictions),
        "image_bytes": ({"image_bytes": (tf.string, [None])}, predictions),
        "logits": (
            {"images": (tf.float32, [None, SIZE, SIZE, 3])},
            {"logits": (tf.float32, [None, CLASSES])},
        ),
    }
    plain = {
        name: tuple(
            {key: (spec.dtype, spec.shape.as_list()) for key, spec in part.items()}
            for part in parts
        )
        for name, parts in described.items()
    }
    assert plain == promised


def test_without_crop_padding_a_png_is_bitwise_the_array(model, tmp_path):
    export(model, tmp_path / "m", image_size=SIZE)
    loaded, images = tf.saved_model.load(str(tmp_path / "m")), pixels(3, SIZE, SIZE, 3)
    from_array = loaded.signatures["serving_default"](images=tf.constant(images))
    files = tf.constant([encoded(image, "PNG") for image in images])
    from_files = loaded.signatures["image_bytes"](image_bytes=files)
    for key in from_array:
        np.testing.assert_array_equal(from_array[key], from_files[key])
    assert not (tmp_path / "m" / "assets" / "class_names.txt").exists()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_exports_float32(policy, tmp_path):
    model = tiny_network(policy)
    export(model, tmp_path / "m", image_size=SIZE)
    images = np.float32(pixels(3, SIZE, SIZE, 3) / 255)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    logits, gradient = logits_and_gradient(loaded.logits, images)
    wanted, wanted_gradient = logits_and_gradient(lambda x: tf.cast(model(x), tf.float32), images)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, wanted, rtol=2e-2)
    np.testing.assert_allclose(gradient, wanted_gradient, rtol=5e-2, atol=2e-3)


@pytest.mark.parametrize("kind", ["one_device", "mirrored"])
def test_models_of_a_strategy_are_exported(model, kind, tmp_path, request):
    with request.getfixturevalue(kind).scope():
        distributed = tiny_network()
    export(distributed, tmp_path / "m", image_size=SIZE)
    images = np.float32(pixels(3, SIZE, SIZE, 3) / 255)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    for found, wanted in zip(
        logits_and_gradient(loaded.logits, images), logits_and_gradient(model, images)
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)


def test_the_object_graph_holds_variables_and_functions_but_no_layers(model, exported):
    saved = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    nodes = saved.meta_graphs[0].object_graph_def.nodes
    kinds = [node.WhichOneof("kind") for node in nodes]
    assert kinds.count("variable") == len(model.variables)
    assert kinds.count("function") == 3
    assert not any("keras" in node.user_object.identifier for node in nodes)
