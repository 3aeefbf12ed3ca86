"""What is measured in one cell of a study."""

import json
import types

import pytest
import tensorflow as tf

from benchmarks.study import cell as cell_process
from sat_tf import activations, attacks


def test_seconds_are_the_median_after_the_warm_up():
    rows = [
        {"epoch": float(epoch), "speed": speed}
        for epoch, speed in enumerate((1.0, 1.0, 50.0, 100.0, 200.0), 1)
    ]
    assert cell_process.seconds_per_epoch(rows, "speed", first=2, images=300) == 3.0
    assert cell_process.seconds_per_epoch(rows, "speed", first=3, images=300) == 2.0
    assert cell_process.seconds_per_epoch(rows, "speed", first=5, images=300) is None
    assert cell_process.seconds_per_epoch(rows, "of other name", first=2, images=300) is None


def test_curves_are_of_training_and_of_the_examples_held_out():
    part = types.SimpleNamespace
    config = part(
        method=part(clean_epochs=1), optimizer=part(steps_per_epoch=2), data=part(batch_size=8)
    )
    measured = cell_process._of_training(
        config,
        [
            {"kind": "train", "epoch": 1.0, "clean_accuracy": 0.5, "images_per_second": 9.0},
            {"kind": "validation", "epoch": 1.0, "robust_accuracy": {"pgd-10": 0.2}},
            {"kind": "train", "epoch": 2.0, "adversarial_accuracy": 0.4, "images_per_second": 9.0},
            {
                "kind": "train",
                "epoch": 3.0,
                "adversarial_accuracy": 0.5,
                "images_per_second": 8.0,
                "images_per_processor_second": 4.0,
            },
            {"kind": "eval", "epoch": 3.0, "robust_accuracy": {"pgd-20": 0.3}},
        ],
    )
    assert measured == {
        "training_curve": [[2.0, 0.4], [3.0, 0.5]],
        "validation_curve": [[1.0, 0.2]],
        "seconds_per_epoch": 2.0,
        "processor_seconds_per_epoch": 4.0,
    }


@pytest.mark.slow
@pytest.mark.parametrize("strategy, diagnosed", [("one_device", True), ("mirrored", False)])
def test_a_network_is_measured_with_both_derivatives_on_every_replica(
    strategy, diagnosed, request, monkeypatch
):
    strategy, part = request.getfixturevalue(strategy), types.SimpleNamespace
    with strategy.scope():  # brighter images wake its one unit; until then it has no gradient
        unit = tf.keras.layers.Dense(
            1,
            kernel_initializer=tf.constant_initializer(1 / 192),
            bias_initializer=tf.constant_initializer(-0.55),
        )
        logits = tf.keras.layers.Dense(
            2,
            kernel_initializer=tf.constant_initializer([0.0, 10.0]),
            bias_initializer=tf.constant_initializer([0.1, 0.0]),
        )
        inputs = tf.keras.Input((8, 8, 3))
        classifier = tf.keras.Model(
            inputs, logits(activations.create("relu")()(unit(tf.keras.layers.Flatten()(inputs))))
        )
    grey = tf.data.Dataset.from_tensors(
        (tf.fill([4, 8, 8, 3], 0.5), tf.zeros([4], tf.int32), tf.ones([4], tf.bool))
    )
    monkeypatch.setattr(cell_process, "_batches", lambda run, batch_size: grey)
    run = part(
        network=part(logits_fn=lambda images: classifier(images, training=False)),
        strategy=strategy,
        config=part(
            seed=0,
            attack=part(epsilon=0.2),
            data=part(eval_examples=4),
            distribution=part(xla="auto", precision="float32"),
            evaluation=part(attacks=("clean", "pgd-2"), batch_size=4, step_size=None),
        ),
    )
    asked = {"small_share": 0.25, "substitute": "parametric_softplus", "diagnostics": diagnosed}
    measured = cell_process._measure(run, asked, part(check=lambda: None))
    assert measured["small_epsilon"] == pytest.approx(0.05)
    exact = cell_process._robust(
        run, {"pgd-2": attacks.create("pgd-2", epsilon=0.2)}, part(check=lambda: None)
    )
    assert exact == {"pgd-2": 1.0} and measured["substituted_robust_accuracy"] == {"pgd-2": 0.0}
    if diagnosed:
        exact, substituted = (measured["diagnostics"][name] for name in ("exact", "substituted"))
        assert exact["sign_zero_share"] == 1.0 and substituted["sign_zero_share"] == 0.0


def test_a_cell_refuses_hardware_in_one_line_as_main_does(tmp_path, capsys):
    about = {"asked": {"argv": ["--tpu=local", "--strategy=tpu"]}}
    assert cell_process.main(["cell", str(tmp_path / "run"), json.dumps(about)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --tpu=local: no TPU there") and error.count("\n") == 1
