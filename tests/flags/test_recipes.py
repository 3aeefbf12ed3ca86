"""Every recipe parses, is what its name says, and builds its network."""

import re

import pytest
import recipes
import tensorflow as tf

from sat_tf import config as configs
from sat_tf import models
from sat_tf.config import MethodConfig
from sat_tf.training.optimization import Schedule

every_recipe = pytest.mark.parametrize("name", recipes.RECIPES)


IMAGENET_RESNETS = [name for name in recipes.RECIPES if name.startswith("imagenet-resne")]


EFFICIENTNETS = [name for name in recipes.RECIPES if "efficientnet" in name]


ACTIVATIONS_ON_CIFAR = ("relu", "softplus", "gelu", "smoothrelu", "elu", "celu", "swish", "sparta")


CIFAR = [
    *(f"cifar10-resnet18-{activation}" for activation in ACTIVATIONS_ON_CIFAR),
    "cifar10-resnet34-sparta-frozen",
]


GRADIENTS = {
    "attack_gradient": ("attack",),
    "update_gradient": ("update",),
    "both_gradients": ("attack", "update"),
}


RELEASE_ATTACKS = ("clean", "pgd-10", "pgd-20", "pgd-50")


# Their graphs take over two seconds each.
AS_IN_THE_TABLE = tuple(
    f"efficientnet-{v}" for v in ("b1", "b2", "b3", "b4", "b5", "b6", "b7", "l1")
)
DAILY = ("digits-pgd", "cifar10-preact-resnet18-fast", "cifar10-resnet34-sparta-frozen")


def test_every_table_and_every_method_has_its_recipes():
    assert {name for name in recipes.RECIPES if not name.startswith("digits")} == {
        *(
            f"imagenet-resnet50-{activation}"
            for activation in (
                "relu",
                "parametric_softplus",
                "softplus",
                "smoothrelu",
                "gelu",
                "elu",
                "swish",
            )
        ),
        *(
            f"imagenet-{model}-swish"
            for model in ("resnet101", "resnet152", "resnext50-32x4d", "resnext50-32x8d")
        ),
        "imagenet-resnet50-swish-299",
        "imagenet-resnet50-swish-380",
        "imagenet-resnext152-32x8d-swish-380",
        *(
            f"imagenet-efficientnet-{variant}"
            for variant in ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "l1", "l1-enhanced")
        ),
        *CIFAR,
        *(f"imagenet-resnet50-relu-{gradients}" for gradients in GRADIENTS),
        "cifar10-wide-resnet-34-10-trades",
        "cifar10-preact-resnet18-fast",
        "cifar10-resnet18-backward_smoothing",
        "cifar10-wide-resnet-34-10-backward_smoothing",
        "cifar10-resnet18-converge_smooth",
        "cifar10-preact-resnet18-sam",
        "cifar10-preact-resnet18-pgd-sam",
    }


@every_recipe
def test_names_say_what_is_trained(name):
    config = recipes.config(name)
    dataset, rest = name.split("-", 1)
    assert config.data.name == {"imagenet": "imagenet2012"}.get(dataset, dataset)
    if dataset != "digits":
        assert rest.startswith(config.model.name)
        extra = rest[len(config.model.name) :].lstrip("-")
        if config.model.name.startswith("efficientnet"):
            assert extra in ("", "enhanced") and config.model.activation == "swish"
        else:
            assert extra == _methods_name(config) or re.fullmatch(
                rf"{config.model.activation}(-{config.model.image_size}|-.*_gradients?|-frozen)?",
                extra,
            )


def _methods_name(config):
    return "-".join(
        [config.method.name] * (config.method.name != "standard")
        + ["sam"] * (config.optimizer.sam_rho > 0)
    )


def _optimizer(config):
    settings = config.optimizer
    return (
        settings.name,
        settings.schedule,
        settings.weight_decay,
        settings.weight_decay_on,
        settings.ema_decay,
    )


@pytest.mark.parametrize("name", IMAGENET_RESNETS)
def test_resnets_on_imagenet(name):
    config = recipes.config(name)
    replaced = GRADIENTS.get(name.split("-")[-1], ())
    attack, update = (
        "parametric_softplus" if pass_ in replaced else None for pass_ in ("attack", "update")
    )
    assert config.attack == configs.AttackConfig(
        epsilon=4 / 255,
        step_size=4 / 255,
        num_steps=1,
        random_start=True,
        clean_start_probability=0.2,
        attack_gradient=attack,
    )
    assert config.method == MethodConfig(
        "pgd", clean_epochs=0, label_smoothing=0.1, update_gradient=update
    )
    assert (config.data.batch_size, config.data.augment) == (256, "basic")
    assert _optimizer(config) == ("sgd", "step", 1e-4, "kernels", 0.0)
    # 1,281,167 images; a warm-up from 0.1 to 0.1 is none.
    assert (config.optimizer.steps_per_epoch, config.optimizer.train_steps) == (5004, 500_400)
    assert config.optimizer.learning_rate == config.optimizer.warmup_learning_rate == 0.1
    assert (config.model.batch_norm_momentum, config.model.batch_norm_epsilon) == (0.9, 1e-5)
    assert config.evaluation.attacks[:4] == RELEASE_ATTACKS


def test_sparta_is_kept_as_the_other_recipe_has_learnt_it():
    learnt, kept = (
        recipes.config(name).model
        for name in ("cifar10-resnet18-sparta", "cifar10-resnet34-sparta-frozen")
    )
    assert (learnt.sparta_from, learnt.freeze_activation) == (None, False)
    assert (kept.sparta_from, kept.freeze_activation) == ("runs/resnet18-sparta-cifar10-pgd", True)
    assert learnt.activation == kept.activation == "sparta"


def test_drops_after_30_60_and_90_of_100_epochs():
    settings = recipes.config("imagenet-resnet50-swish").optimizer
    schedule = Schedule(
        "step",
        learning_rate=settings.learning_rate,
        total_steps=settings.train_steps,
        steps_per_epoch=settings.steps_per_epoch,
    )
    for epoch, before, after in ((30, 0.1, 0.01), (60, 0.01, 1e-3), (90, 1e-3, 1e-4)):
        step = epoch * settings.steps_per_epoch
        assert float(schedule(step - 1)) == pytest.approx(before)
        assert float(schedule(step + 1)) == pytest.approx(after)


@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_efficientnets(name):
    config = recipes.config(name)
    assert config.attack == recipes.config("imagenet-resnet50-swish").attack
    assert config.method == recipes.config("imagenet-resnet50-swish").method
    assert (config.data.batch_size, config.data.augment) == (2048, "basic")
    assert _optimizer(config) == (
        "rmsprop",
        "exponential",
        1e-5,
        "all_but_batch_norm",
        0.9999 if name.endswith("enhanced") else 0.0,
    )
    assert config.optimizer.learning_rate == pytest.approx(0.128)
    assert (config.optimizer.warmup_epochs, config.optimizer.warmup_learning_rate) == (5, 0)
    row = models.MODELS[config.model.name]
    assert config.model.image_size == row.image_size
    assert config.model.dropout_rate == row.dropout_rate
    assert config.model.survival_probability == 0.8
    assert (config.model.batch_norm_momentum, config.model.batch_norm_epsilon) == (0.9, 1e-5)
    assert config.evaluation.attacks == RELEASE_ATTACKS


@pytest.mark.parametrize("name", CIFAR)
def test_cifar(name):
    config = recipes.config(name)
    assert config.attack == configs.AttackConfig(
        epsilon=8 / 255,
        step_size=2 / 255,
        num_steps=10,
        random_start=True,
        clean_start_probability=0.0,
    )
    assert config.method == MethodConfig("pgd", clean_epochs=0, label_smoothing=0.0)
    assert (config.data.batch_size, config.data.augment) == (128, "basic")
    assert _optimizer(config) == ("sgd", "late_step", 5e-4, "kernels", 0.0)
    assert config.optimizer.train_steps == 110 * (50_000 // 128)
    assert config.optimizer.learning_rate == config.optimizer.warmup_learning_rate == 0.1
    assert (config.model.image_size, config.model.num_classes) == (32, 10)
    alpha = 2.0 if config.model.activation in ("elu", "celu") else None
    assert config.model.activation_alpha == alpha


def _distinct_networks():
    """One recipe of those that differ in training only.

    Those in DAILY are built every day: tests/models holds the models against every activation, and
    builds those in AS_IN_THE_TABLE as they are.
    """
    first = {}
    for name, path in recipes.RECIPES.items():
        network = re.findall(r"^--(?:model|activation|image_size)=(.*)", path.read_text(), re.M)
        first.setdefault(tuple(network), name)
    found = []
    for network, name in first.items():
        model = network[0]
        if model in AS_IN_THE_TABLE:
            continue
        found.append(pytest.param(name, marks=[pytest.mark.slow] * (name not in DAILY)))
    return found


def test_the_large_efficientnets_are_those_of_the_table():
    found = [recipes.config(name).model for name in recipes.RECIPES]
    large = [model for model in found if model.name in AS_IN_THE_TABLE]
    assert {model.name for model in large} == set(AS_IN_THE_TABLE)
    for model in large:
        size = models.MODELS[model.name].image_size
        assert (model.activation, model.num_classes, model.image_size) == ("swish", 1000, size)


@pytest.mark.parametrize("name", _distinct_networks())
def test_networks_build(name):
    """In a graph that is never run, so that no weight takes memory."""
    settings = recipes.config(name).model
    with tf.Graph().as_default():
        model = models.build(settings)
    assert model.input_shape == (None, settings.image_size, settings.image_size, 3)
    assert model.output_shape == (None, settings.num_classes)
    assert {
        layer.activation_name for layer in model.layers if hasattr(layer, "activation_name")
    } == {settings.activation}
