"""Long evaluations from the command line: AutoAttack, curves, files, the page, and going on."""

import json

import numpy as np
import pytest
import tensorflow as tf

import main
from sat_tf.evaluation_progress import StateFile
from sat_tf.interruption import Interrupted, Interruption

TRAINED = ("--train_examples=128", "--batch_size=32", "--eval_examples=40", "--eval_batch_size=16",
           "--strategy=one_device", "--epsilon=0.05", "--num_steps=1", "--clean_epochs=0")
ATTACKS = ("--eval_attacks=clean,fgsm,pgd-3,autoattack", "--autoattack_version=apgd-ce-5,square-20")


def run(*arguments):
    return main.main(["main.py", *map(str, arguments)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert run(*TRAINED, "--mode=train_and_eval", "--eval_attacks=clean", "--epochs=6",
               "--num_steps=1", f"--model_dir={folder}") == 0
    return folder


def results_of(folder):
    found = json.loads((folder / "results.json").read_text())

    def without_seconds(value):
        if isinstance(value, dict):
            return {name: without_seconds(part) for name, part in value.items() if name != "seconds"}
        return value

    return without_seconds(found)


@pytest.mark.smoke
def test_everything_that_an_evaluation_leaves(trained, capsys):
    capsys.readouterr()
    assert run("--mode=eval", *ATTACKS, "--curves=epsilon,steps,restarts", "--curve_attack=pgd-2",
               "--curve_epsilons=0,0.05,1/5", "--save_adversarial=6", "--robust_if=any_iterate",
               f"--model_dir={trained}") == 0
    found = results_of(trained)
    accuracies = found["robust_accuracy"]
    assert list(accuracies) == ["fgsm", "pgd-3", "autoattack"]
    assert found["worst_case_accuracy"] <= min(accuracies.values())
    assert (found["norm"], found["robust_if"], found["epsilon"]) == ("linf", "any_iterate", 0.05)
    whole = found["attacks"]["autoattack"]
    assert list(whole["stages"]) == ["apgd-ce-5", "square-20"]
    assert whole["broken"] == sum(stage["broken"] for stage in whole["stages"].values())
    assert accuracies["autoattack"] == pytest.approx((whole["attacked"] - whole["broken"]) / 40)
    said = capsys.readouterr()
    for text in ("worst case", "  apgd-ce-5", "Linf epsilon 0.05 (12.8/255)"):
        assert text in said.out
    for warning in found["warnings"]:
        assert f"warning: {warning['name']}: " in said.err

    curves = (trained / "curves.csv").read_text().splitlines()
    assert len(curves) == 1 + 3 + 7 + 5
    points = [line.split(",") for line in curves[1:]]
    at_zero = next(point for point in points if point[0] == "epsilon" and float(point[2]) == 0)
    assert float(at_zero[3]) == found["clean_accuracy"]
    for kind in ("epsilon", "restarts"):
        falling = [float(point[3]) for point in points if point[0] == kind]
        assert falling == sorted(falling, reverse=True)

    with np.load(trained / "adversarial.npz", allow_pickle=False) as stored:
        assert stored["images"].shape == stored["adversarial"].shape == (6, 8, 8, 3)
        assert np.abs(stored["adversarial"] - stored["images"]).max() <= 0.05 + 1e-6
        exported = tf.saved_model.load(str(trained / "saved_model"))
        classes = np.argmax(exported.logits(stored["adversarial"]), -1)
        np.testing.assert_array_equal(classes, stored["adversarial_predicted"])
        broken = (stored["labels"] == stored["predicted"]) & (stored["labels"] != classes)
        np.testing.assert_array_equal(
            broken, ~np.isin(stored["broken_by"], ["", "clean"]))
    page = (trained / "report.html").read_text()
    for text in ("autoattack", "worst case", "pgd-3", "data:image/png"):
        assert text.lower() in page.lower()
    assert {"curves.png", "adversarial.png"} <= {file.name for file in trained.iterdir()}
    assert not (trained / "evaluation_state").exists()


def test_an_evaluation_that_was_cut_goes_on_to_the_same_results(trained, monkeypatch, capsys):
    asked = ("--mode=eval", *ATTACKS, "--curves=restarts", "--curve_attack=pgd-2",
             f"--model_dir={trained}")
    assert run(*asked) == 0
    whole, curve = results_of(trained), (trained / "curves.csv").read_text()
    (trained / "results.json").unlink()
    monkeypatch.setattr(StateFile, "is_due", True)
    checks = {"made": 0}

    def check(self):
        checks["made"] += 1
        if checks["made"] == 7:
            checks["made"] = 0
            raise Interrupted(15)

    monkeypatch.setattr(Interruption, "check", check)
    statuses = [run(*asked) for _ in range(2)]
    assert statuses == [143, 143] and list((trained / "evaluation_state").iterdir())
    for _ in range(30):
        if run(*asked) == 0:
            break
    assert results_of(trained) == whole and (trained / "curves.csv").read_text() == curve
    assert not (trained / "evaluation_state").exists()


def test_zero_epsilon_is_clean_accuracy_and_l2_needs_a_radius(trained, capsys):
    assert run("--mode=eval", *ATTACKS, "--eval_epsilon=0", f"--model_dir={trained}") == 0
    found = results_of(trained)
    assert set(found["robust_accuracy"].values()) == {found["clean_accuracy"]}
    assert run("--mode=eval", *ATTACKS, "--eval_norm=l2", f"--model_dir={trained}") == 2
    assert "--eval_norm=l2: " in capsys.readouterr().err
    assert run("--mode=eval", *ATTACKS, "--eval_norm=l2", "--eval_epsilon=0.5",
               f"--model_dir={trained}") == 0
    assert results_of(trained)["norm"] == "l2"
    assert "L2 epsilon 0.5" in capsys.readouterr().out


def test_attacks_made_on_another_network_are_carried_over(trained, capsys):
    assert run("--mode=eval", "--eval_attacks=pgd-3", f"--transfer_from={trained}",
               f"--model_dir={trained}") == 0
    accuracies = results_of(trained)["robust_accuracy"]
    assert accuracies["pgd-3"] == accuracies["pgd-3:transfer"]  # it is the same network
