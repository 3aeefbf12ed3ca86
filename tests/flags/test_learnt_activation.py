"""Options of sparta, where its weights come from, and freezing: from flags to settings."""

import json
import shutil

import pytest

from flags import definitions, notes, to_config
from sat_tf import config as configs
from sat_tf import errors


def parse(*arguments):
    flags = definitions.define()
    definitions.parse(flags, ["main.py", *arguments])
    return flags


def resolve(*arguments, stored=None):
    return to_config.to_config(parse(*arguments), stored)


def _options(config):
    model = config.model
    return model.sparta_kernel_size, model.sparta_shared, model.sparta_gain


@pytest.fixture
def source(tmp_path):
    """A run's folder, as far as the flags read it."""
    config = resolve("--activation=sparta", "--sparta_kernel_size=5", "--sparta_shared",
                     "--sparta_gain=2")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    return str(tmp_path)


def test_the_flags_the_source_and_the_defaults_in_this_order(source):
    assert _options(resolve("--activation=sparta")) == (3, False, 1.0)
    taken = resolve("--activation=sparta", f"--sparta_from={source}", "--freeze_activation")
    assert _options(taken) == (5, True, 2.0)
    assert taken.model.sparta_from == source and taken.model.freeze_activation
    assert _options(resolve("--activation=sparta", f"--sparta_from={source}", "--sparta_gain=1",
                            "--sparta_shared=false")) == (5, False, 1.0)


def test_a_run_that_is_continued_or_applied_needs_no_source(source):
    command = ("--activation=sparta", f"--sparta_from={source}", "--freeze_activation")
    stored = configs.Config.from_dict(json.loads(resolve(*command).to_json()))
    shutil.rmtree(source)
    for arguments in ((), command, ("--mode=eval",)):
        config = resolve(*arguments, stored=stored)
        assert configs.differences(stored, config) == [] and _options(config) == (5, True, 2.0)
    assert configs.differences(stored, resolve("--sparta_from=other", stored=stored)) == [
        f"sparta_from ({source} there, other now)"]


@pytest.mark.parametrize("arguments, message", [
    (("--sparta_from=SOURCE",), "^--sparta_from=.*: --activation=swish .*give --activation=sparta"),
    (("--sparta_from=nowhere", "--activation=sparta"), "^--sparta_from=nowhere: no run of this"),
    (("--freeze_activation",), "^--freeze_activation=true: swish learns .*: smoothrelu, sparta"),
    (("--freeze_activation", "--activation=sparta"), "nothing is learnt yet; give --sparta_from"),
    (("--freeze_activation", "--activation=smoothrelu"), "nothing is learnt yet; .*--init_checkpoint"),
    (("--freeze_activation", "--activation=relu", "--init_checkpoint=x"), "relu learns nothing")])
def test_what_a_new_run_cannot_take_or_freeze_is_refused(arguments, message, source):
    with pytest.raises(errors.UserError, match=message) as refusal:
        resolve(*(argument.replace("SOURCE", source) for argument in arguments))
    assert "\n" not in str(refusal.value)


def test_smoothrelu_of_a_checkpoint_may_be_frozen():
    assert resolve("--freeze_activation", "--activation=smoothrelu",
                   "--init_checkpoint=x").model.freeze_activation


@pytest.mark.parametrize("arguments, said", [
    (("--sparta_gain=2", "--sparta_shared"),
     ["--sparta_shared is not used by --activation=swish",
      "--sparta_gain is not used by --activation=swish"]),
    (("--activation=sparta", "--sparta_gain=2", "--sparta_kernel_size=5"), []),
    (("--mode=export", "--sparta_from=SOURCE", "--activation=sparta"),
     ["--sparta_from is not read by --mode=export"])])
def test_flags_without_a_use_are_named(arguments, said, source):
    flags = parse(*(argument.replace("SOURCE", source) for argument in arguments))
    assert notes.of(flags, to_config.to_config(flags)) == said
