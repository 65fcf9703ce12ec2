"""InboxWatch — notices when agents remove inbox files, and tells that from a lost directory.

Decides when a deletion is accepted. Deletions, reported by the kernel or found by comparing, are *held* until the
directory is quiet (see `WatchedDirectory`) and proved to be the one that was watched; otherwise they are discarded and
a fault is reported. Not here: which directories are watched (`InboxDirectories`), the rest by mtime (`InboxPatrol`),
what is done about either. Above: the command-queue, whose monotonic clock it uses.
Invariant: an id is reported as taken only if its file is missing from a directory that has been there ever since its
files were filed; never because a directory is gone, was replaced, or cannot be read.
"""

__all__ = ["InboxWatch"]

import math
import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from mailroomd.model.ids import format_id
from mailroomd.storage.directories.inotify import Event, Mask
from mailroomd.storage.directories.snapshot import DirectoryIdentity, DirectorySnapshot
from mailroomd.storage.inbox.directories import InboxDirectories
from mailroomd.storage.inbox.patrol import InboxPatrol, id_in_name
from mailroomd.storage.inbox.reports import GONE, REPLACED, Report, Taken, unreadable
from mailroomd.storage.inbox.watched_directory import WatchedDirectory

CONFIRM_FILES = 2000  # in one report
WATCHED_MOST = 512  # directories; an evicted one is left to the patrol
EXPECTED_MOST = 10_000  # own removals that were announced and not seen yet, in one directory

_GONE = int(Mask.DELETE_SELF | Mask.IGNORED | Mask.UNMOUNT)


class InboxWatch:
    """Watches the inbox directories, for a poll loop: wait for `fileno()` up to `due_in_sec()`, then `collect_reports`.

    Make it before recovery looks at the files: what changes from then on is noticed.

    Args:
        root: holds inbox/, which exists.
        ids_of: returns the ids of a mailbox whose files should be there: unread, filed, and not waiting to be written
            again. It is asked between two commits' files, so it must not name a message whose file is still to be
            written.
        watched_most: directories that are watched; the others are left to the patrol.

    Raises:
        OSError: inbox/ cannot be opened.
    """

    def __init__(self, root: Path, ids_of: Callable[[str], Iterable[int]], watched_most: int = WATCHED_MOST) -> None:
        self._directories = InboxDirectories(root / "inbox", ids_of, watched_most, self)
        self._patrol = InboxPatrol(self._directories, ids_of)

    def fileno(self) -> int | None:
        """Returns the descriptor that is readable when `collect_reports` should be called; None if there is none."""
        return self._directories.watcher.fileno()

    def due_in_sec(self, now_sec: float) -> float:
        """Returns after how many seconds to call `collect_reports`, whatever the descriptor says; 0 for at once."""
        watched = self._directories.watched
        release_sec = min((watched[mailbox].release_sec() for mailbox in self._directories.holding), default=math.inf)
        return max(0.0, min(self._patrol.next_due_sec(), release_sec) - now_sec)

    def watch_mailbox(self, mailbox: str, filed_into: DirectoryIdentity | None = None) -> None:
        """Watches a directory from now on; call it after each delivery into it. Cheap: no system call.

        Args:
            filed_into: the directory that has the file. If it is another one than before, something was lost.
        """
        directories = self._directories
        if mailbox in directories.suspended:
            return
        if filed_into is not None and directories.identity_of(mailbox) not in (filed_into, None):
            directories.lose(mailbox, REPLACED)
        if mailbox in directories.watched:
            directories.watched.move_to_end(mailbox)
        elif mailbox not in directories.suspended:
            directories.wanted[mailbox] = filed_into or directories.wanted.get(mailbox)

    def expect_removal(self, mailbox: str, message_id: int) -> None:
        """Announces that the daemon is about to remove this file: its message is read or expired already."""
        directory = self._directories.watched.get(mailbox)
        if directory is None:
            return  # a comparison asks for the ids, and this one is no longer among them
        directory.missing.discard(message_id)
        if message_id in directory.held:
            del directory.held[message_id]
            if not directory.held:
                del self._directories.holding[mailbox]
        elif directory.wd >= 0:
            directory.expected[message_id] = None
            if len(directory.expected) > EXPECTED_MOST:
                del directory.expected[next(iter(directory.expected))]

    def on_refiled(self, mailbox: str, filed_into: DirectoryIdentity | None = None) -> None:
        """Ends what a DirectoryFault began: every file of the mailbox is there again, or `ids_of` leaves it out."""
        self._directories.suspended.discard(mailbox)
        self.watch_mailbox(mailbox, filed_into)

    def forget_mailbox(self, mailbox: str) -> None:
        """Ends what a mailbox's directory was watched for: the daemon has removed it, empty."""
        self._directories.forget(mailbox)

    def compare_mailbox(self, mailbox: str, filed_into: DirectoryIdentity) -> None:
        """Compares a directory: `ids_of` names files now that were written, and perhaps taken, before it did."""
        self.watch_mailbox(mailbox, filed_into)
        if mailbox in self._directories.watched:
            self._directories.to_compare[mailbox] = None

    def collect_reports(self, now_sec: float) -> list[Report]:
        """Returns what was taken, and which directories were lost."""
        directories = self._directories
        directories.now_sec = now_sec
        directories.watcher.read_events()
        self._patrol.run_slice()
        for mailbox in list(directories.holding):
            if mailbox in directories.holding and directories.watched[mailbox].release_sec() <= now_sec:
                self._release(mailbox, directories.watched[mailbox])
        reports, directories.reports = directories.reports, []
        return reports

    def close(self) -> None:
        """Closes every handle."""
        self._patrol.close()
        self._directories.watcher.close()

    # -- the kernel's reports -------------------------------------------------------------------------------------

    def on_overflow(self) -> None:
        """Compares all that is watched. A mailbox that is being filed again may have lost its directory once more."""
        directories = self._directories
        for directory in directories.watched.values():
            directory.expected.clear()
        directories.to_compare.update(dict.fromkeys(directories.watched))
        for mailbox in list(directories.suspended):
            directories.lose(mailbox, "its directory may have been lost again")
        directories.watcher.snapshot = DirectorySnapshot()
        self._patrol.start_round_now()

    def on_parent_event(self, event: Event) -> None:
        """Handles that a directory has left inbox/, or that inbox/ itself is gone."""
        if event.name and event.is_about_directory:
            if not self._directories.is_in_its_place(event.name):
                self._directories.lose(event.name, GONE)
        elif not event.name:
            self._patrol.start_round_now()

    def on_child_event(self, child: str, event: Event) -> None:
        """Handles that a file has left a directory, or that the directory itself is gone."""
        if event.mask & _GONE:
            self._directories.lose(child, GONE)
        elif not event.is_about_directory:
            self._hold_deletion(child, self._directories.watched[child], event.name)

    def _hold_deletion(self, mailbox: str, directory: WatchedDirectory, name: str) -> None:
        message_id = id_in_name(name)
        if message_id is None:
            return
        if message_id in directory.expected:
            del directory.expected[message_id]
            return
        directory.hold(message_id, self._directories.now_sec)
        self._directories.holding[mailbox] = None

    # -- believing ------------------------------------------------------------------------------------------------

    def _release(self, mailbox: str, directory: WatchedDirectory) -> None:
        """Reports what is held, if the directory is still the one that was watched, and the files are not there."""
        directories = self._directories
        handle = directories.open(mailbox)
        if handle is None:
            return
        try:
            if not directories.is_same(directory, handle):
                directories.lose(mailbox, REPLACED)
                return
            if directory.wd < 0 and not directory.is_quiet and directories.now_sec < directory.hold_most_sec():
                directory.held_until_sec = directories.now_sec  # without a watch, only comparing tells
                directories.to_compare[mailbox] = None
                return
            checked = list(islice(directory.held, CONFIRM_FILES))
            taken = [message_id for message_id in checked if not _is_there(handle, message_id)]
        except OSError as error:
            directories.lose(mailbox, unreadable(error))
            return
        finally:
            os.close(handle)
        if taken:
            directories.reports.append(Taken(mailbox, taken))
        for message_id in checked:
            del directory.held[message_id]
        if not directory.held:
            del directories.holding[mailbox]
            if directory.wd < 0:
                directories.retire(mailbox, directory)


def _is_there(directory: int, message_id: int) -> bool:
    """Returns whether something has the name of a message's file, even if it is not a file.

    Raises:
        OSError: the directory cannot be searched.
    """
    try:
        os.stat(f"{format_id(message_id)}.json", dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
