"""From command lines to configurations: defaults, precedence, durations, refusals."""

import dataclasses
import json

import pytest

from flags import definitions, notes, to_config
from flags.help import help_text
from sat_tf import config as configs
from sat_tf.config import settings as config_settings


def parse(*arguments):
    flags = definitions.define()
    definitions.parse(flags, ["main.py", *arguments])
    return flags


def resolve(*arguments, stored=None):
    return to_config.to_config(parse(*arguments), stored)


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


REFUSALS = {
    "--epsilon=4": "write --epsilon=4/255",
    "--epsilon=-0.1": "--epsilon=-0.1: .* at least 0",
    "--epsilon=nan": "--epsilon=nan: give a number or a fraction",
    "--epsilon=inf": "--epsilon=inf: ",
    "--epsilon=1/0": "--epsilon=1/0: give a number or a fraction",
    "--epsilon=import os": "give a number or a fraction",
    "--step_size=2": "write --step_size=2/255",
    "--eval_step_size=2": "write --eval_step_size=2/255",
    "--num_steps=0": "--num_steps=0: .* at least 1",
    "--clean_start_probability=1.5": "--clean_start_probability=1.5: .* at most 1",
    "--clean_epochs=-1": "--clean_epochs=-1: ",
    "--model=resnet51": "--model=resnet51: unknown model 'resnet51'; known: .*efficientnet-l2",
    "--activation=swoosh": "--activation=swoosh: unknown .*smoothrelu",
    "--activation_alpha=2": "--activation_alpha=2.0: swish has no alpha",
    "--image_size=4": "--image_size=4: .* at least 8",
    "--num_classes=5": "--num_classes=5: digits has 10 classes",
    "--num_classes=1": "--num_classes=1: ",
    "--dropout_rate=1": "--dropout_rate=1.0: .* below 1",
    "--survival_probability=0": "--survival_probability=0.0: .* above 0",
    "--batch_norm_momentum=1": "--batch_norm_momentum=1.0: ",
    "--batch_norm_epsilon=0": "--batch_norm_epsilon=0.0: ",
    "--augment=mixup": "--augment=mixup: .*none|basic",
    "--train_examples=2000": "--train_examples=2000: digits has 1437",
    "--train_examples=0": "--train_examples=0: ",
    "--eval_examples=361": "--eval_examples=361: digits has 360",
    "--eval_examples=0": "--eval_examples=0: ",
    "--method=trade": "--method=trade: unknown method 'trade'; known: standard, pgd, fast",
    "--batch_size=0": "--batch_size=0: ",
    "--batch_size=1438": "--batch_size=1438: larger than the training set in use",
    "--epochs=0": "--epochs=0: ",
    "--epochs=-1": "--epochs=-1: ",
    "--train_steps=-5": "--train_steps=-5: ",
    "--optimizer=lamb": "--optimizer=lamb: .*sgd",
    "--learning_rate=-1": "--learning_rate=-1.0: ",
    "--learning_rate=nan": "--learning_rate=nan: ",
    "--schedule=linear": "--schedule=linear: .*cosine",
    "--drops=1.5": "--drops=1.5: .* below 1",
    "--drops=3/4,1/2": "--drops=0.75,0.5: give rising shares",
    "--drops=late": "--drops=late: give a number or a fraction",
    "--warmup_epochs=-1": "--warmup_epochs=-1.0: ",
    "--warmup_learning_rate=-1": "--warmup_learning_rate=-1.0: ",
    "--weight_decay=-1": "--weight_decay=-1.0: ",
    "--weight_decay_on=all": "--weight_decay_on=all: .*kernels",
    "--label_smoothing=1": "--label_smoothing=1.0: .* below 1",
    "--ema_decay=1": "--ema_decay=1.0: .* below 1",
    "--eval_attacks=pgd": "--eval_attacks=pgd: unknown attack 'pgd': allowed are clean, fgsm",
    "--eval_attacks=": "--eval_attacks=: ",
    "--eval_attacks=clean,nosuch-50x5": "--eval_attacks=clean,nosuch-50x5: unknown attack "
    "'nosuch-50x5'",
    "--eval_norm=l1": "--eval_norm=l1: .*linf|l2",
    "--eval_norm=l2": "--eval_norm=l2: .*give --eval_epsilon",
    "--eval_epsilon=8": "--eval_epsilon=8: .*write --eval_epsilon=8/255",
    "--robust_if=first": "--robust_if=first: .*any_iterate",
    "--autoattack_version=strong": "--autoattack_version=strong: .*standard, plus, rand",
    "--autoattack_version=clean,square": "--autoattack_version=clean,square: 'clean' cannot be",
    "--self_checks=none": "--self_checks=none: .*basic",
    "--curves=time": "--curves=time: unknown curve 'time'; known: epsilon, steps, restarts",
    "--curve_attack=clean": "--curve_attack=clean: name one attack",
    "--curve_epsilons=1/4,3": "--curve_epsilons=3: .*--curve_epsilons=3/255",
    "--save_adversarial=-1": "--save_adversarial=-1: ",
    "--eval_batch_size=0": "--eval_batch_size=0: ",
    "--eval_every=-1": "--eval_every=-1: ",
    "--dataset=mnits": "--dataset=mnits: no such data set; did you mean mnist "
    ".*cifar10.*folder:PATH",
    "--dataset=folder:": "--dataset=folder:: no path; write folder:PATH",
    "--dataset=mnist": "--dataset=mnist: not prepared under --data_dir=.*give --download",
    "--checkpoint_channels=grb": "--checkpoint_channels=grb: .*rgb, bgr|rgb.bgr",
    "--input_range=0,2": "--input_range=0,2: .*0,255",
    "--max_bad_records=-1": "--max_bad_records=-1: .* at least 0",
    "--randaugment_layers=0": "--randaugment_layers=0: .* at least 1",
    "--randaugment_magnitude=31": "--randaugment_magnitude=31.0: .* at most 30",
    "--sparta_kernel_size=2": "--sparta_kernel_size=2: give an odd number",
    "--sparta_gain=0": "--sparta_gain=0.0: .* above 0",
    "--attack_gradient=swoosh": "--attack_gradient=swoosh: unknown activation",
    "--update_gradient=swoosh": "--update_gradient=swoosh: unknown activation",
    "--trades_beta=-1": "--trades_beta=-1.0: .* at least 0",
    "--backward_smoothing_beta=-1": "--backward_smoothing_beta=-1.0: ",
    "--backward_smoothing_gamma=-1": "--backward_smoothing_gamma=-1.0: ",
    "--converge_smooth_threshold=-1": "--converge_smooth_threshold=-1.0: ",
    "--converge_smooth_ratio=0.5": "--converge_smooth_ratio=0.5: .* at least 1",
    "--converge_smooth_weight=-1": "--converge_smooth_weight=-1.0: ",
    "--converge_smooth_stride=-1": "--converge_smooth_stride=-1: ",
    "--catastrophic_drop=2": "--catastrophic_drop=2.0: .* at most 1",
    "--sam_rho=-1": "--sam_rho=-1.0: .* at least 0",
    "--sam_adaptive": "--sam_adaptive=true: .*--sam_rho above 0",
    "--sam_norm=local": "--sam_norm=local: .*global",
    "--validation_examples=1437": "--validation_examples=1437: none of the 1437",
    "--validation_attack=clean": "--validation_attack=clean: name one attack",
    "--patience=3": "--patience=3: .*--validation_examples",
    "--eval_checkpoint=best": "--eval_checkpoint=best: .*--validation_examples",
    "--strategy=horovod": "--strategy=horovod: unknown strategy 'horovod'; known: auto",
    "--virtual_cpus=0": "--virtual_cpus=0: ",
    "--xla=maybe": "--xla=maybe: .*auto",
    "--precision=int8": "--precision=int8: .*bfloat16",
    "--steps_per_execution=0": "--steps_per_execution=0: ",
    "--seed=-1": "--seed=-1: ",
    "--mode=trian": "--mode=trian: .*train_and_eval",
    "--modle=resnet50": "--modle: no such flag; did you mean --mode",
    "epsilon=4/255": "epsilon=4/255: not a flag",
    "--flagfile=missing.flags": "--flagfile: .*missing.flags",
}
# Text that anything may be, switches, or tried later.
NOT_REFUSED_HERE = {
    "model_dir",
    "resume",
    "images",
    "output",
    "init_checkpoint",
    "data_dir",
    "download",
    "checkpoint_ema",
    "random_start",
    "tpu",
    "sparta_shared",
    "sparta_from",
    "transfer_from",
    "freeze_activation",
    "converge_smooth_project",
    "saved_model",
    "saved_model_signature",
}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ("--eval_checkpoint=best",),
            "--eval_checkpoint=best: this run kept no best .* leave the flag out",
        ),
        (("--eval_checkpoint=best", "--validation_examples=8"), "this run kept no best checkpoint"),
        (("--patience=3",), "--patience=3: nothing is trained; leave the flag out"),
    ],
)
def test_a_trained_run_is_not_asked_to_hold_images_out(arguments, message):
    for stored in (resolve(), None):
        with pytest.raises(ValueError, match=message):
            resolve("--mode=eval", *arguments, stored=stored)
    watched = resolve("--validation_examples=8")
    assert resolve(
        "--mode=eval", "--eval_checkpoint=best", stored=watched
    ).evaluation.checkpoint == ("best")


@pytest.mark.parametrize("argument", REFUSALS)
def test_bad_values_are_refused_in_one_line(argument):
    with pytest.raises(ValueError, match=REFUSALS[argument]) as refusal:
        resolve(argument)
    assert "\n" not in str(refusal.value).strip()


def test_every_flag_has_a_refusal():
    tried = {argument.split("=")[0].lstrip("-") for argument in REFUSALS}
    names = {name for group in definitions.GROUPS.values() for _, name, *_ in group}
    assert names - tried - NOT_REFUSED_HERE == set()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ("--method=standard", "--num_steps=3", "--epsilon=0.1"),
            ["--num_steps is not used by --method=standard"],
        ),
        (
            ("--method=pgd", "--num_steps=3", "--randaugment_layers=1"),
            ["--randaugment_layers is not used by --augment=none"],
        ),
        (
            ("--trades_beta=3", "--drops=1/2"),
            [
                "--trades_beta is not used by --method=pgd",
                "--drops is not used by --schedule=triangular",
            ],
        ),
        (
            ("--sam_norm=replica", "--validation_attack=pgd-5"),
            [
                "--sam_norm is not used without --sam_rho",
                "--validation_attack is not used without --validation_examples",
            ],
        ),
        (("--sam_norm=replica", "--sam_rho=0.05"), []),
        (
            ("--method=fast", "--clean_epochs=30"),
            ["--method=fast attacks in none of the 30 epochs"],
        ),
        (
            ("--method=converge_smooth", "--clean_epochs=0", "--epochs=3"),
            [
                "--method=converge_smooth changes the loss in none of the 3 epochs: no stretch of "
                "constant "
                "learning rate is long enough"
            ],
        ),
        (("--method=converge_smooth",), []),
        (
            ("--validation_examples=9", "--patience=3", "--clean_epochs=1", "--epochs=4"),
            ["--patience=3 cannot end the run: it has 3 epochs with attack"],
        ),
        (
            ("--autoattack_version=rand", "--curve_attack=fgsm", "--curve_epsilons=0.1"),
            [
                "--autoattack_version is not used without autoattack among the attacks",
                "--curve_attack is not used without --curves",
                "--curve_epsilons is not used without epsilon in --curves",
            ],
        ),
        (
            (
                "--eval_attacks=clean,autoattack",
                "--autoattack_version=rand",
                "--curves=steps",
                "--curve_attack=pgd-5",
            ),
            [],
        ),
        (("--autoattack_version=rand", "--curves=epsilon", "--curve_attack=autoattack"), []),
        (
            ("--eval_attacks=clean", "--save_adversarial=4"),
            ["--save_adversarial is not used without an attack in --eval_attacks"],
        ),
        (("--method=trades", "--trades_beta=3", "--schedule=step", "--drops=1/2"), []),
        (("--augment=randaugment", "--randaugment_layers=1"), []),
        (("--activation=relu", "--attack_gradient=swish", "--update_gradient=smoothrelu"), []),
        (("--activation=elu", "--activation_alpha=1.2", "--attack_gradient=swish"), []),
        (
            ("--activation=elu", "--attack_gradient=swish"),
            ["--attack_gradient=swish replaces the derivative of elu, which is smooth already"],
        ),
        (
            ("--activation=relu", "--update_gradient=relu", "--method=standard"),
            ["--update_gradient=relu names the network's own activation"],
        ),
        (
            ("--activation=relu", "--attack_gradient=swish", "--method=standard"),
            ["--attack_gradient is not used by --method=standard, only to evaluate"],
        ),
    ],
)
def test_flags_that_a_run_has_no_use_for_are_named(arguments, said):
    flags = parse(*arguments)
    assert notes.of(flags, to_config.to_config(flags)) == said


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ("--mode=eval", "--method=fast", "--sam_rho=0", "--epsilon=0.1", "--seed=1"),
            [
                "the run was trained with --method=converge_smooth; --method=fast is not used",
                "the run was trained with --sam_rho=0.05; --sam_rho=0 is not used",
            ],
        ),
        (("--mode=eval", "--method=converge_smooth", "--eval_attacks=fgsm", "--epochs=1"), []),
        (
            ("--mode=eval", "--attack_gradient=swish", "--update_gradient=elu"),
            [
                "--attack_gradient=swish is only evaluated with; the run was trained without "
                "--attack_gradient",
                "--update_gradient=elu is only evaluated with; the run was trained with "
                "--update_gradient=swish",
            ],
        ),
        (
            (
                "--mode=export",
                "--update_gradient=elu",
                "--drops=1/2,3/4",
                "--epsilon=1/10",
                "--norandom_start",
                "--precision=bfloat16",
            ),
            [
                "the run was trained with --epsilon=0.2; --epsilon=0.1 is not used",
                "the run was trained with --random_start=true; --random_start=false is not used",
                "the run was trained with --update_gradient=swish; --update_gradient=elu is not "
                "used",
                "the run was trained without --drops; --drops=0.5,0.75 is not used",
            ],
        ),
    ],
)
def test_flags_that_a_trained_run_differs_in_are_named(arguments, said):
    stored = resolve(
        "--method=converge_smooth", "--sam_rho=0.05", "--activation=relu", "--update_gradient=swish"
    )
    flags = parse(*arguments)
    assert notes.of(flags, to_config.to_config(flags, stored), applied=stored) == said


def test_help_names_every_flag_in_its_group():
    flags = definitions.define()
    text = help_text(flags)
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
