"""What TensorBoard shows of runs, as its own server tells it, and as a browser shows it."""

import collections
import glob
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from command_line import ROOT, SHORT, run, small_network, tags, weights
from PIL import Image

pytestmark = pytest.mark.usefixtures("small_networks")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TWO_EPOCHS = ("--epochs=2", "--eval_every=1", "--eval_attacks=clean,fgsm")


def scalars(folder, part):
    """Returns {tag: [(step, value)]} of all event files of a part, in their order."""
    found = collections.defaultdict(list)
    for file in sorted(glob.glob(f"{folder}/{part}/events*")):
        for event in tf.compat.v1.train.summary_iterator(file):
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    found[value.tag].append((event.step, float(tf.make_ndarray(value.tensor))))
    return found


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """A folder with the runs `relu` and `swish`, evaluated every epoch."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sat_tf.models.build", small_network)
        for activation in ("relu", "swish"):
            extra = () if activation == "relu" else ("--histogram_every=3", "--profile=2,3")
            asked = (*SHORT, *TWO_EPOCHS, f"--activation={activation}", *extra)
            assert run(*asked, f"--model_dir={folder / activation}") == 0
    return folder


def test_one_quantity_has_one_tag_in_training_and_evaluation(two_runs):
    train, evaluation = (scalars(two_runs / "relu", part) for part in ("train", "eval"))
    assert {"clean_accuracy", "adversarial_accuracy"} <= set(train) & set(evaluation)
    assert {"loss", "cross_entropy", "learning_rate", "images_per_second"} <= set(train)
    assert {"attack_loss_before", "attack_loss_after", "attack_flipped"} <= set(train)
    assert {"robust_accuracy/fgsm", "best_adversarial_accuracy"} <= set(evaluation)
    for part in (train, evaluation):
        for tag, points in part.items():
            steps = [step for step, _ in points]
            assert steps == sorted(set(steps)), tag  # each once
    assert [step for step, _ in evaluation["clean_accuracy"]] == [4, 8]
    # The total has the decay of weights on top, and no smoothing of labels makes up for it.
    for (_, whole), (_, part) in zip(train["loss"], train["cross_entropy"]):
        assert whole > part > 0


def test_a_scalar_is_that_of_its_step_not_the_mean_of_the_epoch(two_runs):
    rows = [json.loads(line) for line in open(two_runs / "relu" / "metrics.jsonl")]
    first = next(row for row in rows if row["kind"] == "train")
    steps = dict(scalars(two_runs / "relu", "train")["loss"])
    assert set(range(1, 5)) <= set(steps)  # of an epoch of four steps, each
    np.testing.assert_allclose(np.mean([steps[n] for n in range(1, 5)]), first["loss"], rtol=1e-5)
    assert len({round(steps[n], 6) for n in range(1, 5)}) == 4


def test_histograms_norms_and_a_profile_are_there_where_asked_for(two_runs):
    swish, relu = (tags(two_runs / name, "train") for name in ("swish", "relu"))
    assert any(tag.startswith("weights/") for tag in swish)
    assert {"gradient_norm", "gradient_norm_of_each_variable"} <= swish
    assert not any(tag.startswith(("weights/", "gradient_norm")) for tag in relu)
    assert [step for step, _ in scalars(two_runs / "swish", "train")["gradient_norm"]] == [3, 6]
    found = glob.glob(f"{two_runs}/*/train/plugins/profile/*/*.xplane.pb")
    assert len(found) == 1 and "/swish/" in found[0]


@pytest.mark.slow
def test_what_is_recorded_changes_nothing_that_is_trained(two_runs, tmp_path):
    asked = (*SHORT, *TWO_EPOCHS, "--activation=swish", "--mode=train")
    assert run(*asked, f"--model_dir={tmp_path}") == 0
    plain, recorded = weights(tmp_path), weights(two_runs / "swish")
    for name, value in plain.items():
        np.testing.assert_array_equal(value, recorded[name], err_msg=name)


@pytest.mark.slow
def test_nothing_is_there_twice_after_a_kill(two_runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(two_runs / "relu", folder)
    before = {part: scalars(folder, part) for part in ("train", "eval")}
    # As if killed before the second epoch's state was saved.
    with open(folder / "checkpoints" / "checkpoint", "w") as file:
        file.write('model_checkpoint_path: "checkpoint-at-step-4"\n')
        file.write('all_model_checkpoint_paths: "checkpoint-at-step-4"\n')
    for path in glob.glob(f"{folder}/checkpoints/checkpoint-at-step-8.*"):
        os.unlink(path)
    [newest] = glob.glob(f"{folder}/train/events*")
    with open(newest, "ab") as file:
        file.write(b"half an event")
    assert run(*SHORT, *TWO_EPOCHS, "--activation=relu", f"--model_dir={folder}") == 0
    for part, known in before.items():
        again = scalars(folder, part)
        assert set(again) == set(known)
        for tag, points in known.items():
            assert [step for step, _ in again[tag]] == [step for step, _ in points], tag
            if "per" not in tag:
                np.testing.assert_array_equal(again[tag], points, err_msg=tag)


def test_measuring_once_more_replaces_what_was_measured(two_runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(two_runs / "relu", folder)
    assert run("--mode=eval", f"--model_dir={folder}", "--eval_attacks=clean,pgd-2") == 0
    found = scalars(folder, "eval")
    assert [step for step, _ in found["clean_accuracy"]] == [4, 8]
    assert [step for step, _ in found["robust_accuracy/fgsm"]] == [4, 8]
    assert [step for step, _ in found["robust_accuracy/pgd_2"]] == [8]


@pytest.mark.slow
def test_a_saved_model_that_is_measured_has_its_own_run(two_runs, tmp_path):
    exported = f"--saved_model={two_runs / 'relu' / 'saved_model'}"
    asked = ("--mode=eval", exported, "--eval_attacks=clean,fgsm", "--eval_examples=20")
    assert run(*asked, f"--model_dir={tmp_path / 'export'}") == 0
    assert "clean_accuracy" in scalars(tmp_path / "export", "eval")


def test_resume_false_leaves_files_that_are_not_the_runs(two_runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(two_runs / "relu", folder)
    picture = folder / "train" / "cat" / "1.png"
    picture.parent.mkdir()
    picture.write_bytes(b"mine")
    asked = (*SHORT, "--epochs=1", "--mode=train", "--activation=relu", "--resume=false")
    assert run(*asked, f"--model_dir={folder}") == 0
    assert picture.read_bytes() == b"mine"
    assert max(step for step, _ in scalars(folder, "train")["loss"]) == 4
    assert not glob.glob(f"{folder}/eval/events*")


@pytest.fixture(scope="module")
def server(two_runs):
    """The address of a TensorBoard of the two runs."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", f"--logdir={two_runs}", f"--port={port}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://localhost:{port}/"
    try:
        for _ in range(240):
            try:
                if len(asked_of(address, "data/runs")) >= 6:
                    break
            except OSError:
                assert process.poll() is None
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait()


def asked_of(address, path, **body):
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(urllib.parse.urljoin(address, path), data)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_its_runs_are_named_and_overlaid(server):
    assert set(asked_of(server, "data/runs")) == {
        *("relu", "relu/train", "relu/eval"),
        *("swish", "swish/train", "swish/eval"),
    }
    found = asked_of(server, "data/plugin/scalars/tags")
    shared = set(found["relu/train"]) & set(found["swish/eval"])
    assert {"clean_accuracy", "adversarial_accuracy"} <= shared
    graphs = asked_of(server, "data/plugin/graphs/info")
    assert {"relu/train", "swish/train"} <= set(graphs)


@pytest.mark.slow
def test_its_table_of_hyperparameters_has_settings_and_accuracies(server):
    experiment = asked_of(server, "data/plugin/hparams/experiment", experimentName="")
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert {"activation", "epsilon", "method", "learning_rate"} <= names
    metrics = [info["name"] for info in experiment["metricInfos"]]
    assert [metric["tag"] for metric in metrics] == [
        "clean_accuracy",
        "adversarial_accuracy",
        "best_adversarial_accuracy",
    ]
    sessions = asked_of(
        server,
        "data/plugin/hparams/session_groups",
        experimentName="",
        allowedStatuses=["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        colParams=[{"metric": metric} for metric in metrics],
        startIndex=0,
        sliceSize=10,
    )["sessionGroups"]
    assert {session["hparams"]["activation"] for session in sessions} == {"relu", "swish"}
    for session in sessions:
        values = {value["name"]["tag"]: value["value"] for value in session["metricValues"]}
        assert set(values) == {metric["tag"] for metric in metrics}
        assert 0 <= values["adversarial_accuracy"] <= values["best_adversarial_accuracy"] <= 1


@pytest.fixture(scope="module")
def page(server):
    """A page of a headless browser, in which TensorBoard can be opened."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium or Chrome on the path; `apt-get install chromium` has one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(90_000)
        yield page
        opened.close()


def number_of_colours(page):
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return len(np.unique(np.int32(np.asarray(picture)) @ [65536, 256, 1]))


@pytest.mark.slow
def test_a_browser_shows_training_and_evaluation_in_one_chart(server, page):
    page.goto(f"{server}#timeseries")
    for text in ("relu/train", "relu/eval", "swish/train", "clean_accuracy"):
        page.locator(f"text={text} >> visible=true").first.wait_for()
    page.wait_for_timeout(3000)  # charts are drawn when their data is there
    assert number_of_colours(page) > 50


@pytest.mark.slow
def test_a_browser_shows_the_table_of_hyperparameters(server, page):
    page.goto(f"{server}#hparams")
    for text in ("activation", "swish", "robust accuracy"):
        page.locator(f"text={text} >> visible=true").first.wait_for()
    assert number_of_colours(page) > 20
