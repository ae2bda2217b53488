"""Ctrl-C and SIGTERM, noted as they arrive."""

import os
import signal
import threading
import time

import pytest

from jaxdigits.runs.signals import Interrupts


def wait_until(holds) -> None:
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert holds()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted(capfd, number):
    """Its number, and a sentence for the user; Python's own handler does not run."""
    with Interrupts("finishing this epoch") as interrupts:
        os.kill(os.getpid(), number)
        wait_until(lambda: interrupts.received is not None)
    assert interrupts.received == number
    assert capfd.readouterr() == ("", "\njaxdigits: finishing this epoch\n")


def test_other_signals_are_none_of_ours(capfd):
    """The next Ctrl-C is noted all the same."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with Interrupts("finishing") as interrupts:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.02)
            assert interrupts.received is None
            assert capfd.readouterr().err == ""
            os.kill(os.getpid(), signal.SIGINT)
            wait_until(lambda: interrupts.received is not None)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert interrupts.received == signal.SIGINT


def test_all_is_as_before_afterwards():
    """Handlers, and where the numbers of signals are written to."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in numbers]
    threads = threading.active_count()
    with Interrupts("finishing") as interrupts:
        assert signal.getsignal(signal.SIGINT) is not handlers[0]
    assert interrupts.received is None
    assert [signal.getsignal(number) for number in numbers] == handlers
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == threads


def test_outside_of_the_main_thread():
    """Python allows no handlers there: none is set, and nothing fails."""
    handler, found = signal.getsignal(signal.SIGINT), []

    def inside() -> None:
        with Interrupts("finishing") as interrupts:
            found.append((interrupts.received, signal.getsignal(signal.SIGINT) is handler))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [(None, True)]


def test_two_signals_at_once(python):
    """The second ends the process, also if it is read together with the first."""
    code = (
        "import signal, time\n"
        "from jaxdigits.runs.signals import Interrupts\n"
        "with Interrupts('finishing') as interrupts:\n"
        "    interrupts._writer.send(bytes([signal.SIGTERM, signal.SIGINT]))\n"
        "    time.sleep(20)\n"
    )
    done = python("-c", code)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "\njaxdigits: finishing\n\njaxdigits: stopped\n"
