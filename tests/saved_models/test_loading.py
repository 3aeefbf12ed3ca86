"""SavedModels of plain TensorFlow and Keras, as classifiers: logits, gradients, refusals."""

import functools
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf import attacks, errors, evaluation, saved_models

IMAGES, LABELS = tiny.examples(8)
FREE = [None, None, None, 3]


def network():
    """The same one whenever it is made."""
    tf.keras.utils.set_random_seed(3)
    return tiny.network()


class Module(tf.Module):
    """What another program might save: a `__call__` of images of any shape, and its variables."""

    def __init__(self, function, *specs, weights=None):
        super().__init__()
        self.weights = weights or tf.Variable(
            np.random.RandomState(0).randn(3, 4), dtype=tf.float32
        )
        arguments = [tf.TensorSpec(shape, dtype) for shape, dtype in specs or [(FREE, tf.float32)]]
        self.call = tf.function(lambda *images: function(self, *images), input_signature=arguments)


def colours(module, images):
    return tf.reduce_mean(tf.cast(images, tf.float32), [1, 2]) @ module.weights


def save(path, module, *, custom_gradients=True, **signatures):
    signatures = signatures or {"serving_default": module.call}
    tf.saved_model.save(
        module,
        str(path),
        signatures=signatures,
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=custom_gradients),
    )
    return path


def save_tf1(path, activation, tags=(["serve"],)):
    """A SavedModel made in a session; with more `tags`, of as many graphs."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, 8, 8, 3], name="x")
        weights = v1.get_variable("w", initializer=np.float32(np.random.RandomState(0).randn(3, 4)))
        logits = activation(tf.reduce_mean(images, [1, 2])) @ weights
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"x": images}, {"y": logits})
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, tags[0], {"serving_default": signature})
        for others in tags[1:]:
            builder.add_meta_graph(others, {"serving_default": signature})
        builder.save()
    return path


def logits_and_gradient(logits_fn, images=IMAGES):
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = logits_fn(images)
        loss = tf.reduce_sum(attacks.cross_entropy(logits, LABELS[: len(images)]))
    return logits.numpy(), tape.gradient(loss, images).numpy()


def check_same(logits_fn, wanted_fn, images=IMAGES, **tolerance):
    tolerance = {"rtol": 1e-4, "atol": 1e-6, **tolerance}
    for found, wanted in zip(
        logits_and_gradient(logits_fn, images), logits_and_gradient(wanted_fn, images)
    ):
        assert np.any(wanted)
        np.testing.assert_allclose(found, wanted, **tolerance)


WRITERS = {
    "tf.saved_model": (tf.saved_model.save, "serving_default"),
    "save": (functools.partial(tf.keras.Model.save, save_format="tf"), "serving_default"),
    "export": (tf.keras.Model.export, "serving_default"),
    "no signature": (functools.partial(tf.saved_model.save, signatures={}), "__call__"),
    "one signature": (
        lambda model, path: tf.saved_model.save(
            model,
            path,
            signatures={
                "classify": tf.function(lambda x: {"scores": model(x)}).get_concrete_function(
                    tf.TensorSpec([None, 8, 8, 3], name="x")
                )
            },
        ),
        "classify",
    ),
    "ours": (functools.partial(saved_models.export, image_size=8), "logits"),
}


@pytest.mark.smoke
@pytest.mark.parametrize("writer", WRITERS)
def test_models_of_keras_have_their_logits_and_gradient(writer, tmp_path):
    """In inference mode: batch norm uses its moving statistics."""
    model = network()
    write, function = WRITERS[writer]
    write(model, str(tmp_path / "m"))
    saved = saved_models.load(tmp_path / "m")
    check_same(saved.logits_fn, lambda images: model(images, training=False))
    assert (saved.function, saved.num_classes, saved.differentiable) == (function, 4, True)
    assert (saved.image_size, saved.channels, saved.batch_size) == (8, 3, None)
    assert (
        saved.path == str(tmp_path / "m")
        and f" {function} of float32 [N, 8, 8, 3]" in saved.summary
    )


def test_images_are_mapped_to_the_range_and_gradients_come_back(tmp_path):
    model = network()
    for name, to_unit in (
        ("0,1", lambda x: x),
        ("0,255", lambda x: x / 255),
        ("-1,1", lambda x: (x + 1) / 2),
    ):
        taken = Module(
            lambda module, images, to_unit=to_unit: model(to_unit(images)),
            ([None, 8, 8, 3], tf.float32),
            weights=model.variables,
        )
        save(tmp_path / name, taken)
        check_same(saved_models.load(tmp_path / name, input_range=name).logits_fn, model)
    wrong = saved_models.load(tmp_path / "0,255").logits_fn(IMAGES)
    assert np.max(np.abs(wrong - model(IMAGES))) > 1e-3


@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
def test_other_floating_dtypes_are_cast_and_any_size_is_taken(dtype, tmp_path):
    module = Module(colours, (FREE, dtype))
    saved = saved_models.load(save(tmp_path / "m", module))
    assert (saved.image_size, saved.image_shape) == (None, (None, None, 3))
    check_same(saved.logits_fn, functools.partial(colours, module), atol=2e-3, rtol=2e-3)
    assert saved.logits_fn(IMAGES[:, :5, :5]).dtype == tf.float32


def test_the_size_to_try_a_function_with_may_be_named(tmp_path):
    def only_12(module, images):
        return colours(module, tf.reshape(images, [-1, 12, 12, 3]))

    path = save(tmp_path / "m", Module(only_12))
    with pytest.raises(
        errors.UserError,
        match="--saved_model=.* fails on images of .2, 32, 32, 3.*give the --image_size",
    ):
        saved_models.load(path)
    assert saved_models.load(path, image_size=12).num_classes == 4


OUTPUTS = {("logits", "scores"): "logits", ("scores", "classes", "features", "mean"): "scores"}


@pytest.mark.parametrize("names", OUTPUTS)
def test_the_logits_are_found_among_several_outputs(names, tmp_path):
    module = Module(
        lambda module, images: {
            name: value
            for name, value in {
                "logits": colours(module, images),
                "scores": colours(module, images) - 3,
                "features": images,
                "mean": tf.reduce_mean(images, [1, 2, 3]),
                "classes": tf.argmax(colours(module, images), -1),
            }.items()
            if name in names
        }
    )
    saved = saved_models.load(save(tmp_path / "m", module))
    shift = 0 if OUTPUTS[names] == "logits" else 3
    check_same(lambda images: saved.logits_fn(images) + shift, functools.partial(colours, module))
    assert f"its output {OUTPUTS[names]} has 4 classes" in saved.summary


def test_probabilities_are_attacked_as_the_logits_behind_them(tmp_path):
    module = Module(lambda module, images: tf.nn.softmax(colours(module, images)))
    saved = saved_models.load(save(tmp_path / "m", module))
    assert saved.probabilities and "export logits" in saved.summary
    check_same(saved.logits_fn, lambda images: tf.nn.log_softmax(colours(module, images)))
    sharp = Module(lambda module, images: tf.nn.softmax(1e4 * colours(module, images)))
    logits = saved_models.load(save(tmp_path / "sharp", sharp)).logits_fn(IMAGES)
    assert np.all(np.isfinite(logits)) and np.min(logits) < -80
    plain = Module(lambda module, images: tf.abs(colours(module, images)))
    assert not saved_models.load(save(tmp_path / "plain", plain)).probabilities


def rounded(module, images):
    return colours(module, tf.round(255 * images))


def test_a_function_without_gradient_is_known_and_still_classifies(tmp_path):
    module = Module(rounded)
    saved = saved_models.load(save(tmp_path / "m", module))
    assert not saved.differentiable and "no derivative" in saved.no_gradient
    np.testing.assert_allclose(saved.logits_fn(IMAGES), rounded(module, IMAGES), rtol=1e-4)


@pytest.mark.smoke
def test_a_custom_gradient_that_was_not_saved_is_no_gradient(tmp_path):
    module = Module(lambda module, images: tf.nn.silu(colours(module, images)))
    bare = saved_models.load(save(tmp_path / "bare", module, custom_gradients=False))
    assert not bare.differentiable and "IdentityN was not saved" in bare.summary
    whole = saved_models.load(save(tmp_path / "whole", module))
    check_same(whole.logits_fn, lambda images: tf.nn.silu(colours(module, images)))


@pytest.mark.smoke
def test_savedmodels_of_tensorflow_1(tmp_path):
    module = Module(colours)
    saved = saved_models.load(save_tf1(tmp_path / "m", tf.nn.relu, (["serve"], ["serve", "tpu"])))
    check_same(saved.logits_fn, functools.partial(colours, module))  # the means are positive
    assert (saved.function, saved.image_size) == ("serving_default", 8)
    # TensorFlow 1 saves of swish' gradient a number only, which here may be any other gradient's.
    swish = saved_models.load(save_tf1(tmp_path / "swish", tf.nn.silu))
    assert not swish.differentiable and "IdentityN was not saved" in swish.no_gradient


def test_a_fixed_batch_is_filled_up_or_cut_into(tmp_path):
    module = Module(colours, ([4, 8, 8, 3], tf.float32))
    saved = saved_models.load(save(tmp_path / "m", module))
    assert saved.batch_size == 4
    for count in (1, 4, 5, 8):
        check_same(saved.logits_fn, functools.partial(colours, module), IMAGES[:count])
    unknown = tf.function(saved.logits_fn, input_signature=[tf.TensorSpec(FREE)], autograph=False)
    with pytest.raises(
        errors.UserError, match="^--saved_model=.*saved for batches of 4, and this one"
    ):
        unknown(IMAGES)


def test_other_channels_and_sizes_are_the_librarys_to_use(tmp_path):
    module = Module(
        lambda module, images: tf.reduce_mean(images, [1, 2]) @ module.weights[:1],
        ([None, 28, 28, 1], tf.float32),
    )
    saved = saved_models.load(save(tmp_path / "m", module))
    assert (saved.image_size, saved.channels) == (28, 1)
    images = np.random.RandomState(1).rand(5, 28, 28, 1).astype(np.float32)
    check_same(saved.logits_fn, lambda x: tf.reduce_mean(x, [1, 2]) @ module.weights[:1], images)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["keras", "tf1", "fixed batch"])
def test_two_replicas_are_one_device(kind, mirrored, one_device, tmp_path):
    model = network()
    if kind == "tf1":
        save_tf1(tmp_path / "m", tf.nn.relu)
    elif kind == "keras":
        tf.saved_model.save(model, str(tmp_path / "m"))
    else:
        save(
            tmp_path / "m",
            Module(
                lambda module, images: model(images),
                ([4, 8, 8, 3], tf.float32),
                weights=model.variables,
            ),
        )
    results = []
    for strategy, batch in ((one_device, 4), (mirrored, 8)):
        with strategy.scope():
            saved = saved_models.load(tmp_path / "m")
        if kind == "fixed batch":
            results.append(_counts(saved.logits_fn, strategy, batch))
        per_replica = strategy.run(tf.function(saved.logits_fn), args=(tf.constant(IMAGES[:4]),))
        for logits in strategy.experimental_local_results(per_replica):
            wanted = model(IMAGES[:4]) if kind != "tf1" else colours(Module(colours), IMAGES[:4])
            np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-6)
    assert not results or results[0] == results[1]


def _counts(logits_fn, strategy, batch):
    """Returns what evaluation counts in 16 images, by an attack without a random start."""
    images, labels = tiny.examples(16)
    batches = tf.data.Dataset.from_tensor_slices((images, labels, np.arange(16) < 14)).batch(
        batch, drop_remainder=True
    )
    return evaluation.evaluate(
        logits_fn,
        batches,
        {"fgsm": attacks.create("fgsm", epsilon=0.05)},
        seed=0,
        strategy=strategy,
    )


def several(module, images):
    return {"first": colours(module, images), "second": colours(module, images)}


def flat(module, images):
    return images @ module.weights


REFUSED = {
    "uint8": (
        lambda: Module(colours, (FREE, tf.uint8)),
        "serving_default takes uint8 .N, any, any, "
        "3., through which there is no gradient; export a function of floating-point images",
    ),
    "rank": (lambda: Module(flat, ([None, 3], tf.float32)), "takes float32 .N, 3., not images"),
    "inputs": (
        lambda: Module(
            lambda module, images, rate: colours(module, images) * rate,
            (FREE, tf.float32),
            ([], tf.float32),
        ),
        "has 2 inputs",
    ),
    "outputs": (
        lambda: Module(several),
        "several outputs may be the logits of signature "
        r"serving_default \(first float32 .*, second float32 .2, 4.*export a function with one",
    ),
    "none": (
        lambda: Module(lambda module, images: tf.reduce_sum(images, [1, 2, 3])),
        "no output can be the logits",
    ),
    "one class": (
        lambda: Module(lambda module, images: colours(module, images)[:, :1]),
        "no output can be the logits",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_functions_that_classify_no_images_are_refused(kind, tmp_path):
    make, message = REFUSED[kind]
    save(tmp_path / "m", make())
    with pytest.raises(
        errors.UserError, match=f"^--saved_model={tmp_path}/m: .*{message}"
    ) as refusal:
        saved_models.load(tmp_path / "m")
    assert "\n" not in str(refusal.value)


def test_signatures_are_chosen_by_name(tmp_path):
    module = Module(colours)
    other = Module(lambda unused, images: -colours(module, images))
    other.weights = module.weights
    path = save(tmp_path / "m", other, plain=module.call, negated=other.call)
    with pytest.raises(
        errors.UserError,
        match="several signatures and none is the default; give "
        "--saved_model_signature with one of: negated, plain",
    ):
        saved_models.load(path)
    with pytest.raises(
        errors.UserError,
        match="^--saved_model_signature=logits: not in the "
        "SavedModel; give one of: negated, plain$",
    ):
        saved_models.load(path, signature="logits")
    found = saved_models.load(path, signature="negated")
    check_same(found.logits_fn, lambda images: -colours(module, images))
    images_8_bit = Module(lambda unused, images: colours(module, images), (FREE, tf.uint8))
    images_8_bit.weights = module.weights
    path = save(tmp_path / "n", images_8_bit, serving_default=images_8_bit.call, floats=module.call)
    with pytest.raises(errors.UserError, match="another --saved_model_signature: floats"):
        saved_models.load(path)


@pytest.fixture
def places(tmp_path):
    """Folders and files that are no SavedModels."""
    for folder in ("empty", "run/checkpoints", "versions/1", "damaged/variables"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "run/config.json").write_text("{}")
    save(tmp_path / "versions/2", Module(colours))
    shutil.copy(tmp_path / "versions/2/saved_model.pb", tmp_path / "damaged")
    (tmp_path / "garbled").mkdir()
    (tmp_path / "garbled/saved_model.pb").write_bytes(b"no such thing")
    for file in ("model.h5", "model.keras", "model.pb"):
        (tmp_path / file).write_text("")
    return tmp_path


NOT_SAVED_MODELS = {
    "missing": "no such folder",
    "empty": "has no saved_model.pb",
    "model.pb": "a file; give",
    "run": "a run that was not exported; give --model_dir instead, or export it: --mode=export",
    "versions": "not a SavedModel; give --saved_model=.*/versions/2",
    "damaged": "cannot be loaded",
    "garbled": "cannot be loaded",
    "model.h5": "a Keras file.*model.export",
    "model.keras": "a Keras file",
}


def test_what_is_no_savedmodel_is_refused_with_a_remedy(places):
    for name, message in NOT_SAVED_MODELS.items():
        with pytest.raises(
            errors.UserError, match=f"^--saved_model={places}/{name}: .*{message}"
        ) as refusal:
            saved_models.load(places / name)
        assert "\n" not in str(refusal.value)
    with pytest.raises(
        errors.UserError, match="^--input_range=0,2: unknown range '0,2'; known: 0,1, 0,255"
    ):
        saved_models.load(places / "versions/2", input_range="0,2")


def test_the_fingerprint_is_that_of_graph_and_weights(tmp_path):
    module = Module(colours)
    save(tmp_path / "a", module)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    module.weights.assign(2 * module.weights)
    save(tmp_path / "b", module)
    a, copy, b = (saved_models.load(tmp_path / name).fingerprint for name in ("a", "copy", "b"))
    assert a == copy != b
