"""SavedModels that are no classifiers, and folders that are no SavedModels: refused."""

import shutil

import pytest
import tensorflow as tf
from other_programs import FREE, Module, check_same, colours, save

from sat_tf import errors, saved_models


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
