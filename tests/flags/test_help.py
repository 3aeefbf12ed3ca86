"""Help on everything, a group, or a flag; and what is said of a name or value with a slip in it."""

import os
import sys

import pytest
from flag_values import parse

import main
from flags import help
from flags.definitions import RECIPES
from flags.groups import GROUPS


def said(capsys, *arguments):
    """Returns status, standard output and standard error of a command."""
    status = main.main(["main.py", *arguments])
    return status, *capsys.readouterr()


@pytest.mark.parametrize("argument", ["--help", "-h", "-help", "-?", "--helpfull"])
def test_help_has_every_flag(argument, capsys):
    status, out, err = said(capsys, argument)
    assert status == 0 and not err
    for group in GROUPS.values():
        for definition in group:
            assert f"\n  --{definition.name}\n" in out
    listed = all(name.removesuffix(".flags") in out for name in os.listdir(RECIPES))
    assert listed == (argument == "--helpfull")


def test_short_help_has_the_names(capsys):
    status, out, _ = said(capsys, "--helpshort")
    assert status == 0 and "optimisation: --batch_size" in out
    assert len(out.splitlines()) < 40


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("form", ["--help={}", "--help {}", "-h {}"])
def test_help_on_a_group_has_its_flags_and_no_others(group, form, capsys):
    first = form.format(group).split(" ", 1)
    status, out, _ = said(capsys, *first)
    assert status == 0 and out.startswith(f"{group}:\n")
    for title, flags in GROUPS.items():
        for definition in flags:
            assert (f"\n  --{definition.name}\n" in out) == (title == group)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help", "epsilon"),
        ("--help=epsilon",),
        ("--help=--epsilon",),
        ("--help", "--epsilon"),
        ("--helpful=0", "--help", "epsilon"),
    ],
)
def test_help_on_a_flag_has_that_alone(arguments, capsys):
    status, out, _ = said(capsys, *arguments)
    assert status == 0 and out.startswith("attack in training:\n  --epsilon\n")
    assert out.count("\n  --") == 1


def test_a_flag_that_is_called_as_its_group_is_asked_for_with_its_dashes(capsys):
    assert said(capsys, "--help", "--model")[1].startswith("model:\n  --model\n      One of")
    assert "--activation\n" not in said(capsys, "--help=--model")[1]


@pytest.mark.parametrize(
    "topic, title", [("attack", "attack in training"), ("optimization", "optimisation")]
)
def test_a_group_is_known_by_its_beginning_and_in_either_spelling(topic, title, capsys):
    assert said(capsys, f"--help={topic}")[1].startswith(f"{title}:\n")


def test_help_says_what_is_allowed(capsys):
    assert "One of auto, on, off." in said(capsys, "--help=xla")[1]


def test_an_unknown_topic_is_refused(capsys):
    status, out, err = said(capsys, "--help=epsilom")
    assert status == 2 and not out
    assert err.startswith("error: --help=epsilom: no such group or flag; groups are run, ")
    assert "; did you mean epsilon" in err


def test_what_is_no_question_is_none():
    assert help.topic(["main.py", "--epsilon=4/255"]) is None
    assert help.topic(["--help", "--epochs=3"]) is None  # the program's own name


@pytest.mark.parametrize(
    "argument, meant",
    [
        ("--activation=swsh", "swish"),
        ("--activation=ReLu", "relu or relu6"),
        ("--model=resnet-50", "resnet50"),
        ("--model=efficientnet-l3", "efficientnet-l"),
        ("--method=trads", "trades"),
        ("--eval_attacks=clean,pdg-20", "pgd-N"),
        ("--eval_attacks=autoatack", "autoattack"),
        ("--mode=trian", "train"),
        ("--schedule=cosin", "cosine"),
        ("--strategy=mirored", "mirrored"),
        ("--augment=randaugmet", "randaugment"),
        ("--optimizer=sdg", "sgd"),
        ("--curves=epsilo", "epsilon"),
        ("--attack_gradient=softplu", "softplus"),
        ("--autoattack_version=standrd", "standard"),
        ("--actvation=swish", "--activation"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(argument, meant, capsys):
    status, _, err = said(capsys, argument)
    assert status == 2 and err.startswith("error: --") and err.count("\n") == 1
    assert f"did you mean {meant}" in err


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--epochs", "--epochs: no value; write --epochs=VALUE"),
        ("--batch_size=many", "--batch_size=many: give an integer"),
        ("--seed=1.5", "--seed=1.5: give an integer"),
        ("--resume=maybe", "--resume=maybe: give true or false"),
        ("--noresume=1", "--noresume: takes no value; write --resume=false"),
        ("--flagfile=nosuch.flags", "--flagfile: Unable to open flagfile: "),
    ],
)
def test_what_absl_says_reads_like_the_rest(argument, message, capsys):
    status, _, err = said(capsys, argument)
    assert status == 2 and err.startswith(f"error: {message}") and err.count("\n") == 1


def test_flags_are_parsed_as_before():
    assert parse("--nodry_run", "--epsilon=4/255").epsilon == pytest.approx(4 / 255)
    assert "absl" in sys.modules
