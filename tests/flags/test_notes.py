"""Flags without a use, which are named."""

import dataclasses

import pytest
from flag_values import parse, resolve

from flags import notes, to_config
from sat_tf import data


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


@pytest.mark.parametrize(
    "mode, said", [("eval", True), ("train_and_eval", True), ("export", False)]
)
def test_classes_without_an_image_are_said_where_something_is_measured(mode, said):
    description = dataclasses.replace(data.describe("digits"), eval_lacks=("3", "7"))
    flags = parse(f"--mode={mode}")
    note = "--dataset=digits has no image of 3, 7 to measure on (2 of 10 classes)"
    notes_of = notes.of(flags, to_config.to_config(flags), description=description)
    assert (note in notes_of) == said
