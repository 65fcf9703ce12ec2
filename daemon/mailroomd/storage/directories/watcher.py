"""DirectoryWatcher — a directory of directories (inbox/, outbox/): its handle, and the kernel's watches of both levels.

Owns the inotify instance, the parent's handle, snapshot and watch, and which child has which watch, the one used
longest ago first. Both users find every change without it, by a patrol: the watches only make it quick.
Not here: what an event means, and when a watch is given up for another one. That is the policy of its user
(`OutboxScan`: what appears; `InboxWatch`: what disappears). Invariant: events are delivered in the kernel's order.
"""

__all__ = ["DirectoryWatcher", "EventHandler"]

import errno
import os
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from mailroomd.observability.log import log
from mailroomd.storage.directories.files import OPEN_DIRECTORY
from mailroomd.storage.directories.inotify import Event, Inotify
from mailroomd.storage.directories.snapshot import DirectorySnapshot

READS_MOST = 16  # of events in one call: more than the kernel's queue holds by default
NO_WATCH = -1


class EventHandler(Protocol):
    """What a user does about the kernel's reports."""

    def on_overflow(self) -> None:
        """Handles that reports were lost, of any directory."""
        ...

    def on_parent_event(self, event: Event) -> None:
        """Handles a report about the parent, or about a child's name in it."""
        ...

    def on_child_event(self, child: str, event: Event) -> None:
        """Handles a report about a watched child, or about a file in it."""
        ...


class DirectoryWatcher:
    """Watches one directory and its children.

    Args:
        path: the parent.
        handler: gets every report.
        parent_mask: what is reported about the parent; see `Mask`.
        child_mask: likewise about its children.

    Attributes:
        handle: of the parent; -1 until `open_parent` and after `close`.
        snapshot: of the parent.
    """

    def __init__(self, path: Path, handler: EventHandler, parent_mask: int, child_mask: int) -> None:
        self.handle = -1
        self.snapshot = DirectorySnapshot()
        self._path = path
        self._handler = handler
        self._parent_mask = parent_mask
        self._child_mask = child_mask
        self._parent_wd = NO_WATCH
        self._children: OrderedDict[int, str] = OrderedDict()  # by watch; the one used longest ago first
        self._is_limit_logged = False
        self._inotify = self._open_inotify()

    def fileno(self) -> int | None:
        """Returns the descriptor that is readable when there are events; None if the kernel gave none."""
        return None if self._inotify is None else self._inotify.fileno()

    def read_events(self) -> bool:
        """Delivers what the kernel has reported; returns whether that was all."""
        if self._inotify is None:
            return True
        for _ in range(READS_MOST):
            events = self._inotify.read()
            if not events:
                return True
            for event in events:
                self._deliver(event)
        return False

    def close(self) -> None:
        """Closes every handle."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    # -- the parent -----------------------------------------------------------------------------------------------

    def is_in_place(self) -> bool:
        """Returns whether the parent's path still leads to the directory that is open.

        Raises:
            OSError: nothing usable is there; FileNotFoundError if nothing is.
        """
        return os.path.samestat(self._path.stat(follow_symlinks=False), os.fstat(self.handle))

    def open_parent(self) -> None:
        """Opens the parent, or the one that has taken its place; the old one stays open where that fails.

        Raises:
            OSError: it cannot be opened.
        """
        handle = os.open(self._path, OPEN_DIRECTORY)
        if self.handle >= 0:
            os.close(self.handle)
        self.handle, self.snapshot = handle, DirectorySnapshot()
        old_wd, self._parent_wd = self._parent_wd, self._add_watch(handle, self._parent_mask)
        if old_wd not in (NO_WATCH, self._parent_wd):
            self._remove_watch(old_wd)

    # -- the children ---------------------------------------------------------------------------------------------

    def open_child(self, child: str) -> int:
        """Returns the handle of a child.

        Raises:
            OSError: it is gone, is not a directory, or cannot be opened.
        """
        return os.open(child, OPEN_DIRECTORY, dir_fd=self.handle)

    def stat_child(self, child: str) -> os.stat_result:
        """Returns what lies at a child's name.

        Raises:
            OSError: it is gone or cannot be seen.
        """
        return os.stat(child, dir_fd=self.handle, follow_symlinks=False)

    def add_child_watch(self, handle: int) -> int:
        """Returns the watch of an open child; `NO_WATCH` if there is none, and the patrol has to do."""
        return self._add_watch(handle, self._child_mask)

    def child_of(self, wd: int) -> str | None:
        """Returns the child that has a watch."""
        return self._children.get(wd)

    def assign_watch(self, wd: int, child: str) -> None:
        """Records that a watch is this child's, and was used just now."""
        self._children[wd] = child
        self._children.move_to_end(wd)

    def renew_use(self, wd: int) -> None:
        """Records that a watch was used just now."""
        self._children.move_to_end(wd)

    def least_used_beyond(self, watches_most: int) -> str | None:
        """Returns the child whose watch was used longest ago if there are more watches than that."""
        return next(iter(self._children.values())) if len(self._children) > watches_most else None

    def drop_watch(self, wd: int) -> None:
        """Ends a watch."""
        self._children.pop(wd, None)
        self._remove_watch(wd)

    def forget_watch(self, wd: int) -> None:
        """Forgets a watch that the kernel has ended."""
        self._children.pop(wd, None)

    def is_watch_of(self, wd: int, handle: int) -> bool:
        """Returns whether a watch is of this very directory: rmdir and mkdir may well reuse an inode number."""
        present_wd = self.add_child_watch(handle)
        if present_wd in (wd, NO_WATCH):
            return True
        self._remove_watch(present_wd)
        return False

    # -- the kernel -----------------------------------------------------------------------------------------------

    def _deliver(self, event: Event) -> None:
        if event.is_overflow:
            log.info("inotify queue overflow, checking every directory", directory=self._path.name)
            self._handler.on_overflow()
        elif event.wd == self._parent_wd:
            self._handler.on_parent_event(event)
        elif (child := self._children.get(event.wd)) is not None:
            self._handler.on_child_event(child, event)

    def _open_inotify(self) -> Inotify | None:
        try:
            return Inotify()
        except OSError as error:
            log.warning("directory not watched, relying on rescans", directory=self._path.name, error=error.strerror)
            return None

    def _add_watch(self, handle: int, mask: int) -> int:
        if self._inotify is None:
            return NO_WATCH
        try:
            return self._inotify.add(handle, mask)
        except OSError as error:
            if error.errno == errno.ENOSPC and not self._is_limit_logged:
                self._is_limit_logged = True
                log.error(
                    "not every directory watched, relying on rescans", directory=self._path.name, error=error.strerror
                )
            return NO_WATCH

    def _remove_watch(self, wd: int) -> None:
        if self._inotify is not None:
            self._inotify.remove(wd)
