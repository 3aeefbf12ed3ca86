"""Signals become an exception where the state is whole; what was ignored stays so."""

import os
import signal

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
