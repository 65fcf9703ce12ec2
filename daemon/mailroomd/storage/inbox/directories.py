"""InboxDirectories — every mailbox's directory in inbox/, and what is known of it: watched, idle, wanted, or suspended.

Owns which directories are watched, the proof that a directory is still the one that was watched, and the faults. A
*watched* directory is reported on by the kernel, or being compared; an *idle* one is looked at by the patrol; a
*wanted* one is to be watched and compared soon; a *suspended* one is lost, and its mail is being filed again. Not here:
accepting deletions (`InboxWatch`), comparing (`InboxPatrol`). Time is the caller's monotonic clock.
"""

__all__ = ["IdleDirectory", "InboxDirectories"]

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mailroomd.model.names import is_name
from mailroomd.storage.directories.inotify import Mask
from mailroomd.storage.directories.snapshot import DirectoryIdentity, DirectorySnapshot
from mailroomd.storage.directories.watcher import NO_WATCH, DirectoryWatcher, EventHandler
from mailroomd.storage.inbox.reports import GONE, INBOX_REPLACED, REPLACED, DirectoryFault, Report, unreadable
from mailroomd.storage.inbox.watched_directory import WatchedDirectory

_MASK = Mask.DELETE | Mask.MOVED_FROM | Mask.DELETE_SELF | Mask.ONLY_DIRECTORY


@dataclass(slots=True)
class IdleDirectory:
    """One directory that only the patrol looks at."""

    snapshot: DirectorySnapshot
    identity: DirectoryIdentity


class InboxDirectories:
    """Keeps the directories.

    Args:
        path: inbox/, which exists.
        ids_of: see `InboxWatch`.
        watched_most: directories that are watched; the others are left to the patrol.
        handler: gets the kernel's reports.

    Attributes:
        now_sec: the time of the call that is being served.
        watcher: of inbox/ and the watched directories.
        watched: by mailbox, the one delivered to longest ago first.
        holding: mailboxes with deletions that are not believed yet.
        idle: by mailbox.
        wanted: mailboxes to be watched and compared, the last first, with the directory into which files were filed.
        to_compare: watched mailboxes that are to be compared.
        suspended: mailboxes that are lost.
        reports: what is to be reported.

    Raises:
        OSError: inbox/ cannot be opened.
    """

    def __init__(
        self, path: Path, ids_of: Callable[[str], Iterable[int]], watched_most: int, handler: EventHandler
    ) -> None:
        self.now_sec = -math.inf
        self.watched: OrderedDict[str, WatchedDirectory] = OrderedDict()
        self.holding: dict[str, None] = {}
        self.idle: dict[str, IdleDirectory] = {}
        self.wanted: OrderedDict[str, DirectoryIdentity | None] = OrderedDict()
        self.to_compare: dict[str, None] = {}
        self.suspended: set[str] = set()
        self.reports: list[Report] = []
        self._ids_of = ids_of
        self._watched_most = watched_most
        self._is_in_place = True
        self.watcher = DirectoryWatcher(path, handler, _MASK, _MASK)
        self.watcher.open_parent()
        with os.scandir(self.watcher.handle) as entries:
            for entry in entries:
                self.add_new(entry)

    # -- which directory it is ------------------------------------------------------------------------------------

    def identity_of(self, mailbox: str) -> DirectoryIdentity | None:
        """Returns which directory a mailbox has, as far as is known."""
        known = self.watched.get(mailbox) or self.idle.get(mailbox)
        return self.wanted.get(mailbox) if known is None else known.identity

    def is_in_its_place(self, mailbox: str) -> bool:
        """Returns whether a mailbox has the directory that is known; a report may be of the one before."""
        known = self.identity_of(mailbox)
        with suppress(OSError):
            handle = self.watcher.open_child(mailbox)
            try:
                return DirectoryIdentity.of(handle) == known
            finally:
                os.close(handle)
        return False

    def is_same(self, directory: WatchedDirectory, handle: int) -> bool:
        """Returns whether this is the directory that was watched."""
        if DirectoryIdentity.of(handle) != directory.identity:
            return False
        return directory.wd < 0 or self.watcher.is_watch_of(directory.wd, handle)

    def open(self, mailbox: str) -> int | None:
        """Returns a directory's handle; None if it is lost."""
        try:
            return self.watcher.open_child(mailbox)
        except FileNotFoundError:
            self.lose(mailbox, GONE)
        except OSError as error:
            self.lose(mailbox, unreadable(error))
        return None

    def check_inbox(self) -> bool:
        """Returns whether inbox/ is the one that is open; where it was replaced, all mailboxes are lost."""
        try:
            if self.watcher.is_in_place():
                self._is_in_place = True
                return True
        except OSError:
            pass
        if self._is_in_place:
            self._is_in_place = False
            for mailbox in [*self.watched, *self.idle, *self.suspended]:
                self.lose(mailbox, INBOX_REPLACED)
        with suppress(OSError):
            self.watcher.open_parent()
            self._is_in_place = True
        return self._is_in_place

    # -- coming and going -----------------------------------------------------------------------------------------

    def add_new(self, entry: os.DirEntry[str]) -> None:
        """Records a directory that was not there before: it has no files that could be missing yet."""
        name = entry.name
        if name in self.watched or name in self.idle or name in self.suspended or name in self.wanted:
            return
        if is_name(name) and entry.is_dir(follow_symlinks=False):
            with suppress(OSError):
                handle = self.watcher.open_child(name)
                try:
                    snapshot = DirectorySnapshot.settled(os.fstat(handle))
                    self.idle[name] = IdleDirectory(snapshot, DirectoryIdentity.of(handle))
                finally:
                    os.close(handle)

    def admit(self, mailbox: str, filed_into: DirectoryIdentity | None) -> WatchedDirectory | None:
        """Watches a directory; None if it is lost, or another one than that into which files were filed."""
        if not self.check_inbox():
            self.lose(mailbox, INBOX_REPLACED)
        if mailbox in self.suspended or mailbox in self.watched:
            return self.watched.get(mailbox)
        idle = self.idle.get(mailbox)
        handle = self.open(mailbox)
        if handle is None:
            return None
        try:
            status, identity = os.fstat(handle), DirectoryIdentity.of(handle)
            if any(known not in (identity, None) for known in (filed_into, idle and idle.identity)):
                self.lose(mailbox, REPLACED)
                return None
            self._make_room()
            wd = self._watch(handle)
        finally:
            os.close(handle)
        snapshot = DirectorySnapshot() if idle is None else self.idle.pop(mailbox).snapshot
        snapshot.update(status, self.now_sec)
        directory = self.watched[mailbox] = WatchedDirectory(wd, identity, snapshot)
        if wd >= 0:
            self.watcher.assign_watch(wd, mailbox)
        return directory

    def retire(self, mailbox: str, directory: WatchedDirectory) -> None:
        """Leaves a directory to the patrol."""
        self.forget(mailbox)
        self.idle[mailbox] = IdleDirectory(directory.snapshot, directory.identity)

    def lose(self, mailbox: str, reason: str) -> None:
        """Voids what is held of a mailbox. If it has unread messages, they have to be filed again."""
        self.forget(mailbox)
        if mailbox in self.suspended or (is_name(mailbox) and next(iter(self._ids_of(mailbox)), None) is not None):
            self.suspended.add(mailbox)
            self.reports.append(DirectoryFault(mailbox, reason))

    def forget(self, mailbox: str) -> None:
        """Drops what is known of a directory."""
        directory = self.watched.pop(mailbox, None)
        if directory is not None and directory.wd >= 0:
            self.watcher.drop_watch(directory.wd)
        self.holding.pop(mailbox, None)
        self.idle.pop(mailbox, None)
        self.wanted.pop(mailbox, None)
        self.to_compare.pop(mailbox, None)

    def _watch(self, handle: int) -> int:
        if not self._watched_most:
            return NO_WATCH
        wd = self.watcher.add_child_watch(handle)
        other = self.watcher.child_of(wd)
        if other is not None:  # one inode has one watch: another mailbox's directory was renamed
            self.lose(other, REPLACED)
            wd = self.watcher.add_child_watch(handle)
        return wd

    def _make_room(self) -> None:
        """Ends the oldest watches; of directories that something happens in there may be more for a while."""
        for mailbox in list(self.watched):
            if len(self.watched) < max(1, self._watched_most):
                return
            if mailbox not in self.holding and mailbox not in self.to_compare:
                self._evict(mailbox, self.watched[mailbox])

    def _evict(self, mailbox: str, directory: WatchedDirectory) -> None:
        """Ends a watch, after handling what was reported up to the mtime that the patrol goes on from."""
        try:
            status = self.watcher.stat_child(mailbox)
        except OSError:
            self.lose(mailbox, GONE)
            return
        is_all = self.watcher.read_events()
        if self.watched.get(mailbox) is not directory:
            return
        if directory.snapshot.is_elsewhere(status):
            self.lose(mailbox, REPLACED)
        elif is_all and mailbox not in self.holding and mailbox not in self.to_compare:
            directory.snapshot = DirectorySnapshot.settled(status)
            self.retire(mailbox, directory)
