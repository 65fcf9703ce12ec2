"""TakenEntries — notices that members of teams have taken entries of Mailroom's out of their inboxes.

Claude Code removes an entry when it gives it to its agent, and the team's directory when the team ends. So an entry
that has left a file was *taken*; a file or a directory that is gone says nothing about the entries in it. When the team
has ended, its agent has had what was taken before, and will never acknowledge it.
It looks at the files in a thread of its own, since they can be large: twice a second at the status of each inbox with
entries, and at the content of one that has changed. Not here: writing entries (`TeamInboxes`), what follows
(`TeamEntries`).
Invariant: an entry is reported as taken only if a whole, valid file of a team that exists lacks it.
"""

__all__ = ["Ended", "Taken", "TakenEntries"]

import os
import queue
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mailroomd.observability.log import log
from mailroomd.storage.directories.files import OPEN_DIRECTORY, READ_FILE, read_at_most
from mailroomd.storage.team_inbox.file import NotAnInbox, mailroom_ids
from mailroomd.storage.team_inbox.inboxes import MAX_INBOX_BYTES, NoSuchInbox, component_of, opened_below

LOOK_SEC = 0.5
RESTS = 20  # times as long as it looked, if that took longer: parsing a large file keeps the process from other work
READ_BYTES = 256 << 10

_Signature = tuple[int, int, int]  # inode, time of the last change, size


class Taken(NamedTuple):
    """Messages whose entries a member has taken."""

    recipient: str
    message_ids: tuple[int, ...]


class Ended(NamedTuple):
    """A team has ended; these messages had been taken before."""

    recipient: str
    message_ids: tuple[int, ...]


@dataclass(slots=True)
class _Inbox:
    """One inbox.

    Attributes:
        present: the entries that are in it, as far as is known.
        taken: those that have left it.
        additions: how often entries were added to `present`.
        signature: of the file that was read last; None if it is to be read in any case.
    """

    present: set[int] = field(default_factory=set[int])
    taken: set[int] = field(default_factory=set[int])
    additions: int = 0
    signature: _Signature | None = None


class TakenEntries:
    """Watches inboxes.

    Args:
        root: holds teams/.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._reports: queue.SimpleQueue[Taken | Ended] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._inboxes: dict[str, _Inbox] = {}
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="team-watch", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Returns the descriptor that becomes readable when `drain` should be called."""
        return self._wake

    def watch(self, recipient: str, message_ids: Iterable[int]) -> None:
        """Watches entries that are in an inbox."""
        with self._changed:
            inbox = self._inboxes.setdefault(recipient, _Inbox())
            inbox.present.update(message_ids)
            inbox.additions += 1
            inbox.signature = None  # an entry may have been written and taken before the file was read last
            self._changed.notify_all()

    def drain(self) -> list[Taken | Ended]:
        """Returns what was noticed since the last call."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        drained: list[Taken | Ended] = []
        while not self._reports.empty():
            drained.append(self._reports.get())
        return drained

    def close(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        os.close(self._wake)

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Works until `close`. Whatever else ends it ends the process, and its successor goes on."""
        try:
            spent_sec = 0.0
            while (recipients := self._wait(max(LOOK_SEC, RESTS * spent_sec))) is not None:
                started_sec = time.monotonic()
                for recipient in recipients:
                    self._look(recipient)
                spent_sec = time.monotonic() - started_sec
        except BaseException as error:  # noqa: BLE001 - whatever it is
            try:
                log.exception("thread that watches team inboxes failed")
            finally:  # without memory the line cannot be written either
                os._exit(os.EX_OSERR if isinstance(error, MemoryError) else os.EX_SOFTWARE)

    def _wait(self, pause_sec: float) -> list[str] | None:
        """Waits until it is time to look; returns at what, or None at the end."""
        with self._changed:
            while not self._inboxes and not self._is_closing:
                self._changed.wait()
            if not self._is_closing:
                self._changed.wait_for(lambda: self._is_closing, pause_sec)
            return None if self._is_closing else list(self._inboxes)

    def _look(self, recipient: str) -> None:
        agent, _, team = recipient.partition("@")
        with self._changed:
            inbox = self._inboxes[recipient]
            additions, watched = inbox.additions, inbox.present.copy()  # before the file is read: all of them are in it
        try:
            with opened_below(self._root, "teams", component_of(team, "team")) as directory:
                found = _read(directory, f"{component_of(agent, 'agent')}.json", inbox.signature)
        except (FileNotFoundError, NoSuchInbox):
            self._end(recipient)
        except (OSError, NotAnInbox, RecursionError):
            return  # it says nothing now
        else:
            if found is not None:
                self._compare(recipient, watched - found[1], found[0], additions)

    def _compare(self, recipient: str, gone: set[int], signature: _Signature, additions: int) -> None:
        with self._changed:
            inbox = self._inboxes[recipient]
            inbox.present -= gone
            inbox.taken |= gone
            if inbox.additions == additions:
                inbox.signature = signature
        if gone:
            self._report(Taken(recipient, tuple(sorted(gone))))

    def _end(self, recipient: str) -> None:
        with self._changed:
            inbox = self._inboxes.pop(recipient)
        if inbox.taken:
            self._report(Ended(recipient, tuple(sorted(inbox.taken))))

    def _report(self, report: Taken | Ended) -> None:
        self._reports.put(report)
        os.eventfd_write(self._wake, 1)


def _read(team: int, file: str, known: _Signature | None) -> tuple[_Signature, set[int]] | None:
    """Returns which entries an inbox has; None if it has not changed, or does not exist.

    Raises:
        NotAnInbox: the file is not one, or is being written.
        OSError: it cannot be read.
    """
    try:
        directory = os.open("inboxes", OPEN_DIRECTORY, dir_fd=team)
        try:
            handle = os.open(file, READ_FILE, dir_fd=directory)
        finally:
            os.close(directory)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(handle)
        signature = status.st_ino, status.st_mtime_ns, status.st_size
        if signature == known:
            return None
        raw = read_at_most(handle, MAX_INBOX_BYTES + 1, READ_BYTES)
    finally:
        os.close(handle)
    if len(raw) > MAX_INBOX_BYTES or not raw.strip():  # an empty file is perhaps being written
        return None
    return signature, mailroom_ids(raw)
