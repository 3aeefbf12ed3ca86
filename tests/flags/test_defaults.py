"""Which defaults a data set and a family of models have together."""

import pytest
from flag_values import resolve

from flags import defaults
from sat_tf import attacks, models
from sat_tf.data import AUGMENTATIONS
from sat_tf.errors import UserError
from sat_tf.training.optimization import OPTIMIZERS, SCHEDULES, WEIGHT_DECAY_ON

KEYS = {
    "optimizer",
    "learning_rate_per_256",
    "schedule",
    "warmup_epochs",
    "warmup_learning_rate",
    "weight_decay",
    "weight_decay_on",
    "ema_decay",
    "epsilon",
    "num_steps",
    "clean_share",
    "batch_size",
    "epochs",
    "augment",
    "label_smoothing",
}


def test_another_family_is_refused(monkeypatch):
    monkeypatch.setitem(models.MODELS, "mine", models.Row(None, "mlp", 8))
    with pytest.raises(UserError, match="--model=mine: unknown family .*'mlp'; known: resnet, eff"):
        resolve("--model=mine")


def test_every_family_of_models_has_a_row():
    assert set(defaults.FAMILIES) == {row.family for row in models.MODELS.values()}


@pytest.mark.parametrize("family", defaults.FAMILIES)
@pytest.mark.parametrize("dataset", [*defaults.DATASETS, "folder:photos"])
def test_every_pair_has_every_default(family, dataset):
    values = defaults.of(family, dataset)
    assert set(values) == KEYS
    assert values["augment"] in AUGMENTATIONS and values["optimizer"] in OPTIMIZERS
    assert values["schedule"] in SCHEDULES and values["weight_decay_on"] in WEIGHT_DECAY_ON


@pytest.mark.parametrize(
    "dataset, epsilon, num_steps, batch_size, epochs, label_smoothing",
    [
        ("digits", 0.2, 3, 64, 30, 0.0),
        ("imagenet2012", 4 / 255, 1, 256, 100, 0.1),
        ("tfrecord:imagenet", 4 / 255, 1, 256, 100, 0.1),
        ("cifar10", 8 / 255, 10, 128, 110, 0.0),
        ("cifar100", 8 / 255, 10, 128, 110, 0.0),
        ("svhn_cropped", 8 / 255, 10, 128, 110, 0.0),
        ("cifar10:3.0.2", 8 / 255, 10, 128, 110, 0.0),
        ("folder:cifar10", 4 / 255, 3, 128, 100, 0.0),
        ("oxford_flowers102", 4 / 255, 3, 128, 100, 0.0),
    ],
)
def test_what_the_data_set_decides(
    dataset, epsilon, num_steps, batch_size, epochs, label_smoothing
):
    values = defaults.of("resnet", dataset)
    assert (values["epsilon"], values["num_steps"]) == (epsilon, num_steps)
    assert (values["batch_size"], values["epochs"]) == (batch_size, epochs)
    assert values["label_smoothing"] == label_smoothing
    assert values["clean_share"] == (1 / 6 if dataset == "digits" else 0)


@pytest.mark.parametrize(
    "family, dataset, learning_rate, weight_decay, schedule",
    [
        ("resnet", "imagenet2012", 0.1, 1e-4, "step"),
        ("resnet", "cifar10", 0.1, 5e-4, "late_step"),
        ("resnet", "cifar100", 0.1, 5e-4, "late_step"),
        ("resnet", "svhn_cropped", 0.01, 5e-4, "step"),
        ("resnet", "digits", 0.1, 5e-4, "triangular"),
        ("resnet", "folder:x", 0.05, 1e-4, "step"),
        ("efficientnet", "imagenet2012", 0.016, 1e-5, "exponential"),
        ("efficientnet", "cifar10", 0.008, 1e-5, "exponential"),
    ],
)
def test_what_both_decide(family, dataset, learning_rate, weight_decay, schedule):
    """The learning rate is that of the data set's own batch."""
    values = defaults.of(family, dataset)
    rate = values["learning_rate_per_256"] * values["batch_size"] / 256
    assert rate == pytest.approx(learning_rate)
    assert (values["weight_decay"], values["schedule"]) == (weight_decay, schedule)


def test_the_release_raises_its_step_to_epsilon():
    """One step of ImageNet's attack crosses the ball, as the recipes say."""
    values = defaults.of("resnet", "imagenet2012")
    assert attacks.default_step_size(values["epsilon"], values["num_steps"]) == 4 / 255
