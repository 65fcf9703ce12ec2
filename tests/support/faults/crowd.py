"""crowd — one client of the SDK with 256 sends in flight at all times, in a process of its own.

Run as a program with address, kind ("asyncio" or "blocking") and a file, where it notes what became of each send: a
line of JSON with its key, which is its content too, and the id of its message or its error. It ends when its standard
input does. A send that raises anything but a MailroomError ends it early, which the test notices. Not here: the faults
(the tests), the load that does without the SDK (`load`).
"""

__all__ = ["CROWD", "MAILBOXES", "Crowd", "Note", "running_crowd"]

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from mailroom import AsyncMailroom, Mailroom, MailroomError
from support.harness.waiting import BOUND_SEC, wait_until

CROWD = 256  # callers, each with one send at a time
MAILBOXES = 8
PATIENT_SEC = 240.0  # longer than anything takes here, also if one send meets several restarts on a busy machine
IMPATIENT_SEC = 0.2  # for every 16th send: it may give up while its message is on its way


class Note(NamedTuple):
    """What became of one send: `message_id` is "" if it failed."""

    caller: int
    key: str
    is_patient: bool
    message_id: str
    error: str


class Crowd:
    """The running program, and its notes."""

    def __init__(self, process: "subprocess.Popen[bytes]", path: Path) -> None:
        self._process = process
        self._path = path

    def wait_for_progress(self) -> None:
        """Returns when as many further sends as there are callers have been acknowledged."""
        goal = self._acknowledged() + CROWD

        def has_come_further() -> bool:
            assert self._process.poll() is None, "the program ended by itself"
            return self._acknowledged() >= goal

        wait_until(has_come_further, "further sends are acknowledged", 2 * BOUND_SEC, step_sec=0.05)

    def end(self) -> list[Note]:
        """Ends it, once every send has its outcome, and returns all notes."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(2 * PATIENT_SEC) == 0
        return [Note(**json.loads(line)) for line in self._path.read_text().splitlines()]

    def _acknowledged(self) -> int:
        return self._path.read_text().count('"error": ""')


@contextmanager
def running_crowd(address: str, kind: str, directory: Path) -> Generator[Crowd]:
    """Gives a crowd that sends."""
    path = directory / f"crowd-{kind}.jsonl"
    path.touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "support.faults.crowd", address, kind, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "GRPC_ENABLE_FORK_SUPPORT": "0"},
        stdin=subprocess.PIPE,
    )
    try:
        crowd = Crowd(process, path)
        crowd.wait_for_progress()
        yield crowd
    finally:
        process.kill()
        process.wait()


class _Caller:
    """One caller: the arguments of its next send."""

    def __init__(self, number: int, notes: TextIO) -> None:
        self._number = number
        self._notes = notes
        self._count = 0

    def next_key(self) -> str:
        self._count += 1
        return f"{self._number}-{self._count}"

    @property
    def recipient(self) -> str:
        return f"crowd-{self._number % MAILBOXES}"

    @property
    def timeout_sec(self) -> float:
        return PATIENT_SEC if self._is_patient else IMPATIENT_SEC

    @property
    def _is_patient(self) -> bool:
        return (self._number + self._count) % 16 > 0

    def note(self, key: str, message_id: str, error: str) -> None:
        self._notes.write(json.dumps(Note(self._number, key, self._is_patient, message_id, error)._asdict()) + "\n")


async def _send_async(address: str, notes: TextIO) -> None:
    ending = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ending.set)
    async with AsyncMailroom(address, sender="crowd") as client:

        async def work(caller: _Caller) -> None:
            while not ending.is_set():
                key = caller.next_key()
                try:
                    sent = await client.send(caller.recipient, key, idempotency_key=key, timeout=caller.timeout_sec)
                    caller.note(key, sent.id, "")
                except MailroomError as error:
                    caller.note(key, "", f"{error.code} {error.reason}: {error.message}")

        await asyncio.gather(*(work(_Caller(number, notes)) for number in range(CROWD)))


def _send_in_threads(address: str, notes: TextIO) -> None:
    ending = threading.Event()
    with Mailroom(address, sender="crowd") as client:

        def work(caller: _Caller) -> None:
            while not ending.is_set():
                key = caller.next_key()
                try:
                    sent = client.send(caller.recipient, key, idempotency_key=key, timeout=caller.timeout_sec)
                    caller.note(key, sent.id, "")
                except MailroomError as error:
                    caller.note(key, "", f"{error.code} {error.reason}: {error.message}")

        threads = [threading.Thread(target=work, args=(_Caller(number, notes),)) for number in range(CROWD)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        ending.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    with open(sys.argv[3], "a", buffering=1) as notes:  # noqa: PTH123 - a line at a time
        if sys.argv[2] == "asyncio":
            asyncio.run(_send_async(sys.argv[1], notes))
        else:
            _send_in_threads(sys.argv[1], notes)
