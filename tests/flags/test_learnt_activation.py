"""Options of sparta, where its weights come from, and freezing: from flags to settings."""

import json

import pytest

from flags import definitions, notes, to_config
from sat_tf import config as configs
from sat_tf import errors
from sat_tf.config import settings as config_settings


def parse(*arguments):
    flags = definitions.define()
    definitions.parse(flags, ["main.py", *arguments])
    return flags


def resolve(*arguments, stored=None, learnt=None):
    return to_config.to_config(parse(*arguments), stored, learnt=learnt)


def _options(config):
    model = config.model
    return model.sparta_kernel_size, model.sparta_shared, model.sparta_gain


@pytest.fixture
def learnt():
    """The network of the run that --sparta_from names."""
    return resolve(
        "--activation=sparta", "--sparta_kernel_size=5", "--sparta_shared", "--sparta_gain=2"
    ).model


def test_the_flags_the_source_and_the_defaults_in_this_order(learnt):
    assert _options(resolve("--activation=sparta")) == (3, False, 1.0)
    taken = resolve(
        "--activation=sparta", "--sparta_from=run", "--freeze_activation", learnt=learnt
    )
    assert _options(taken) == (5, True, 2.0)
    assert taken.model.sparta_from == "run" and taken.model.freeze_activation
    assert _options(
        resolve(
            "--activation=sparta",
            "--sparta_from=run",
            "--sparta_gain=1",
            "--sparta_shared=false",
            learnt=learnt,
        )
    ) == (5, False, 1.0)


def test_a_run_that_is_continued_or_applied_needs_no_source(learnt):
    command = ("--activation=sparta", "--sparta_from=run", "--freeze_activation")
    stored = configs.Config.from_dict(json.loads(resolve(*command, learnt=learnt).to_json()))
    for arguments in ((), command, ("--mode=eval",)):
        config = resolve(*arguments, stored=stored)
        assert config_settings.differences(stored, config) == [] and _options(config) == (
            5,
            True,
            2.0,
        )
    assert config_settings.differences(stored, resolve("--sparta_from=other", stored=stored)) == [
        "sparta_from (run there, other now)"
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ("--sparta_from=run",),
            "^--sparta_from=run: --activation=swish .*give --activation=sparta",
        ),
        (
            ("--freeze_activation",),
            "^--freeze_activation=true: swish learns .*: smoothrelu, sparta",
        ),
        (
            ("--freeze_activation", "--activation=sparta"),
            "nothing is learnt yet; give --sparta_from",
        ),
        (
            ("--freeze_activation", "--activation=smoothrelu"),
            "nothing is learnt yet; .*--init_checkpoint",
        ),
        (
            ("--freeze_activation", "--activation=relu", "--init_checkpoint=x"),
            "relu learns nothing",
        ),
    ],
)
def test_what_a_new_run_cannot_take_or_freeze_is_refused(arguments, message, learnt):
    with pytest.raises(errors.UserError, match=message) as refusal:
        resolve(*arguments, learnt=learnt)
    assert "\n" not in str(refusal.value)


def test_smoothrelu_of_a_checkpoint_may_be_frozen():
    assert resolve(
        "--freeze_activation", "--activation=smoothrelu", "--init_checkpoint=x"
    ).model.freeze_activation


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ("--sparta_gain=2", "--sparta_shared"),
            [
                "--sparta_shared is not used by --activation=swish",
                "--sparta_gain is not used by --activation=swish",
            ],
        ),
        (("--activation=sparta", "--sparta_gain=2", "--sparta_kernel_size=5"), []),
        (
            ("--mode=export", "--sparta_from=run", "--activation=sparta"),
            ["--sparta_from is not read by --mode=export"],
        ),
    ],
)
def test_flags_without_a_use_are_named(arguments, said, learnt):
    flags = parse(*arguments)
    assert notes.of(flags, to_config.to_config(flags, learnt=learnt)) == said
