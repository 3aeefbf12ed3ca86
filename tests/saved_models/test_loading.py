"""SavedModels of plain TensorFlow and Keras, as classifiers: logits and gradients."""

import functools
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tiny
from other_programs import FREE, IMAGES, Module, check_same, colours, network, save, save_tf1

from sat_tf import attacks, errors, evaluation, saved_models

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
        checks=False,
        verbose=0,
    )


def test_the_fingerprint_is_that_of_graph_and_weights(tmp_path):
    module = Module(colours)
    save(tmp_path / "a", module)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    module.weights.assign(2 * module.weights)
    save(tmp_path / "b", module)
    a, copy, b = (saved_models.load(tmp_path / name).fingerprint for name in ("a", "copy", "b"))
    assert a == copy != b
