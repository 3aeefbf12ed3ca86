"""From command lines to configurations: defaults, precedence, durations."""

import dataclasses
import json
import os
import re

import pytest
from flag_values import parse, resolve

from flags import definitions
from flags.help import help_text
from sat_tf import config as configs
from sat_tf.config import settings as config_settings


def test_digits_defaults():
    config = resolve()
    assert config.model.name == "resnet20" and config.model.activation == "swish"
    assert (config.model.image_size, config.model.num_classes) == (8, 10)
    assert (config.data.train_examples, config.data.eval_examples) == (1437, 360)
    assert config.optimizer.steps_per_epoch == 1437 // config.data.batch_size
    assert config.optimizer.train_steps == 30 * config.optimizer.steps_per_epoch
    assert config.evaluation.attacks == ("clean", "pgd-20")


def test_fractions_are_parsed():
    assert resolve("--epsilon=4/255").attack.epsilon == 4 / 255
    assert resolve("--epsilon=0.0157").attack.epsilon == 0.0157
    assert resolve("--eval_step_size=1/255").evaluation.step_size == 1 / 255


def test_paths_may_start_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    flags = parse(
        "--model_dir=~/a", "--init_checkpoint=~/b", "--sparta_from=~/c", "--saved_model=~/d"
    )
    assert [flags.model_dir, flags.init_checkpoint, flags.sparta_from, flags.saved_model] == [
        "/home/me/a",
        "/home/me/b",
        "/home/me/c",
        "/home/me/d",
    ]


def test_step_size_follows_epsilon_and_method():
    assert resolve("--epsilon=8/255", "--num_steps=4").attack.step_size == 2 / 255
    assert resolve("--epsilon=2/255", "--num_steps=4").attack.step_size == 1 / 255
    fast = resolve("--method=fast", "--epsilon=8/255").attack
    assert fast.step_size == pytest.approx(10 / 255) and fast.num_steps == 1
    assert resolve("--epsilon=8/255", "--step_size=1/255").attack.step_size == 1 / 255


def test_an_epsilon_whose_default_step_is_too_large_is_named_and_not_the_step():
    with pytest.raises(
        ValueError,
        match="^--epsilon=0.9: fast steps 1.25 epsilon, which must be "
        "below 1; give at most 0.79, or a --step_size$",
    ):
        resolve("--method=fast", "--epsilon=0.9")
    assert resolve("--method=fast", "--epsilon=0.79").attack.step_size < 1
    assert resolve("--method=fast", "--epsilon=0.9", "--step_size=0.9").attack.step_size == 0.9
    with pytest.raises(ValueError, match="^--step_size=1.125: "):
        resolve("--method=fast", "--epsilon=0.9", "--step_size=1.125")


def test_families_have_their_own_recipes():
    resnet = resolve("--model=resnet50", "--batch_size=512").optimizer
    b0 = resolve("--model=efficientnet-b0", "--batch_size=512").optimizer
    assert (resnet.name, resnet.weight_decay_on) == ("sgd", "kernels")
    assert (b0.name, b0.weight_decay_on, b0.ema_decay) == ("rmsprop", "all_but_batch_norm", 0.9999)
    assert (b0.schedule, b0.learning_rate) == ("exponential", pytest.approx(0.032))


def test_durations_become_steps():
    config = resolve("--batch_size=100", "--epochs=2.5", "--warmup_epochs=0.5")
    assert (config.optimizer.steps_per_epoch, config.optimizer.train_steps) == (14, 35)
    assert config.optimizer.warmup_steps == 7
    assert resolve("--train_steps=3", "--epochs=2").optimizer.train_steps == 3


def test_evaluation_batches_are_no_larger_than_the_examples_fill():
    assert resolve().evaluation.batch_size == 128
    assert resolve("--eval_examples=16").evaluation.batch_size == 16
    assert resolve("--eval_examples=20").evaluation.batch_size == 24


def test_clean_epochs_are_a_share_of_a_long_run():
    assert resolve().method.clean_epochs == 5
    assert resolve("--train_steps=2").method.clean_epochs == 0
    assert resolve("--clean_epochs=3").method.clean_epochs == 3


def test_the_releases_spelling_is_accepted():
    assert resolve("--model=efficientnet-bL1").model.name == "efficientnet-l1"


def test_a_run_gives_what_flags_do_not():
    stored = resolve("--activation=gelu", "--epsilon=0.1", "--train_steps=7", "--seed=3")
    config = resolve("--eval_attacks=fgsm", stored=stored)
    assert config_settings.differences(stored, config) == []
    assert config.optimizer.train_steps == 7
    assert config.evaluation.attacks == ("fgsm",)
    changed = resolve("--activation=relu", "--seed=4", stored=stored)
    assert config_settings.differences(stored, changed) == [
        "seed (3 there, 4 now)",
        "activation (gelu there, relu now)",
    ]


def test_hardware_and_length_may_change_between_commands():
    stored = resolve()
    config = resolve(
        "--strategy=mirrored", "--xla=on", "--epochs=50", "--eval_every=2", stored=stored
    )
    assert config_settings.differences(stored, config) == []


def test_hardware_is_that_of_the_command_not_of_the_run():
    """A run that was trained on a TPU is measured on a laptop without naming the TPU away."""
    stored = resolve(
        "--strategy=tpu",
        "--tpu=pod",
        "--virtual_cpus=2",
        "--xla=on",
        "--steps_per_execution=5",
        "--precision=bfloat16",
    )
    settings = resolve(stored=stored).distribution
    assert settings.precision == "bfloat16"  # the one of them that is a part of the computation
    plain = resolve("--precision=bfloat16").distribution
    assert settings == plain


def test_a_run_of_before_there_was_a_setting_has_its_default():
    values = json.loads(resolve().to_json())
    del values["data"]["max_bad_records"], values["data"]["randaugment_layers"]
    assert configs.Config.from_dict(values) == resolve()


def test_json_round_trip():
    config = resolve("--eval_attacks=clean,fgsm,pgd-5x2")
    assert configs.Config.from_dict(json.loads(config.to_json())) == config


@pytest.mark.parametrize("values", [{}, {"seed": 1}, {"model": {"nome": "x"}, "seed": 0}])
def test_other_versions_settings_are_refused(values):
    with pytest.raises(ValueError, match="not a configuration of this version"):
        configs.Config.from_dict(values)


def test_help_names_every_flag_in_its_group():
    flags = definitions.define()
    text = help_text(flags)
    recipes = re.search("RECIPE: (.*/)NAME.flags", text).group(1)
    assert os.path.exists(recipes + "digits-pgd.flags")
    for title, group in definitions.GROUPS.items():
        assert f"\n{title}:\n" in text
        assert all(f"  --{name}\n" in text for _, name, *_ in group)


def test_every_setting_is_a_flag():
    """But for what follows from flags: the run's length in steps."""
    names = {name for group in definitions.GROUPS.values() for _, name, *_ in group}
    settings = set(config_settings.flag_values(resolve()))
    assert settings - names == {"steps_per_epoch"}
    saved = configs.SavedModelConfig("m", "0,1", "logits", image_size=8, num_classes=10)
    instead = config_settings.flag_values(dataclasses.replace(resolve(), model=saved))
    assert set(instead) - names == {"steps_per_epoch"} and "activation" not in instead
    assert (instead["saved_model"], instead["image_size"]) == ("m", 8)
    assert all(
        dataclasses.is_dataclass(getattr(resolve(), f.name))
        for f in dataclasses.fields(configs.Config)
        if f.name != "seed"
    )


def test_a_radius_of_another_norm_is_not_taken_over():
    stored = resolve("--eval_epsilon=8/255", "--eval_step_size=2/255", "--curve_epsilons=1/255")
    same = resolve("--mode=eval", stored=stored).evaluation
    assert (same.epsilon, same.step_size) == (8 / 255, 2 / 255)
    with pytest.raises(ValueError, match="--eval_norm=l2: .*give --eval_epsilon"):
        resolve("--mode=eval", "--eval_norm=l2", stored=stored)
    other = resolve("--mode=eval", "--eval_norm=l2", "--eval_epsilon=1/2", stored=stored).evaluation
    assert (other.epsilon, other.step_size, other.curve_epsilons) == (0.5, None, None)
    assert resolve("--mode=eval", "--epsilon=16/255", stored=stored).evaluation_epsilon == 16 / 255


def test_evaluation_is_in_the_norm_of_training_unless_another_is_named():
    trained = resolve("--norm=l2", "--epsilon=1/2", "--step_size=2")
    assert (trained.attack.norm, trained.attack.epsilon, trained.attack.step_size) == ("l2", 0.5, 2)
    assert (trained.evaluation.norm, trained.evaluation_epsilon) == ("l2", 0.5)
    with pytest.raises(ValueError, match="--epsilon=-1.0: give a number at least 0"):
        resolve("--norm=l2", "--epsilon=-1")
    stored = resolve("--mode=eval", stored=trained)
    assert (stored.evaluation.norm, stored.evaluation_epsilon) == ("l2", 0.5)
    with pytest.raises(ValueError, match="--eval_norm=linf: .*norm l2 .*--eval_epsilon too"):
        resolve("--mode=eval", "--eval_norm=linf", stored=trained)
    other = resolve("--mode=eval", "--eval_norm=linf", "--eval_epsilon=8/255", stored=trained)
    assert (other.evaluation.norm, other.evaluation_epsilon) == ("linf", 8 / 255)
