"""InboxPatrol — finds changes in inbox directories without the kernel's help, and compares files with messages.

Owns the round over the idle directories, by mtime, and the comparison of a directory with the ids that should be there.
A missing file is *held*, like a deletion that the kernel reported. Not here: when it is accepted (`InboxWatch`).
Invariant: the ids are read before the directory is listed, so a file that is written meanwhile never counts as missing.
"""

__all__ = ["InboxPatrol", "id_in_name"]

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import repeat

from mailroomd.model.ids import parse_id
from mailroomd.storage.directories.patrol import Patrol, PatrolPace, Slices
from mailroomd.storage.inbox.directories import IdleDirectory, InboxDirectories
from mailroomd.storage.inbox.reports import GONE, REPLACED, unreadable
from mailroomd.storage.inbox.watched_directory import WatchedDirectory

PATROL_SEC = 0.5  # with a slice and the hold, below the second within which a taken file counts as read
SLICE_SEC = 0.05  # between two slices of patrol and comparing
SLICE_ENTRIES = 500  # in one slice: some 2 ms; so 10,000 directories a second for 4 % of a processor
OPENING_ENTRIES = 30  # what opening, watching and asking for its ids costs, in entries


class InboxPatrol:
    """Looks at every directory in turn, and compares those that have changed.

    Args:
        directories: the directories.
        ids_of: see `InboxWatch`.
    """

    def __init__(self, directories: InboxDirectories, ids_of: Callable[[str], Iterable[int]]) -> None:
        self._directories = directories
        self._ids_of = ids_of
        self._patrol = Patrol(
            PatrolPace(PATROL_SEC, SLICE_ENTRIES, SLICE_SEC),
            self._round,
            self._compare_all,
            lambda: bool(directories.wanted or directories.to_compare),
        )

    def next_due_sec(self) -> float:
        """Returns when to call `run_slice`."""
        return self._patrol.next_due_sec()

    def run_slice(self) -> None:
        """Does a slice of the work that is due."""
        self._patrol.run_slice(self._directories.now_sec)

    def start_round_now(self) -> None:
        """Makes a round due at once."""
        self._patrol.start_round_at(self._directories.now_sec)

    def close(self) -> None:
        """Drops the work in progress."""
        self._patrol.stop_work()

    def _round(self) -> Slices:
        directories = self._directories
        watcher = directories.watcher
        if directories.check_inbox() and watcher.snapshot.update(os.fstat(watcher.handle), directories.now_sec):
            with suppress(OSError), os.scandir(watcher.handle) as entries:
                for entry in entries:
                    yield
                    directories.add_new(entry)
        yield from self._compare_all()
        for mailbox, idle in list(directories.idle.items()):
            yield
            if directories.idle.get(mailbox) is idle:
                self._check_idle(mailbox, idle)
            yield from self._compare_all()

    def _check_idle(self, mailbox: str, idle: IdleDirectory) -> None:
        directories = self._directories
        try:
            status = directories.watcher.stat_child(mailbox)
        except FileNotFoundError:
            directories.lose(mailbox, GONE)
        except OSError as error:
            directories.lose(mailbox, unreadable(error))
        else:
            if idle.snapshot.is_elsewhere(status):
                directories.lose(mailbox, REPLACED)
            elif idle.snapshot.update(status, directories.now_sec) and mailbox not in directories.wanted:
                directories.wanted[mailbox] = None
                directories.wanted.move_to_end(mailbox, last=False)  # after those that were delivered to

    def _compare_all(self) -> Slices:
        directories = self._directories
        while directories.wanted or directories.to_compare:
            yield from repeat(None, OPENING_ENTRIES)
            if directories.wanted:
                mailbox, filed_into = directories.wanted.popitem()
                directory = directories.admit(mailbox, filed_into)
            elif directories.to_compare:
                mailbox = next(iter(directories.to_compare))
                del directories.to_compare[mailbox]
                directory = directories.watched.get(mailbox)
            else:
                return
            if directory is not None:
                yield from self._compare(mailbox, directory)

    def _compare(self, mailbox: str, directory: WatchedDirectory) -> Slices:
        """Holds the ids whose files are missing."""
        directories = self._directories
        directory.missing = set(self._ids_of(mailbox))
        if directory.missing:
            handle = directories.open(mailbox)
            if handle is None:
                return
            try:
                if not directories.is_same(directory, handle):
                    directories.lose(mailbox, REPLACED)
                    return
                directory.snapshot.update(os.fstat(handle), directories.now_sec)
                yield from _discard_existing(directory, handle)
            except OSError as error:
                directories.lose(mailbox, unreadable(error))
            finally:
                os.close(handle)
        if directories.watched.get(mailbox) is directory:  # it was not lost meanwhile
            self._hold_missing(mailbox, directory)

    def _hold_missing(self, mailbox: str, directory: WatchedDirectory) -> None:
        directory.is_quiet = directory.missing <= directory.held.keys()
        for message_id in sorted(directory.missing):
            directory.hold(message_id, self._directories.now_sec)
            self._directories.holding[mailbox] = None
        directory.missing.clear()
        if directory.wd < 0 and not directory.held:
            self._directories.retire(mailbox, directory)


def id_in_name(name: str) -> int | None:
    """Returns the message id in the name of an inbox file; None for any other name."""
    with suppress(ValueError):
        return parse_id(name.removesuffix(".json")) if name.endswith(".json") else None
    return None


def _discard_existing(directory: WatchedDirectory, handle: int) -> Slices:
    with os.scandir(handle) as entries:
        for entry in entries:
            yield
            message_id = id_in_name(entry.name)
            if message_id is not None:
                directory.missing.discard(message_id)
