"""Long evaluations from the command line: AutoAttack, curves, files, the page, and going on."""

import numpy as np
import pytest
import tensorflow as tf
import written
from command_line import run, small_network

import sat_tf.models
from sat_tf.interruption import Interrupted

TRAINED = (
    "--train_examples=128",
    "--batch_size=32",
    "--eval_examples=40",
    "--eval_batch_size=16",
    "--strategy=one_device",
    "--epsilon=0.05",
    "--num_steps=1",
    "--clean_epochs=0",
)
ASKED = (
    "--mode=eval",
    "--eval_attacks=clean,pgd-2,autoattack",
    "--robust_if=any_iterate",
    "--autoattack_version=apgd-ce-5,square-20",
    "--self_checks=basic",
    "--save_adversarial=12",
    "--curves=epsilon,restarts",
    "--curve_attack=pgd-2",
    "--curve_epsilons=0,3/10",
)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The folder of a run that everything was asked of."""
    folder = tmp_path_factory.mktemp("run")
    train = (*TRAINED, "--mode=train", "--epochs=40", f"--model_dir={folder}")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sat_tf.models, "build", small_network)
        assert run(*train) == 0
        assert run("--mode=export", f"--model_dir={folder}") == 0
        assert run(*ASKED, f"--model_dir={folder}") == 0
    return folder


@pytest.mark.slow
@pytest.mark.smoke
def test_everything_that_an_evaluation_leaves(evaluated):
    found = written.results(evaluated)
    accuracies, whole = found["robust_accuracy"], found["attacks"]["autoattack"]
    assert list(accuracies) == ["pgd-2", "autoattack"]
    assert found["worst_case_accuracy"] <= min(accuracies.values())
    assert (found["norm"], found["robust_if"], found["epsilon"]) == ("linf", "any_iterate", 0.05)
    assert list(whole["stages"]) == ["apgd-ce-5", "square-20"]
    assert whole["broken"] == sum(stage["broken"] for stage in whole["stages"].values())
    assert accuracies["autoattack"] == pytest.approx((whole["attacked"] - whole["broken"]) / 40)

    points = [line.split(",") for line in (evaluated / "curves.csv").read_text().splitlines()[1:]]
    assert [(kind, float(x)) for kind, _, x, *_ in points] == [
        ("epsilon", 0),
        ("epsilon", 0.3),
        *(("restarts", count) for count in (1, 2, 3, 5, 10)),
    ]
    heights = [float(point[3]) for point in points]
    assert heights[0] == found["clean_accuracy"] > heights[1]
    assert heights[2:] == sorted(heights[2:], reverse=True)

    with np.load(evaluated / "adversarial.npz", allow_pickle=False) as stored:
        assert stored["images"].shape == stored["adversarial"].shape == (12, 8, 8, 3)
        assert np.abs(stored["adversarial"] - stored["images"]).max() <= 0.05 + 1e-6
        exported = tf.saved_model.load(str(evaluated / "saved_model"))
        classes = np.argmax(exported.logits(stored["adversarial"]), -1)
        np.testing.assert_array_equal(classes, stored["adversarial_predicted"])
        broken = (stored["labels"] == stored["predicted"]) & (stored["labels"] != classes)
        np.testing.assert_array_equal(broken, ~np.isin(stored["broken_by"], ["", "clean"]))
    page = (evaluated / "report.html").read_text().lower()
    for text in ("autoattack", "worst case", "square-20", "data:image/png"):
        assert text in page
    assert {"curves.png", "adversarial.png"} <= {file.name for file in evaluated.iterdir()}
    assert not (evaluated / "evaluation_state").exists()


@pytest.mark.slow
def test_an_evaluation_that_was_cut_goes_on_to_the_same_results(
    evaluated, small_networks, monkeypatch, capsys
):
    whole, curve = written.results(evaluated), (evaluated / "curves.csv").read_text()
    (evaluated / "results.json").unlink()
    capsys.readouterr()
    seen = []

    def show(self, name, done, total):
        seen.append(name)
        if name == "square-20" and not cut:
            cut.append(name)
            raise Interrupted(15)

    cut = []
    monkeypatch.setattr("sat_tf.runs.telling.AttackBars.show", show)
    assert run(*ASKED, f"--model_dir={evaluated}") == 143
    assert seen[-1] == "square-20" and list((evaluated / "evaluation_state").iterdir())
    assert not (evaluated / "results.json").exists()
    seen.clear()
    assert run(*ASKED, f"--model_dir={evaluated}") == 0
    assert seen[0] == "square-20" and {"pgd-2", "apgd-ce-5"}.isdisjoint(seen)  # these were known
    assert written.results(evaluated) == whole and (evaluated / "curves.csv").read_text() == curve
    assert not (evaluated / "evaluation_state").exists()
    said = capsys.readouterr()
    for text in ("worst case", "  apgd-ce-5", "Linf epsilon 0.05 (12.8/255)"):
        assert text in said.out
    for warning in whole["warnings"]:
        assert f"warning: {warning['name']}: " in said.err
