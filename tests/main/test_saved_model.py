"""The command line on SavedModels: the results of the run they came from, and of other
programs'."""

import daily
import numpy as np
import pytest
import small_data
import tensorflow as tf
import tiny
import written
from command_line import run

from sat_tf import data

EVALUATION = ("--eval_examples=40", "--eval_batch_size=16", "--strategy=one_device")
PLAIN = ("--mode=eval", *EVALUATION, "--eval_attacks=clean,fgsm")


class Digits(tf.Module):
    """The class of digits whose mean image is the nearest."""

    def __init__(self, shape=(None, 8, 8, 3), to_unit=lambda x: x, dtype=tf.float32, scores=10):
        super().__init__()
        train = data.load("digits").train
        means = [
            np.mean(train.images[np.asarray(train.labels) == k] / 255, axis=0) for k in range(10)
        ]
        self.means = tf.Variable(np.stack(means)[:scores], dtype=tf.float32)
        self.to_unit = to_unit
        self.call = tf.function(self.distances, input_signature=[tf.TensorSpec(shape, dtype)])

    def distances(self, images):
        images = tf.image.resize(self.to_unit(tf.cast(images, tf.float32)), [8, 8])
        images = tf.broadcast_to(
            images,
            [*images.shape[:3], 3]
            if images.shape[0]
            else (tf.concat([tf.shape(images)[:3], [3]], 0)),
        )
        return -tf.reduce_sum((images[:, None] - self.means) ** 2, [2, 3, 4])


def save(path, **settings):
    module = Digits(**settings)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.call})
    return path


def small_network(config, seed):
    """In the place of `models.build`."""
    del config
    tf.keras.utils.set_random_seed(seed)
    features = tiny.network()
    return tf.keras.Model(features.inputs, tf.keras.layers.Dense(10)(features.layers[-2].output))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a short run of a small network, with its export."""
    folder = tmp_path_factory.mktemp("runs") / "short"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sat_tf.models.build", small_network)
        assert (
            run(
                *EVALUATION,
                "--eval_attacks=clean",
                "--train_examples=256",
                "--batch_size=32",
                "--epochs=12",
                "--method=standard",
                f"--model_dir={folder}",
            )
            == 0
        )
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return save(tmp_path_factory.mktemp("foreign") / "digits")


@pytest.mark.smoke
@pytest.mark.parametrize("strategy", daily.only([], ["one_device", "mirrored"]))
def test_an_export_has_the_results_of_its_run(strategy, finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sat_tf.models.build", small_network)
    asked = (
        "--mode=eval",
        *EVALUATION,
        f"--strategy={strategy}",
        "--eval_attacks=clean,pgd-3x2",
        "--epsilon=16/255",
        "--seed=5",
    )
    assert run(*asked, f"--model_dir={tmp_path}/a", f"--init_checkpoint={finished}") == 0
    assert run(*asked, f"--model_dir={tmp_path}/b", f"--saved_model={finished}/saved_model") == 0
    assert "signature logits of float32 [N, 8, 8, 3] in [0,1]" in capsys.readouterr().err
    of_run, of_export = (written.results(tmp_path / name) for name in "ab")
    assert of_export.pop("checkpoint") == f"{finished}/saved_model"
    assert (of_export.pop("step"), of_run.pop("step")) == (0, 96)
    del of_run["checkpoint"]
    assert of_export == of_run
    assert 0 < of_run["robust_accuracy"]["pgd-3x2"] < of_run["clean_accuracy"]
    (row,) = written.rows(tmp_path / "b", "eval")
    assert row["robust_accuracy"] == of_export["robust_accuracy"]
    assert not (tmp_path / "b/config.json").exists() and not (tmp_path / "b/checkpoints").exists()


@pytest.mark.slow
def test_its_folder_is_for_this_savedmodel_alone(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    save(tmp_path / "net/saved_model", to_unit=lambda x: x / 255)
    assert run(*PLAIN, "--saved_model=net/saved_model/") == 0
    folder = tmp_path / "runs/net-digits-saved_model"
    assert written.results(folder)["clean_accuracy"] < 0.3  # the range is not said
    assert run(*PLAIN, "--saved_model=net/saved_model", "--input_range=0,255") == 2
    assert "holds what was made of another import: input_range (0,1 there, 0,255 now)" in (
        capsys.readouterr().err
    )
    assert (
        run(*PLAIN, "--saved_model=net/saved_model", f"--model_dir={folder}", "--epsilon=0.1") == 0
    )
    assert written.results(folder)["epsilon"] == 0.1
    assert run(*PLAIN, f"--saved_model={digits}", f"--model_dir={folder}") == 2
    assert "another import: saved_model" in capsys.readouterr().err
    assert run(*PLAIN, f"--saved_model={digits}") == 0
    assert written.results(tmp_path / "runs/digits-digits-saved_model")["clean_accuracy"] > 0.8


VARIANTS = {
    "0,255": dict(to_unit=lambda x: x / 255),
    "a free height": dict(shape=(None, None, 8, 3)),
    "a fixed batch": dict(shape=(4, 8, 8, 3)),
    "28 pixels": dict(shape=(None, 28, 28, 3)),
}


@pytest.mark.slow
def test_other_forms_of_one_network_have_its_results(digits, tmp_path):
    assert (
        run(*PLAIN, f"--saved_model={digits}", f"--model_dir={tmp_path}/plain", "--epsilon=0.1")
        == 0
    )
    wanted = written.results(tmp_path / "plain")
    assert 0.1 < wanted["robust_accuracy"]["fgsm"] < wanted["clean_accuracy"] - 0.1
    for name, settings in VARIANTS.items():
        path = save(tmp_path / name, **settings)
        given = [f"--input_range={name}"] * (name == "0,255")
        assert (
            run(
                *PLAIN,
                f"--saved_model={path}",
                f"--model_dir={tmp_path}/run {name}",
                "--epsilon=0.1",
                *given,
                *["--eval_batch_size=4"] * ("batch" in name),
            )
            == 0
        )
        found = written.results(tmp_path / f"run {name}")
        if name == "28 pixels":  # enlarged for it, so not the same images
            assert abs(found["clean_accuracy"] - wanted["clean_accuracy"]) < 0.1
        else:
            assert {**found, "checkpoint": wanted["checkpoint"]} == wanted, name


def test_without_a_gradient_accuracy_is_measured_and_attacks_refused(tmp_path, capsys):
    path = save(tmp_path / "rounded", to_unit=tf.round)
    asked = ("--mode=eval", *EVALUATION, f"--saved_model={path}", f"--model_dir={tmp_path}/run")
    assert run(*asked) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --saved_model={path}: serving_default has no gradient ")
    assert "which pgd-20 needs; give --eval_attacks=clean" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert run(*asked, "--eval_attacks=clean") == 0
    assert written.results(tmp_path / "run")["robust_accuracy"] == {}


FORMS = {
    "one": dict(shape=(None, 8, 8, 1)),
    "wide": dict(shape=(None, 8, 12, 3)),
    "first": dict(shape=(None, 3, 8, 8)),
    "few": dict(scores=5),
    "digits": {},
    "batch": dict(shape=(4, 8, 8, 3)),
    "uint8": dict(dtype=tf.uint8),
    "free": dict(shape=(None,) * 3 + (3,)),
}
ERRORS = {
    ("one",): "takes images of 1 channels (height 8, width 8), and those of the data sets are",
    ("first",): "takes images of 8 channels (height 3, width 8, channels first)",
    ("wide",): "takes images of 8 x 12 pixels, and the evaluation crop is square",
    ("few",): "has 5 classes, and digits 10; name the --dataset",
    ("batch",): "--eval_batch_size=16: {path} takes batches of 4 only; give 4",
    ("batch", "--strategy=mirrored"): "takes batches of 4 only; give 8",
    ("uint8",): "serving_default takes uint8 [N, 8, 8, 3], through which there is no gradient",
    (
        "digits",
        "--saved_model_signature=x",
    ): "--saved_model_signature=x: not in the SavedModel; give",
    ("digits", "--image_size=32"): "--image_size=32: {path} takes images of 8 pixels",
    ("digits", "--init_checkpoint=x"): "--init_checkpoint=x: --saved_model has its own weights",
    ("digits", "--mode=export"): "--saved_model={path}: not for --mode=export; give --mode=eval",
    ("digits", "--learning_rate=1"): "--learning_rate=1.0: --saved_model is measured as it is",
    ("digits", "--attack_gradient=swish"): "--attack_gradient=swish: --saved_model is measured as",
    ("digits", "--model=resnet18"): "--model=resnet18: --saved_model is measured as it is",
    ("digits", "--eval_checkpoint=best"): "--eval_checkpoint=best: --saved_model is measured",
    (
        "digits",
        "--model_dir={run}",
    ): "--model_dir={run}: holds a run; give a folder for the results",
    ("missing",): "--saved_model={path}: no such folder",
    ("digits", "--saved_model="): "--input_range=-1,1: there is no SavedModel to read",
}


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    for name, settings in FORMS.items():
        save(
            folder / name,
            to_unit=(lambda x: x[..., :3]) if name == "first" else lambda x: x,
            **settings,
        )
    return folder


@pytest.mark.parametrize("arguments", ERRORS, ids=" ".join)
def test_what_does_not_fit_is_one_line(arguments, forms, finished, tmp_path, capsys):
    name, *given = arguments
    places = dict(path=forms / name, run=finished)
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*")}
    assert (
        run(
            *PLAIN,
            f"--saved_model={forms / name}",
            f"--model_dir={tmp_path}/new",
            *["--input_range=-1,1"] * ("--saved_model=" in given),
            *(argument.format(**places) for argument in given),
        )
        == 2
    )
    error = capsys.readouterr().err
    assert error.startswith("error: --") and error.count("\n") == 1
    assert ERRORS[arguments].format(**places) in error
    assert not (tmp_path / "new").exists()
    assert {file: file.stat().st_mtime_ns for file in finished.rglob("*")} == before


def test_images_of_no_size_need_one_for_a_network_of_any(forms, tmp_path, capsys):
    small_data.write_folder(tmp_path / "pets", train=1, val=2)
    asked = (
        *PLAIN,
        f"--saved_model={forms}/free",
        f"--dataset=folder:{tmp_path}/pets",
        f"--model_dir={tmp_path}/run",
        "--eval_attacks=clean",
        "--eval_examples=4",
    )
    assert run(*asked) == 2
    assert "error: --image_size: " in capsys.readouterr().err
    assert run(*asked, "--image_size=16") == 0
    assert "it has more classes than folder:" in capsys.readouterr().err
