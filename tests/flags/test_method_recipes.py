"""What the recipes of the methods around SAT come to: attack, constants, rates and evaluation."""

from typing import NamedTuple

import pytest
import recipes

from flags import definitions, notes, to_config
from sat_tf import config as configs
from sat_tf.config import MethodConfig
from sat_tf.training.optimization import Schedule


class Recipe(NamedTuple):
    """What a method's recipe comes to; `rates` are {epochs that are over: learning rate then}."""

    attack: tuple  # epsilon, step_size, num_steps
    method: MethodConfig
    epochs: int
    rates: dict
    attacks: tuple
    eval_step_size: float | None
    weight_decay: float = 5e-4
    sam_rho: float = 0.0


def _method(name, **constants):
    return MethodConfig(name, **{"clean_epochs": 0, "label_smoothing": 0.0, **constants})


_BACKWARD = Recipe(
    (0.031, 0.031, 1),
    _method("backward_smoothing", backward_smoothing_beta=10.0, backward_smoothing_gamma=1.0),
    100,
    {0: 0.1, 49: 0.1, 50: 0.01, 74: 0.01, 75: 1e-3, 99: 1e-3},
    ("clean", "pgd-20", "pgd-100"),
    0.0078,
)
_SAM_RATES = {0: 0.1, 74: 0.1, 75: 0.01, 89: 0.01, 90: 1e-3, 99: 1e-3}
METHODS = {
    "cifar10-wide-resnet-34-10-trades": Recipe(
        (0.031, 0.007, 10),
        _method("trades", trades_beta=6.0),
        76,
        {0: 0.1, 73: 0.1, 74: 0.01, 75: 0.01},
        ("clean", "pgd-20"),
        0.003,
        weight_decay=2e-4,
    ),
    "cifar10-preact-resnet18-fast": Recipe(
        (8 / 255, 10 / 255, 1),
        _method("fast", catastrophic_drop=0.2),
        15,
        {0: 0.0, 3: 0.08, 7.5: 0.2, 12: 0.08, 15: 0.0},
        ("clean", "pgd-50x10"),
        2 / 255,
    ),
    "cifar10-resnet18-backward_smoothing": _BACKWARD,
    "cifar10-wide-resnet-34-10-backward_smoothing": _BACKWARD,
    "cifar10-resnet18-converge_smooth": Recipe(
        (16 / 255, 16 / 255, 1),
        _method(
            "converge_smooth",
            label_smoothing=4 / 9,
            converge_smooth_threshold=0.03,
            converge_smooth_ratio=1.0,
            converge_smooth_weight=1.0,
            converge_smooth_stride=1,
            converge_smooth_project=False,
        ),
        110,
        {0: 0.1, 99: 0.1, 100: 0.01, 104: 0.01, 105: 1e-3, 109: 1e-3},
        ("clean", "fgsm", "pgd-10", "pgd-20", "pgd-50"),
        2 / 255,
    ),
    "cifar10-preact-resnet18-sam": Recipe(
        (1 / 255, 1 / 255, 10),
        _method("standard"),
        100,
        _SAM_RATES,
        ("clean", "pgd-10"),
        1 / 1020,
        sam_rho=0.05,
    ),
    "cifar10-preact-resnet18-pgd-sam": Recipe(
        (8 / 255, 2 / 255, 5),
        _method("pgd"),
        100,
        _SAM_RATES,
        ("clean", "pgd-10", "pgd-20", "pgd-50"),
        None,
        sam_rho=0.05,
    ),
}


def test_no_recipe_of_a_method_is_left_out():
    """The others on CIFAR-10 compare activations, and test_recipes.py has their settings."""
    assert set(METHODS) == {
        name
        for name in recipes.RECIPES
        if name.startswith("cifar10-")
        and recipes.config(name).model.activation not in name.split("-")
    }


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    config, expected = recipes.config(name), METHODS[name]
    epsilon, step_size, num_steps = expected.attack
    assert config.attack == configs.AttackConfig(
        epsilon=epsilon,
        step_size=step_size,
        num_steps=num_steps,
        random_start=True,
        clean_start_probability=0.0,
    )
    assert config.method == expected.method
    assert (config.data.batch_size, config.data.augment) == (128, "basic")
    assert config.model.activation == "relu"
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.weight_decay, optimizer.ema_decay, optimizer.sam_rho) == (
        "sgd",
        expected.weight_decay,
        0.0,
        expected.sam_rho,
    )
    assert optimizer.train_steps == expected.epochs * (50_000 // 128)
    assert (config.evaluation.attacks, config.evaluation.step_size) == (
        expected.attacks,
        expected.eval_step_size,
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_flag_has_a_use(name):
    flags = definitions.define()
    definitions.parse(flags, ["main.py", f"--flagfile={recipes.RECIPES[name]}"])
    assert notes.of(flags, to_config.to_config(flags)) == []


@pytest.mark.parametrize("name", METHODS)
def test_rates_of_the_methods(name):
    settings = recipes.config(name).optimizer
    schedule = Schedule(
        settings.schedule,
        learning_rate=settings.learning_rate,
        total_steps=settings.train_steps,
        steps_per_epoch=settings.steps_per_epoch,
        drops=settings.drops,
        warmup_steps=settings.warmup_steps,
        warmup_learning_rate=settings.warmup_learning_rate,
    )
    for epochs, rate in METHODS[name].rates.items():
        assert float(schedule(epochs * settings.steps_per_epoch)) == pytest.approx(rate), epochs


def test_the_true_class_has_six_tenths_under_converge_smooth():
    config = recipes.config("cifar10-resnet18-converge_smooth")
    smoothing, classes = config.method.label_smoothing, config.model.num_classes
    assert 1 - smoothing + smoothing / classes == pytest.approx(0.6)
