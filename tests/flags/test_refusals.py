"""What flags are refused for, in one line each; every flag has its refusal."""

import pytest
from flag_values import resolve

from flags import definitions

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
    "--augment=mixup": "--augment=mixup: unknown augmentation .*none, basic",
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
    "--plugin=nosuch.py": r"--plugin=.*nosuch.py: cannot be read \(No such file",
    "--norm=l1": "--norm=l1: .*linf|l2",
    "--norm=l2": "--norm=l2: .*give --epsilon too, such as 0.5",
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
    "--save_every=1day": "--save_every=1day: give a number of steps, or a time such as 30min",
    "--histogram_every=-1": "--histogram_every=-1: ",
    "--profile=10": "--profile=10: give the first and the last step, such as 100,110",
    "--profile=9,8": "--profile=9,8: give the first and the last step",
    "--profile=0,8": "--profile=0,8: give the first and the last step",
    "--keep_checkpoints=1": "--keep_checkpoints=1: .* at least 2",
    "--save_every=-5": "--save_every=-5: give a number of steps",
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
    "--flagfile=missing.flags": "--flagfile: .*missing.flags.*flags/recipes",
}


# Text that anything may be, switches, or tried later.
NOT_REFUSED_HERE = {
    "model_dir",
    "dry_run",
    "resume",
    "images",
    "output",
    "top",
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
    "workers",
    "worker_index",
    "sync_batch_norm",
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
