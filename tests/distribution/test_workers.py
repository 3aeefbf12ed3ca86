"""What workers tell each other: two processes on this machine, and one that is alone."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import two_workers
from command_line import ROOT
from loopback import free_addresses

from sat_tf import distribution, errors


@pytest.fixture(scope="module")
def found():
    """What each of two workers prints."""
    script, addresses = two_workers.__file__, ",".join(free_addresses(2))
    workers = [
        subprocess.Popen(
            [sys.executable, script, str(index), addresses],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    ended = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], ended
    return [json.loads(out.splitlines()[-1]) for out, _ in ended]


def test_each_knows_which_it_is(found):
    assert [one["worker"] for one in found] == [[0, 2], [1, 2]]
    assert [one["replicas"] for one in found] == [[2, 1], [2, 1]]
    assert [one["share"] for one in found] == [[1, 0, 1, 0, 1], [0, 1, 0, 1, 0]]


def test_both_have_the_sum_the_texts_and_the_highest(found):
    for one in found:
        assert one["sum"] == [3, 6]
        assert one["nan"] == [True, False]
        assert one["texts"] == ["ä", "ää"]
        assert one["highest"] == [15, 0]


@pytest.mark.parametrize("name, examples", [("outcomes", 13), ("of_one_example", 1)])
def test_an_evaluation_that_they_share_has_the_numbers_of_one(name, examples, found):
    alone = two_workers.outcomes(tf.distribute.get_strategy(), examples)
    alone = json.loads(json.dumps(alone))
    if examples > 1:
        assert 0 < alone["correct"]["both"] < alone["correct"]["clean"] == 12
    assert found[0][name] == found[1][name]
    shared = dict(found[0][name])
    assert shared.pop("correct") == alone.pop("correct")
    for attack, values in alone.items():
        for ours, theirs in zip(tf.nest.flatten(values), tf.nest.flatten(shared[attack])):
            np.testing.assert_allclose(theirs, ours, rtol=1e-5)


def test_one_that_is_alone_has_nobody_to_ask(one_device):
    array = np.array([1, 2])
    assert distribution.summed(one_device, array) is array
    assert distribution.gathered(one_device, "caf\udce9") == ["caf\udce9"]
    assert distribution.share_of(one_device, 3).all()
    assert distribution.agreement_of(one_device) is None
    with pytest.raises(tf.errors.UnavailableError), distribution.losses_named(one_device):
        raise tf.errors.UnavailableError(None, None, "of something else")


def test_a_worker_that_is_gone_is_named(monkeypatch, one_device):
    monkeypatch.setattr(
        "sat_tf.distribution.workers.worker_of", lambda strategy: distribution.Worker(0, 3)
    )
    message = "aborted: Task /job:worker/replica:0/task:2 heartbeat timeout.\nMore"
    with (
        pytest.raises(errors.RunFailure, match="^worker 2 is gone .*; the same command"),
        distribution.losses_named(one_device),
    ):
        raise tf.errors.UnavailableError(None, None, message)
