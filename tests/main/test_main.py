"""The command line as a user meets it: run folders, modes, interruption, errors.

Most runs are in this process (`main.main` returns the exit status); the ones that need a process
of their own are few.
"""

import csv
import glob
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
import written

import main
from flags import definitions, to_config
from sat_tf import activations, data, errors
from sat_tf.runs.folder import RunFolder

ROOT = pathlib.Path(__file__).parents[2]
SHORT = (
    "--train_examples=64",
    "--batch_size=16",
    "--num_steps=1",
    "--eval_examples=20",
    "--eval_batch_size=16",
    "--eval_attacks=clean,fgsm,pgd-2",
    "--strategy=one_device",
    "--clean_epochs=0",
)


def run(*arguments):
    return main.main(["main.py", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a short complete run."""
    folder = tmp_path_factory.mktemp("run")
    assert run(*SHORT, f"--model_dir={folder}", "--epochs=2", "--eval_every=1") == 0
    return folder


def test_a_run_of_before_there_was_a_setting_goes_on_in_its_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def parsed(*arguments):
        flags = definitions.define()
        definitions.parse(flags, ["main.py", "--method=fast", *arguments])
        return flags

    flags = parsed("--catastrophic_drop=0")
    folder = RunFolder(to_config.default_model_dir(flags))
    folder.start(to_config.to_config(flags), data.describe("digits"))
    with pytest.raises(errors.UserError, match=r"catastrophic_drop \(0.0 there, 0.2 now\)"):
        main._training_config(parsed(), folder, None)  # it was chosen then
    values = json.loads(pathlib.Path(folder.config).read_text())
    del values["method"]["catastrophic_drop"], values["evaluation"]["patience"]
    pathlib.Path(folder.config).write_text(json.dumps(values))
    assert main._training_config(parsed(), folder, None)[0].method.catastrophic_drop == 0
    for given in "--catastrophic_drop=0.2", "--trades_beta=2":
        with pytest.raises(errors.UserError, match="holds a run with other settings"):
            main._training_config(parsed(given), folder, None)


@pytest.mark.smoke
def test_a_run_leaves_what_the_interface_says(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["model"]["name"] == "resnet20" and config["attack"]["num_steps"] == 1
    assert config["versions"]["tensorflow"] == tf.__version__
    assert "git_commit" in config
    results = written.results(finished)
    assert set(results) == {
        "clean_accuracy",
        "robust_accuracy",
        "examples",
        "epsilon",
        "step",
        "checkpoint",
        "worst_case_accuracy",
        "norm",
        "robust_if",
        "step_size",
        "autoattack_version",
        "dataset",
        "seed",
        "attacks",
        "warnings",
    }
    assert (finished / "report.html").exists()
    assert set(results["robust_accuracy"]) == {"fgsm", "pgd-2"}
    assert results["examples"] == 20 and results["step"] == 8
    assert os.path.exists(results["checkpoint"] + ".index")
    assert all(0 <= v <= results["clean_accuracy"] for v in results["robust_accuracy"].values())
    kinds = [(row["kind"], row["step"]) for row in written.rows(finished)]
    assert kinds == [("train", 4), ("eval", 4), ("train", 8), ("eval", 8)]
    assert all({"step", "epoch", "seconds"} <= set(row) for row in written.rows(finished))
    assert all(
        row["images_per_processor_second"] > 0
        for row in written.rows(finished)
        if row["kind"] == "train"
    )


def _tags(folder, part):
    return {
        value.tag
        for file in glob.glob(f"{folder}/tensorboard/{part}/*")
        for event in tf.compat.v1.train.summary_iterator(file)
        for value in event.summary.value
    }


def test_tensorboard_has_scalars_images_and_the_configuration(finished):
    tags = {part: _tags(finished, part) for part in ("train", "eval")}
    assert {
        "train/loss",
        "train/clean_accuracy",
        "train/adversarial_accuracy",
        "train/learning_rate",
        "train/images_per_second",
        "train/images_per_processor_second",
        "train/perturbation_mean",
        "train/perturbation_max",
        "config",
    } <= tags["train"]
    assert {
        "eval/clean_accuracy",
        "eval/robust_accuracy/fgsm",
        "eval/robust_accuracy/pgd_2",
        "adversarial_examples",
    } <= tags["eval"]


def test_the_export_agrees_with_the_results(finished):
    exported = tf.saved_model.load(str(finished / "saved_model"))
    examples = data.load("digits").eval
    answer = exported.signatures["serving_default"](images=tf.constant(examples.images[:20]))
    accuracy = np.mean(answer["classes"].numpy() == examples.labels[:20])
    assert accuracy == written.results(finished)["clean_accuracy"]


def test_eval_takes_the_runs_settings_and_other_attacks(finished, capsys):
    before = (finished / "config.json").read_bytes()
    assert (
        run("--mode=eval", f"--model_dir={finished}", "--eval_attacks=pgd-1x2", "--epsilon=8/255")
        == 0
    )
    results = written.results(finished)
    assert list(results["robust_accuracy"]) == ["pgd-1x2"]
    assert results["epsilon"] == pytest.approx(8 / 255)
    assert (finished / "config.json").read_bytes() == before
    assert "pgd-1x2" in capsys.readouterr().out
    assert run("--mode=eval", f"--model_dir={finished}") == 0  # the settings of the run again


def _one_layer(config, seed):
    del seed
    inputs = tf.keras.Input((config.image_size, config.image_size, 3))
    features = activations.create(config.activation)()(tf.keras.layers.Flatten()(inputs))
    return tf.keras.Model(inputs, tf.keras.layers.Dense(config.num_classes)(features))


def test_another_derivative_is_measured_beside_the_exact_one(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sat_tf.models.build", _one_layer)
    assert (
        run(
            *SHORT,
            f"--model_dir={tmp_path}",
            "--activation=relu",
            "--train_steps=1",
            "--attack_gradient=softplus",
            "--mode=train",
        )
        == 0
    )
    assert (
        run(
            "--mode=eval",
            f"--model_dir={tmp_path}",
            "--eval_attacks=fgsm",
            "--attack_gradient=parametric_softplus",
        )
        == 0
    )
    captured = capsys.readouterr()
    results = written.results(tmp_path)
    assert list(results["robust_accuracy"]) == ["fgsm", "fgsm:parametric_softplus"]
    assert written.rows(tmp_path)[-1]["robust_accuracy"] == results["robust_accuracy"]
    assert "\nfgsm:parametric_softplus  " in captured.out
    assert "the run was trained with --attack_gradient=softplus" in captured.err
    assert {"eval/robust_accuracy/fgsm", "eval/robust_accuracy/fgsm/parametric_softplus"} <= (
        _tags(tmp_path, "eval")
    )


def test_export_again(finished):
    time.sleep(0.01)
    before = (finished / "saved_model" / "saved_model.pb").stat().st_mtime_ns
    assert run("--mode=export", f"--model_dir={finished}") == 0
    assert (finished / "saved_model" / "saved_model.pb").stat().st_mtime_ns > before


def test_predict_writes_the_csv(finished, tmp_path):
    examples = data.load("digits").eval
    for i in range(3):
        png = tf.io.encode_png(examples.images[i]).numpy()
        (tmp_path / f"image{i}.png").write_bytes(png)
    assert (
        run(
            "--mode=predict",
            f"--model_dir={finished}",
            f"--images={tmp_path}/*.png",
            f"--output={tmp_path}/out.csv",
        )
        == 0
    )
    rows = list(csv.DictReader(open(tmp_path / "out.csv", encoding="utf-8")))
    assert [os.path.basename(row["file"]) for row in rows] == [f"image{i}.png" for i in range(3)]
    exported = tf.saved_model.load(str(finished / "saved_model"))
    answer = exported.signatures["serving_default"](images=tf.constant(examples.images[:3]))
    assert [int(row["class"]) for row in rows] == answer["classes"].numpy().tolist()
    np.testing.assert_allclose(
        [float(row["probability"]) for row in rows],
        answer["probabilities"].numpy().max(-1),
        atol=1e-5,
    )


def test_the_same_command_again_trains_nothing_more(finished, capsys):
    rows = len(written.rows(finished, "train"))
    assert run(*SHORT, f"--model_dir={finished}", "--epochs=2", "--mode=train") == 0
    assert "continuing from" in capsys.readouterr().out
    assert len(written.rows(finished, "train")) == rows


def _weights(folder):
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder / "checkpoints")))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if "CHECKPOINTABLE" not in name and "save_counter" not in name
    }


def test_an_interrupted_run_goes_on_bitwise(tmp_path, monkeypatch, capsys):
    """SIGINT in the middle of the second epoch, then the same command."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command = [*SHORT, "--epochs=3", "--mode=train", "--ema_decay=0.9"]
    assert run(*command, f"--model_dir={whole}") == 0

    from sat_tf.training import callbacks

    steps = []

    def send_signal(self, batch, logs=None):
        steps.append(batch)
        if len(steps) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        self._interruption.check()

    with monkeypatch.context() as patched:
        patched.setattr(callbacks.CheckInterruption, "on_train_batch_end", send_signal)
        assert run(*command, f"--model_dir={parts}") == 130
    assert tf.train.latest_checkpoint(str(parts / "checkpoints")).endswith("-6")
    assert "goes on from there" in capsys.readouterr().err
    assert run(*command, f"--model_dir={parts}") == 0
    expected, resumed = _weights(whole), _weights(parts)
    assert set(expected) == set(resumed)
    for name, value in expected.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)
    assert [row["step"] for row in written.rows(parts)] == [4, 8, 12]


def test_another_configuration_is_refused_and_nothing_touched(finished, capsys):
    before = {f: f.stat().st_mtime_ns for f in finished.rglob("*") if f.is_file()}
    assert (
        run(
            *SHORT,
            f"--model_dir={finished}",
            "--epochs=2",
            "--activation=relu",
            "--learning_rate=0.5",
        )
        == 2
    )
    error = capsys.readouterr().err
    assert error.startswith("error: --model_dir=") and error.count("\n") == 1
    assert "activation (swish there, relu now)" in error and "learning_rate" in error
    assert run("--mode=eval", f"--model_dir={finished}", "--model=resnet18") == 2
    assert "model (resnet20 there, resnet18 now)" in capsys.readouterr().err
    assert {f: f.stat().st_mtime_ns for f in finished.rglob("*") if f.is_file()} == before


def test_resume_false_starts_anew(tmp_path):
    assert run(*SHORT, f"--model_dir={tmp_path}", "--train_steps=2", "--mode=train") == 0
    (tmp_path / "notes.txt").write_text("mine")
    assert (
        run(
            *SHORT,
            f"--model_dir={tmp_path}",
            "--train_steps=1",
            "--mode=train",
            "--activation=relu",
            "--resume=false",
        )
        == 0
    )
    assert [row["step"] for row in written.rows(tmp_path)] == [1]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_init_checkpoint_starts_and_evaluates_another_run(finished, tmp_path, capsys):
    assert (
        run(
            *SHORT,
            f"--model_dir={tmp_path}/new",
            "--train_steps=1",
            "--mode=train",
            "--learning_rate=0",
            f"--init_checkpoint={finished}",
        )
        == 0
    )
    begun_with = json.loads((tmp_path / "new" / "config.json").read_text())["init_checkpoint"]
    assert begun_with["path"] == str(finished)
    assert (
        run(
            *SHORT,
            f"--model_dir={tmp_path}/new",
            "--train_steps=1",
            "--mode=train",
            "--learning_rate=0",
            f"--init_checkpoint={finished}",
        )
        == 0
    )  # the same again
    assert "--init_checkpoint is not read" in capsys.readouterr().err
    old, new = _weights(finished), _weights(tmp_path / "new")
    kernel = next(name for name in old if "kernel" in name and name.startswith("classifier"))
    np.testing.assert_array_equal(old[kernel], new[kernel])
    assert run("--mode=eval", f"--model_dir={tmp_path}/other", f"--init_checkpoint={finished}") == 0
    assert (tmp_path / "other" / "results.json").exists()


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_state(tmp_path, capsys):
    assert run(
        *SHORT, f"--model_dir={tmp_path}", "--train_steps=4", "--mode=train", "--learning_rate=1e20"
    ) in (0, 1)  # one good epoch may come first
    status = run(
        *SHORT,
        f"--model_dir={tmp_path}",
        "--train_steps=40",
        "--mode=train",
        "--learning_rate=1e20",
    )
    error = capsys.readouterr().err
    assert status == 1
    assert "step" in error and "learning rate 1e+20" in error and "last good checkpoint" in error
    latest = tf.train.latest_checkpoint(str(tmp_path / "checkpoints"))
    if latest:
        assert all(
            np.isfinite(v).all() for v in _weights(tmp_path).values() if v.dtype == np.float32
        )


ERRORS = {
    ("--mode=eval", "--model_dir={empty}"): "no run there",
    ("--mode=predict", "--model_dir={empty}"): "--images=: nothing to classify",
    ("--mode=predict", "--model_dir={finished}", "--images={empty}/*.png"): "--images=",
    ("--mode=predict", "--model_dir={finished}", "--images={broken}"): "broken.png",
    ("--init_checkpoint={empty}/none",): "no checkpoint there",
    (
        "--mode=eval",
        "--model_dir={empty}",
        "--init_checkpoint={finished}",
        "--model=resnet18",
    ): "its network differs",
    ("--tpu=local", "--strategy=tpu"): "--tpu=local: no TPU there",
    ("--strategy=tpu",): "no TPU was named",
    ("--batch_size=15", "--strategy=mirrored"): "--batch_size=15: not divisible by the 2 replicas",
    ("--eval_batch_size=15", "--strategy=mirrored"): "--eval_batch_size=15: not divisible",
    ("--model_dir={file}/run",): "cannot write",
}


@pytest.mark.parametrize("arguments", ERRORS, ids=lambda a: " ".join(a)[:40])
def test_user_errors_are_one_line_and_exit_2(arguments, finished, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "file").write_text("")
    places = dict(
        empty=tmp_path / "empty",
        broken=tmp_path / "broken.png",
        finished=finished,
        file=tmp_path / "file",
    )
    given = [argument.format(**places) for argument in arguments]
    if not any(argument.startswith("--model_dir") for argument in given):
        given.append(f"--model_dir={tmp_path / 'new'}")
    if not any(argument.startswith("--mode=") for argument in given):
        given = [*SHORT, "--train_steps=1", *given]
    assert run(*given) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert ERRORS[arguments] in captured.err
    assert os.listdir(tmp_path / "empty") == []
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_of_another_model_is_refused(finished, tmp_path, capsys):
    prefix = tf.train.latest_checkpoint(str(finished / "checkpoints"))
    assert (
        run(
            *SHORT,
            "--train_steps=1",
            "--model=resnet18",
            f"--init_checkpoint={prefix}",
            f"--model_dir={tmp_path}/new",
        )
        == 2
    )
    error = capsys.readouterr().err
    assert "is of another model" in error and error.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(tmp_path, monkeypatch, capsys):
    command = [*SHORT, f"--model_dir={tmp_path}", "--mode=train"]
    assert run(*command, "--train_steps=4") == 0
    kept = tf.train.latest_checkpoint(str(tmp_path / "checkpoints"))

    def full(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "write failed; No space left on device")

    monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
    assert run(*command, "--train_steps=8") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --model_dir=") and "No space left on device" in error
    assert error.count("\n") == 1
    assert tf.train.latest_checkpoint(str(tmp_path / "checkpoints")) == kept


def test_results_of_another_runs_checkpoint_go_elsewhere(finished, tmp_path, capsys):
    assert (
        run(
            *SHORT,
            f"--model_dir={tmp_path}/other",
            "--train_steps=1",
            "--mode=train",
            "--activation=relu",
        )
        == 0
    )
    prefix = tf.train.latest_checkpoint(str(finished / "checkpoints"))
    for initial in (finished, finished / "checkpoints", prefix):
        assert (
            run("--mode=eval", f"--model_dir={tmp_path}/other", f"--init_checkpoint={initial}") == 2
        )
        assert "holds another run" in capsys.readouterr().err
    assert not (tmp_path / "other" / "results.json").exists()


def test_resume_false_takes_nothing_but_a_run(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "thesis.ckpt").write_text("mine")
    (tmp_path / "config.json").write_text('{"mine": 1}')
    assert run(*SHORT, f"--model_dir={tmp_path}", "--train_steps=1", "--resume=false") == 2
    assert capsys.readouterr().err.startswith("error: --model_dir=")
    (tmp_path / "config.json").unlink()
    assert run(*SHORT, f"--model_dir={tmp_path}", "--train_steps=1", "--resume=false") == 2
    assert "is not of a run" in capsys.readouterr().err
    assert (tmp_path / "checkpoints" / "thesis.ckpt").read_text() == "mine"


def test_a_damaged_or_longer_run_is_refused_before_anything_is_written(tmp_path, capsys):
    command = [*SHORT, f"--model_dir={tmp_path}", "--mode=train"]
    assert run(*command, "--train_steps=3") == 0
    config = (tmp_path / "config.json").read_bytes()
    assert run(*command, "--train_steps=1") == 2
    assert "--train_steps=1: the run is at step 3 already" in capsys.readouterr().err
    for file in (tmp_path / "checkpoints").glob("*data*"):
        os.truncate(file, 100)
    assert run(*command, "--train_steps=9") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --model_dir: checkpoint ") and error.count("\n") == 1
    assert (tmp_path / "config.json").read_bytes() == config


def test_a_signal_ends_predicting_too(finished, tmp_path, monkeypatch):
    from sat_tf.data import preprocessing

    for i in range(30):
        (tmp_path / f"{i}.png").write_bytes(tf.io.encode_png(np.zeros([8, 8, 3], "u1")).numpy())
    decode = preprocessing.decode

    def signal_and_decode(image_bytes):
        os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.setattr(preprocessing, "decode", decode)
        return decode(image_bytes)

    monkeypatch.setattr(preprocessing, "decode", signal_and_decode)
    assert (
        run(
            "--mode=predict",
            f"--model_dir={finished}",
            f"--images={tmp_path}/*.png",
            f"--output={tmp_path}/out.csv",
        )
        == 143
    )
    assert not (tmp_path / "out.csv").exists()


def test_an_output_that_cannot_be_written_names_its_flag(finished, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(np.zeros([8, 8, 3], "u1")).numpy())
    assert (
        run(
            "--mode=predict",
            f"--model_dir={finished}",
            f"--images={tmp_path}/a.png",
            f"--output={tmp_path}",
        )
        == 2
    )
    assert capsys.readouterr().err.startswith(f"error: --output={tmp_path}: cannot be written")


@pytest.mark.slow
@pytest.mark.smoke
def test_sigterm_and_again_in_processes_of_their_own(tmp_path):
    command = [
        sys.executable,
        "main.py",
        *SHORT,
        "--epochs=400",
        "--mode=train",
        f"--model_dir={tmp_path}",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if line.startswith("epoch 3/"):
                process.send_signal(signal.SIGTERM)
                break
        assert process.wait(timeout=120) == 143
    finally:
        process.kill()
    stopped = int(tf.train.latest_checkpoint(str(tmp_path / "checkpoints")).rsplit("-", 1)[1])
    assert 12 <= stopped < 400 * 4
    command = [
        argument.replace("--epochs=400", f"--train_steps={stopped + 2}") for argument in command
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    assert f"continuing from {tmp_path}/checkpoints/checkpoint-at-step-{stopped}" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--strategy=mirrored",),
        ("--xla=on",),
        ("--precision=bfloat16",),
        ("--precision=float16",),
        ("--method=standard",),
        ("--method=fast",),
        ("--activation=smoothrelu",),
        ("--optimizer=adam", "--schedule=cosine", "--steps_per_execution=2"),
        ("--model=efficientnet-b0", "--survival_probability=0.5"),
        ("--image_size=16", "--augment=basic", "--label_smoothing=0.1", "--clean_epochs=1"),
        ("--num_classes=12",),
    ],
    ids=" ".join,
)
def test_settings_work_from_training_to_export(arguments, tmp_path):
    assert (
        run(
            *SHORT[:-1],
            f"--model_dir={tmp_path}",
            "--train_steps=5",
            "--eval_attacks=clean,pgd-2",
            *arguments,
        )
        == 0
    )
    results = written.results(tmp_path)
    assert results["examples"] == 20 and results["step"] == 5
    exported = tf.saved_model.load(str(tmp_path / "saved_model"))
    config = json.loads((tmp_path / "config.json").read_text())["model"]
    logits = exported.logits(tf.zeros([2, config["image_size"], config["image_size"], 3]))
    assert logits.shape == (2, config["num_classes"]) and np.isfinite(logits).all()


@pytest.mark.slow
def test_a_mirrored_run_is_the_one_device_run(tmp_path):
    """From a deterministic start; two virtual devices on the command line."""
    accuracies = []
    for name, hardware in (
        ("one", ["--strategy=one_device"]),
        ("two", ["--strategy=mirrored", "--virtual_cpus=2"]),
    ):
        command = [
            sys.executable,
            "main.py",
            *SHORT[:-2],
            *hardware,
            "--random_start=false",
            "--mode=train",
            "--train_steps=4",
            f"--model_dir={tmp_path / name}",
        ]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
        rows = written.rows(tmp_path / name, "train")
        accuracies.append((rows[-1]["loss"], rows[-1]["adversarial_accuracy"]))
    np.testing.assert_allclose(accuracies[0], accuracies[1], rtol=1e-3)
