# ruff: noqa: PT012 - the whole block is tested
"""StopSignals: Ctrl-C and SIGTERM end a wait in order, at whatever step of the main thread they arrive."""

import os
import signal
import threading
from collections.abc import Generator

import pytest
from mailroom_apps.cli.stop_signals import StopSignals
from support.harness.waiting import BOUND_SEC


@pytest.fixture(autouse=True)
def restored_handlers() -> Generator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    after = {number: signal.getsignal(number) for number in before}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_the_client_and_sets_the_exit_code(number: int, code: int) -> None:
    closed = threading.Event()
    with pytest.raises(SystemExit) as ended, StopSignals(closed.set):
        os.kill(os.getpid(), number)
        assert closed.wait(BOUND_SEC)
    assert ended.value.code == code


def test_a_signal_interrupts_no_step_of_the_main_thread() -> None:
    closed, lock = threading.Event(), threading.Condition()
    with pytest.raises(SystemExit), StopSignals(closed.set):
        lock.acquire()
        signal.raise_signal(signal.SIGINT)
        lock.release()
        assert closed.wait(BOUND_SEC)


def test_an_error_that_closing_causes_does_not_hide_the_signal() -> None:
    closed = threading.Event()
    with pytest.raises(SystemExit) as ended, StopSignals(closed.set):
        signal.raise_signal(signal.SIGTERM)
        assert closed.wait(BOUND_SEC)
        raise RuntimeError("the client was closed")
    assert ended.value.code == 143


def test_the_second_interrupt_has_its_usual_effect() -> None:
    with pytest.raises(SystemExit) as ended, StopSignals(lambda: None):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert ended.value.code == 130


def test_an_ignored_signal_stays_ignored() -> None:
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals(lambda: pytest.fail("closed")):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, previous)


def test_without_a_signal_the_block_ends_as_it_does() -> None:
    with pytest.raises(ValueError, match="its own"), StopSignals(lambda: pytest.fail("closed")):
        raise ValueError("its own")
