"""Signals become an exception where the state is whole; what was ignored stays so."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sat_tf.interruption import Interrupted, Interruption


@pytest.fixture(autouse=True)
def handlers():
    before = {signum: signal.getsignal(signum) for signum in Interruption.SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_raised_at_the_next_check(signum, capfd):
    signal.signal(signum, signal.SIG_DFL)
    with Interruption() as interruption:
        os.kill(os.getpid(), signum)
        with pytest.raises(Interrupted) as raised:
            interruption.check()
    assert raised.value.signum == signum
    assert signal.Signals(signum).name in capfd.readouterr().err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_what_the_process_was_started_to_ignore_stays_ignored(signum):
    signal.signal(signum, signal.SIG_IGN)  # as nohup and a shell's background do
    with Interruption() as interruption:
        os.kill(os.getpid(), signum)
        interruption.check()
        assert signal.getsignal(signum) == signal.SIG_IGN


# The main thread is in a call that Python cannot interrupt, as a training step is.
BUSY = """
import ctypes, sys
from sat_tf.interruption import Interrupted, Interruption
sleep = ctypes.CDLL(None).sleep  # of C: goes on after a signal when called again
try:
    with Interruption() as interruption:
        interruption.then = lambda: "saving, about 3 s"
        print("ready", flush=True)
        left = 4
        while left:
            left = sleep(left)
        interruption.check()
except Interrupted as interrupted:
    print("raised", flush=True)
    sys.exit(128 + interrupted.signum)
"""


@pytest.fixture
def busy():
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_a_signal_is_answered_within_a_second_with_what_is_done_before_the_end(busy):
    start = time.monotonic()
    busy.send_signal(signal.SIGINT)
    assert "SIGINT: saving, about 3 s (once more to end at once)" in busy.stderr.readline()
    assert time.monotonic() - start < 1
    assert busy.wait() == 130 and busy.stdout.read() == "raised\n"


def test_a_second_signal_ends_a_call_that_takes_long(busy):
    busy.send_signal(signal.SIGINT)
    busy.stderr.readline()
    time.sleep(0.5)
    start = time.monotonic()
    busy.send_signal(signal.SIGTERM)
    assert busy.wait() == 143 and time.monotonic() - start < 1


def test_a_signal_sent_twice_at_once_counts_once(busy):
    busy.send_signal(signal.SIGTERM)  # as `timeout` does: to the process, and to its group
    busy.send_signal(signal.SIGTERM)
    assert busy.wait() == 143 and busy.stdout.read() == "raised\n"


def test_where_nothing_can_be_half_done_it_is_raised_at_once():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with Interruption() as interruption:
        with pytest.raises(Interrupted), interruption.at_once():
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("went on")
        with pytest.raises(Interrupted):
            interruption.check()


def test_once_something_is_begun_it_is_finished_first():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with Interruption() as interruption, interruption.at_once():
        interruption.finish_first()
        os.kill(os.getpid(), signal.SIGINT)
        finished = True
    assert finished
