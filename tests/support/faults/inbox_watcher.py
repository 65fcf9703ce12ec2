"""InboxWatcher — a reader of the inbox directories that is as impatient as can be.

A program of its own: raw inotify on inbox/ and every directory in it; each name that ends in .json is read the moment
it appears and has to be a whole inbox file then, and has to have appeared by a rename. What is wrong is written as a
line of JSON at once. `watch_inbox` runs it beside a test; it ends when its standard input does.
"""

__all__ = ["Watched", "watch_inbox"]

import ctypes
import json
import os
import select
import struct
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from support.harness.waiting import BOUND_SEC, wait_until

# inotify(7)
_MODIFY, _CLOSE_WRITE, _MOVED_TO, _CREATE = 0x2, 0x8, 0x80, 0x100
_OVERFLOW, _ONLYDIR, _ISDIR = 0x4000, 0x1000000, 0x40000000
_MASK = _MODIFY | _CLOSE_WRITE | _MOVED_TO | _CREATE | _ONLYDIR
_EVENT = struct.Struct("iIII")
FIELDS = frozenset({"type", "from", "content", "message_type", "metadata", "id", "session_id", "timestamp"})


@dataclass
class Watched:
    """What the watcher found, once it has ended."""

    violations: list[str] = field(default_factory=list[str])
    appeared: int = 0
    read: int = 0
    overflows: int = 0


@contextmanager
def watch_inbox(inbox: Path, log: Path) -> Generator[Watched]:
    """Watches while the context lasts; the result is complete when it is left."""
    inbox.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = Watched()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "support.faults.inbox_watcher", str(inbox)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=out,
        )
    try:
        wait_until(lambda: b"watching" in log.read_bytes() or process.poll() is not None, "the watcher watches")
        yield found
    finally:
        assert process.stdin is not None
        process.stdin.close()
        code = process.wait(BOUND_SEC)
        _collect(log, found)
    assert code == 0, "the watcher broke"


def _collect(log: Path, found: Watched) -> None:
    for line in log.read_text().splitlines():
        row: dict[str, Any] = json.loads(line)
        if "violation" in row:
            found.violations.append(row["violation"])
        elif "appeared" in row:
            found.appeared, found.read, found.overflows = row["appeared"], row["read"], row["overflows"]


class _Watcher:
    def __init__(self, inbox: Path, out: TextIO) -> None:
        self._inbox = inbox
        self._out = out
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle: int = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._directories: dict[int, Path] = {}
        self._appeared = self._read = self._overflows = 0

    def run(self) -> None:
        """Watches until standard input ends, and then as long as there are events."""
        self._watch(inbox := self._inbox)
        for directory in inbox.iterdir():
            self._watch(directory)
        print(json.dumps({"watching": str(inbox)}), file=self._out, flush=True)
        ended = False
        while not ended:
            ready, _, _ = select.select([self._handle, sys.stdin], [], [])
            ended = sys.stdin in ready
            while self._take_events():
                pass
        self._look_at_all()
        summary = {"appeared": self._appeared, "read": self._read, "overflows": self._overflows}
        print(json.dumps(summary), file=self._out, flush=True)

    def _watch(self, directory: Path) -> None:
        number: int = self._libc.inotify_add_watch(self._handle, os.fsencode(directory), _MASK)
        if number < 0:
            return  # gone already, or no directory
        self._directories[number] = directory
        if directory != self._inbox:
            self._look_at(directory)  # what came before the watch; how it came is not known

    def _take_events(self) -> bool:
        try:
            raw = os.read(self._handle, 1 << 16)
        except BlockingIOError:
            return False
        at = 0
        while at < len(raw):
            number, mask, _, length = _EVENT.unpack_from(raw, at)
            name = os.fsdecode(raw[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0"))
            at += _EVENT.size + length
            self._take_event(number, mask, name)
        return True

    def _take_event(self, number: int, mask: int, name: str) -> None:
        if mask & _OVERFLOW:
            self._overflows += 1
            self._look_at_all()
            return
        directory = self._directories[number]
        if directory == self._inbox and mask & _ISDIR:
            self._watch(directory / name)
        elif name.endswith(".json"):
            self._appeared += 1
            if mask & (_CREATE | _MODIFY | _CLOSE_WRITE) or directory.name == ".tmp" or directory == self._inbox:
                self._report(directory / name, f"did not come by a rename into an inbox (event {mask:#x})")
            self._check(directory / name)

    def _look_at_all(self) -> None:
        for directory in list(self._directories.values()):
            self._look_at(directory)

    def _look_at(self, directory: Path) -> None:
        with suppress(OSError):
            for path in directory.glob("*.json"):
                self._check(path)

    def _check(self, path: Path) -> None:
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return  # read and taken away already
        self._read += 1
        try:
            body: Any = json.loads(raw)
        except ValueError as error:
            self._report(path, f"does not parse ({error}): {raw[:80]!r}")
            return
        if not isinstance(body, dict) or not FIELDS.issubset(body):  # pyright: ignore[reportUnknownArgumentType]
            self._report(path, f"has not all fields: {raw[:80]!r}")
        elif (body["id"], body["session_id"]) != (path.stem, path.parent.name):
            self._report(path, "has another message's id or another mailbox's name")
        elif not raw.endswith(b"}\n"):
            self._report(path, "has no whole last line")

    def _report(self, path: Path, what: str) -> None:
        print(json.dumps({"violation": f"{path.parent.name}/{path.name} {what}"}), file=self._out, flush=True)


if __name__ == "__main__":
    _Watcher(Path(sys.argv[1]), sys.stdout).run()
