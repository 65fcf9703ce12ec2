"""`mailroom watch` in a real terminal: messages scroll, counts stay below, and the terminal is restored."""

import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.fakes.scenes import InThread, in_thread
from support.fakes.scripted import StreamEnd
from support.harness.command_line import BOUND_SEC, command, environment

pytestmark = pytest.mark.slow

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def fake(tmp_path: Path) -> Generator[InThread, None, None]:
    with in_thread(tmp_path) as daemon:
        yield daemon


class Terminal:
    """A process in a pseudo-terminal, and everything that it has drawn."""

    def __init__(self, process: "subprocess.Popen[bytes]", handle: int) -> None:
        self.process = process
        self.drawn = ""
        self._handle = handle

    def read_until(self, text: str) -> None:
        """Reads until the text was drawn; the test's own time limit applies."""
        while text not in self.drawn:
            more = self._read()
            assert more, f"{text!r} was never drawn: {self.drawn!r}"

    def end(self, number: int) -> int:
        """Ends the process by a signal and returns its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(BOUND_SEC)
        while self._read():
            pass
        return code

    def _read(self) -> str:
        try:
            more = os.read(self._handle, 65536).decode()
        except OSError:  # EIO: the other end is closed
            return ""
        self.drawn += more
        return more


@contextmanager
def watching(address: str, *arguments: str) -> Generator[Terminal, None, None]:
    ours, theirs = os.openpty()
    env = environment(address, {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"})
    with subprocess.Popen(command("watch", *arguments), env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_messages_scroll_above_the_unread_count_and_the_cursor_is_restored(
    fake: InThread, number: int, code: int
) -> None:
    with watching(fake.address, "abc") as terminal:
        terminal.read_until("watching")
        fake.do(lambda daemon: daemon.deliver("abc", "one\x1b[2J"))
        terminal.read_until("one\\x1b[2J")
        terminal.read_until("1 unread")
        assert terminal.end(number) == code
        assert terminal.drawn.rindex(SHOW_CURSOR) > terminal.drawn.rindex(HIDE_CURSOR)
        assert "Traceback" not in terminal.drawn


def test_mailboxes_with_unread_messages_are_listed_through_a_lost_connection(fake: InThread) -> None:
    fake.do(lambda daemon: [daemon.deliver(name, "x") for name in ("abc", "xyz", "xyz")])
    fake.do(lambda daemon: daemon.stream_ends.append((2, StreamEnd.GOING_AWAY)))
    with watching(fake.address, "--all") as terminal:
        terminal.read_until("xyz  2 unread")
        terminal.read_until("abc  1 unread")
        fake.wait_until(lambda daemon: bool(daemon.requests["Subscribe"]))  # the counts need no subscription
        fake.do(lambda daemon: daemon.deliver("abc", "the last before it goes"))
        terminal.read_until("connection lost")
        fake.do(lambda daemon: daemon.deliver("abc", "after it came back"))
        terminal.read_until("after it came back")
        assert terminal.end(signal.SIGINT) == 130


@pytest.mark.parametrize("option", ["--plain", "--json"])
def test_plain_lines_are_available_in_a_terminal(fake: InThread, option: str) -> None:
    fake.do(lambda daemon: daemon.deliver("abc", "hello"))
    with watching(fake.address, "abc", "--unread", option) as terminal:
        terminal.read_until("hello")
        terminal.end(signal.SIGINT)
        assert HIDE_CURSOR not in terminal.drawn


def test_json_in_a_terminal_escapes_what_could_act_on_it(fake: InThread) -> None:
    fake.do(lambda daemon: daemon.deliver("abc", "a\u202eb\x9b2Jc\U000e0041 done"))
    with watching(fake.address, "abc", "--unread", "--json") as terminal:
        terminal.read_until("done")
        terminal.end(signal.SIGINT)
        assert "a\\u202eb\\u009b2Jc\\udb40\\udc41 done" in terminal.drawn
