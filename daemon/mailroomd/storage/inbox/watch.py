"""InboxWatch — notices the inbox files that agents take away, and tells that from directories that go away.

Owns the watches of the directories delivered to last, and the patrol, which finds changes in the others by mtime: a
directory that has changed becomes one of the watched, and is compared. Deletions are *held* until the directory is
quiet (see `WatchedDirectory`) and is proved to be the one that was watched; else what was held is void: it is a fault.
Not here: what is done about either. Above: the command-queue, whose monotonic clock it uses.
Invariant: an id is reported as taken only if its file is not there, in a directory that has been there all the time
since its files were filed; never because a directory is gone, was replaced, or can't be read.
"""

__all__ = ["REPLACED", "DirectoryFault", "InboxWatch", "Report", "Taken"]

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path

from mailroomd.model.ids import format_id, parse_id
from mailroomd.model.names import is_name
from mailroomd.observability.log import log
from mailroomd.storage.directories.inotify import Event, Inotify, Mask
from mailroomd.storage.directories.snapshot import DirectoryIdentity, DirectorySnapshot
from mailroomd.storage.directories.watched_directory import WatchedDirectory

PATROL_SEC = 0.5  # with a slice and the hold, below the second within which a taken file counts as read
SLICE_SEC = 0.05  # between two slices of patrol and comparing
SLICE_ENTRIES = 500  # in one slice: some 2 ms; so 10,000 directories a second for 4 % of a processor
OPENING_ENTRIES = 30  # what opening, watching and asking for its ids costs, in entries
CONFIRM_FILES = 2000  # in one report
READS = 16  # of events in one call: more than the kernel's queue holds by default
WATCHED_MOST = 512  # directories; an evicted one is found by the patrol
EXPECTED_MOST = 10_000  # own removals that were announced and not seen yet, in one directory

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MASK = Mask.DELETE | Mask.MOVED_FROM | Mask.DELETE_SELF | Mask.ONLY_DIRECTORY
_GONE = int(Mask.DELETE_SELF | Mask.IGNORED | Mask.UNMOUNT)

GONE = "its directory is gone"
REPLACED = "its directory was replaced"
INBOX_REPLACED = "inbox/ is gone or was replaced"

Slices = Generator[None, None, None]  # work that may stop after each entry it looked at


@dataclass(frozen=True, slots=True)
class Taken:
    """An agent deleted or moved away files of its unread messages: it has read them."""

    mailbox: str
    message_ids: list[int]


@dataclass(frozen=True, slots=True)
class DirectoryFault:
    """A mailbox with unread messages lost its directory: none of them counts as read, each has to be filed again.

    Nothing more is reported of the mailbox but further faults, until `refiled` is called.
    """

    mailbox: str
    reason: str


Report = Taken | DirectoryFault


@dataclass(slots=True)
class _Idle:
    """One directory that only the patrol looks at."""

    place: DirectorySnapshot
    identity: DirectoryIdentity


class InboxWatch:
    """Watches the inbox directories, for a poll loop: wait for `fileno()` up to `due()` seconds, then `collect`.

    Make it before recovery looks at the files: what changes from then on is noticed.

    Args:
        root: holds inbox/, which exists.
        ids_of: returns the ids of a mailbox whose files should be there: unread, filed, and not waiting to be written
            again. Asked between two commits' files, so it must not name a message whose file is still to be written.
        watched_most: directories that are watched; the others are found by the patrol.

    Raises:
        OSError: inbox/ can't be opened.
    """

    def __init__(self, root: Path, ids_of: Callable[[str], Iterable[int]], watched_most: int = WATCHED_MOST) -> None:
        self._path = root / "inbox"
        self._ids_of = ids_of
        self._watched_most = watched_most
        self._now_sec = -math.inf
        self._watched: OrderedDict[str, WatchedDirectory] = OrderedDict()  # the one delivered to longest ago first
        self._wds: dict[int, str] = {}
        self._holding: dict[str, None] = {}
        self._idle: dict[str, _Idle] = {}
        self._wanted: OrderedDict[str, DirectoryIdentity | None] = (
            OrderedDict()
        )  # to be watched and compared, the last first
        self._to_compare: dict[str, None] = {}
        self._suspended: set[str] = set()
        self._reports: list[Report] = []
        self._work: Slices | None = None
        self._next_slice_sec = self._next_patrol_sec = -math.inf
        self._inbox, self._inbox_wd = -1, -1
        self._inbox_place = DirectorySnapshot()
        self._is_in_place = True
        self._inotify = _open_inotify()
        self._open_inbox()
        with os.scandir(self._inbox) as entries:
            for entry in entries:
                self._get_to_know(entry)

    def fileno(self) -> int | None:
        """Returns the descriptor that is readable when `collect` should be called; None if the kernel gave none."""
        return None if self._inotify is None else self._inotify.fileno()

    def due(self, now_sec: float) -> float:
        """Returns after how many seconds to call `collect`, whatever the descriptor says; 0 for at once."""
        work_sec = self._next_patrol_sec
        if self._work is not None or self._wanted or self._to_compare:
            work_sec = self._next_slice_sec
        release_sec = min((self._watched[one].release_sec() for one in self._holding), default=math.inf)
        return max(0.0, min(work_sec, release_sec) - now_sec)

    def watch(self, mailbox: str, filed_into: DirectoryIdentity | None = None) -> None:
        """Watches a directory from now on; call it after each delivery into it. Cheap: no system call.

        Args:
            filed_into: the directory that has the file. Where that is another one than before, something was lost.
        """
        if mailbox in self._suspended:
            return
        if filed_into is not None and self._identity_of(mailbox) not in (filed_into, None):
            self._lose(mailbox, REPLACED)
        if mailbox in self._watched:
            self._watched.move_to_end(mailbox)
        elif mailbox not in self._suspended:
            self._wanted[mailbox] = filed_into or self._wanted.get(mailbox)

    def expect_removal(self, mailbox: str, message_id: int) -> None:
        """Takes note that we are about to remove this file ourselves: its message is read or expired already."""
        directory = self._watched.get(mailbox)
        if directory is None:
            return  # a comparison asks for the ids, and this one is not among them any more
        directory.missing.discard(message_id)
        if message_id in directory.held:
            del directory.held[message_id]
            if not directory.held:
                del self._holding[mailbox]
        elif directory.wd >= 0:
            directory.expected[message_id] = None
            if len(directory.expected) > EXPECTED_MOST:
                del directory.expected[next(iter(directory.expected))]

    def refiled(self, mailbox: str, filed_into: DirectoryIdentity | None = None) -> None:
        """Ends what a DirectoryFault began: every file of the mailbox is there again, or `ids_of` leaves it out."""
        self._suspended.discard(mailbox)
        self.watch(mailbox, filed_into)

    def look_again(self, mailbox: str, filed_into: DirectoryIdentity) -> None:
        """Compares a directory: `ids_of` names files now that were written, and perhaps taken, before it did."""
        self.watch(mailbox, filed_into)
        if mailbox in self._watched:
            self._to_compare[mailbox] = None

    def collect(self, now_sec: float) -> list[Report]:
        """Returns what was taken, and which directories were lost."""
        self._now_sec = now_sec
        self._hear()
        if self._next_slice_sec <= now_sec:
            self._go_on()
        for mailbox in list(self._holding):
            if mailbox in self._holding and self._watched[mailbox].release_sec() <= now_sec:
                self._release(mailbox, self._watched[mailbox])
        reports, self._reports = self._reports, []
        return reports

    def close(self) -> None:
        """Closes every handle."""
        if self._work is not None:
            self._work.close()
            self._work = None
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        if self._inbox >= 0:
            os.close(self._inbox)
            self._inbox = -1

    # -- what the watches report ----------------------------------------------------------------------------------

    def _hear(self) -> bool:
        """Takes what was reported; returns whether that was all."""
        if self._inotify is None:
            return True
        for _ in range(READS):
            events = self._inotify.read()
            if not events:
                return True
            for event in events:
                self._take(event)
        return False

    def _take(self, event: Event) -> None:
        if event.is_overflow:
            log.info("inbox: more changes than the kernel's queue holds; what is watched is compared")
            self._start_over()
        elif event.wd == self._inbox_wd:
            if event.name and event.is_about_directory:
                if not self._is_in_its_place(event.name):
                    self._lose(event.name, GONE)
            elif not event.name:
                self._next_patrol_sec = self._now_sec
        elif event.wd in self._wds:
            mailbox = self._wds[event.wd]
            if event.mask & _GONE:
                self._lose(mailbox, GONE)
            elif not event.is_about_directory:
                self._take_deletion(mailbox, self._watched[mailbox], event.name)

    def _take_deletion(self, mailbox: str, directory: WatchedDirectory, name: str) -> None:
        message_id = _id_of(name)
        if message_id is None:
            return
        if message_id in directory.expected:
            del directory.expected[message_id]
            return
        directory.hold(message_id, self._now_sec)
        self._holding[mailbox] = None

    def _start_over(self) -> None:
        """Compares all that is watched. A mailbox that is being filed again may have lost its directory once more."""
        for directory in self._watched.values():
            directory.expected.clear()
        self._to_compare.update(dict.fromkeys(self._watched))
        for mailbox in list(self._suspended):
            self._lose(mailbox, "its directory may have been lost again")
        self._inbox_place = DirectorySnapshot()
        self._next_patrol_sec = self._now_sec

    # -- the hold -------------------------------------------------------------------------------------------------

    def _release(self, mailbox: str, directory: WatchedDirectory) -> None:
        """Reports what is held, if the directory is still the one that was watched, and the files are not there."""
        handle = self._open(mailbox)
        if handle is None:
            return
        try:
            if not self._is_the_same(directory, handle):
                self._lose(mailbox, REPLACED)
                return
            if directory.wd < 0 and not directory.is_quiet and self._now_sec < directory.hold_most_sec():
                directory.held_until_sec = self._now_sec  # without a watch, only comparing tells
                self._to_compare[mailbox] = None
                return
            some = list(islice(directory.held, CONFIRM_FILES))
            taken = [one for one in some if not _is_there(handle, one)]
        except OSError as error:
            self._lose(mailbox, _unreadable(error))
            return
        finally:
            os.close(handle)
        if taken:
            self._reports.append(Taken(mailbox, taken))
        for one in some:
            del directory.held[one]
        if not directory.held:
            del self._holding[mailbox]
            if directory.wd < 0:
                self._retire(mailbox, directory)

    def _is_the_same(self, directory: WatchedDirectory, handle: int) -> bool:
        """Returns whether this is the directory that was watched: rmdir and mkdir may well use its number again."""
        if DirectoryIdentity.of(handle) != directory.identity:
            return False
        wd = -1 if directory.wd < 0 else self._add_watch(handle)
        if wd in (directory.wd, -1):
            return True
        assert self._inotify is not None  # it gave the number
        self._inotify.remove(wd)
        return False

    # -- patrol and comparing -------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Does a slice of the work that is due."""
        if self._work is None:
            if self._next_patrol_sec <= self._now_sec:
                self._next_patrol_sec = self._now_sec + PATROL_SEC
                self._work = self._patrol()
            elif self._wanted or self._to_compare:
                self._work = self._compare_all()
            else:
                return
        self._next_slice_sec = self._now_sec + SLICE_SEC
        if sum(1 for _ in islice(self._work, SLICE_ENTRIES)) < SLICE_ENTRIES:
            self._work = None

    def _patrol(self) -> Slices:
        if self._check_inbox() and self._inbox_place.note(os.fstat(self._inbox), self._now_sec):
            with suppress(OSError), os.scandir(self._inbox) as entries:
                for entry in entries:
                    yield
                    self._get_to_know(entry)
        yield from self._compare_all()
        for mailbox, idle in list(self._idle.items()):
            yield
            if self._idle.get(mailbox) is idle:
                self._look_at(mailbox, idle)
            yield from self._compare_all()

    def _get_to_know(self, entry: os.DirEntry[str]) -> None:
        """A directory that was not there before has no files that could be missing yet."""
        name = entry.name
        if name in self._watched or name in self._idle or name in self._suspended or name in self._wanted:
            return
        if is_name(name) and entry.is_dir(follow_symlinks=False):
            with suppress(OSError):
                handle = os.open(name, _DIRECTORY, dir_fd=self._inbox)
                try:
                    self._idle[name] = _Idle(DirectorySnapshot.settled(os.fstat(handle)), DirectoryIdentity.of(handle))
                finally:
                    os.close(handle)

    def _look_at(self, mailbox: str, idle: _Idle) -> None:
        try:
            status = os.stat(mailbox, dir_fd=self._inbox, follow_symlinks=False)
        except FileNotFoundError:
            self._lose(mailbox, GONE)
        except OSError as error:
            self._lose(mailbox, _unreadable(error))
        else:
            if idle.place.is_elsewhere(status):
                self._lose(mailbox, REPLACED)
            elif idle.place.note(status, self._now_sec) and mailbox not in self._wanted:
                self._wanted[mailbox] = None
                self._wanted.move_to_end(mailbox, last=False)  # after those that were delivered to

    def _compare_all(self) -> Slices:
        while self._wanted or self._to_compare:
            yield from repeat(None, OPENING_ENTRIES)
            if self._wanted:
                mailbox, filed_into = self._wanted.popitem()
                directory = self._admit(mailbox, filed_into)
            elif self._to_compare:
                mailbox = next(iter(self._to_compare))
                del self._to_compare[mailbox]
                directory = self._watched.get(mailbox)
            else:
                return
            if directory is not None:
                yield from self._compare(mailbox, directory)

    def _compare(self, mailbox: str, directory: WatchedDirectory) -> Slices:
        """Holds the ids whose files are missing. The ids come first, so a file that is written meanwhile isn't one."""
        directory.missing = set(self._ids_of(mailbox))
        if directory.missing:
            handle = self._open(mailbox)
            if handle is None:
                return
            try:
                if not self._is_the_same(directory, handle):
                    self._lose(mailbox, REPLACED)
                    return
                directory.place.note(os.fstat(handle), self._now_sec)
                with os.scandir(handle) as entries:
                    for entry in entries:
                        yield
                        message_id = _id_of(entry.name)
                        if message_id is not None:
                            directory.missing.discard(message_id)
            except OSError as error:
                self._lose(mailbox, _unreadable(error))
            finally:
                os.close(handle)
        if self._watched.get(mailbox) is not directory:
            return  # it was lost meanwhile
        directory.is_quiet = directory.missing <= directory.held.keys()
        for message_id in sorted(directory.missing):
            directory.hold(message_id, self._now_sec)
            self._holding[mailbox] = None
        directory.missing.clear()
        if directory.wd < 0 and not directory.held:
            self._retire(mailbox, directory)

    # -- coming and going -----------------------------------------------------------------------------------------

    def _admit(self, mailbox: str, filed_into: DirectoryIdentity | None) -> WatchedDirectory | None:
        """Watches a directory; None if it is lost, or another one than that into which files were filed."""
        if not self._check_inbox():
            self._lose(mailbox, INBOX_REPLACED)
        if mailbox in self._suspended or mailbox in self._watched:
            return self._watched.get(mailbox)
        idle = self._idle.get(mailbox)
        handle = self._open(mailbox)
        if handle is None:
            return None
        try:
            status, identity = os.fstat(handle), DirectoryIdentity.of(handle)
            if any(known not in (identity, None) for known in (filed_into, idle and idle.identity)):
                self._lose(mailbox, REPLACED)
                return None
            self._make_room()
            wd = self._add_watch(handle) if self._watched_most else -1
            if wd in self._wds:  # one inode has one watch: another mailbox's directory was renamed
                self._lose(self._wds[wd], REPLACED)
                wd = self._add_watch(handle)
        finally:
            os.close(handle)
        place = DirectorySnapshot() if idle is None else self._idle.pop(mailbox).place
        place.note(status, self._now_sec)
        directory = self._watched[mailbox] = WatchedDirectory(wd, identity, place)
        if wd >= 0:
            self._wds[wd] = mailbox
        return directory

    def _make_room(self) -> None:
        """Ends the oldest watches; of directories that something happens in there may be more for a while."""
        for mailbox in list(self._watched):
            if len(self._watched) < max(1, self._watched_most):
                return
            if mailbox not in self._holding and mailbox not in self._to_compare:
                self._evict(mailbox, self._watched[mailbox])

    def _evict(self, mailbox: str, directory: WatchedDirectory) -> None:
        """Ends a watch: what was reported up to the mtime that the patrol goes on from is taken first."""
        try:
            status = os.stat(mailbox, dir_fd=self._inbox, follow_symlinks=False)
        except OSError:
            self._lose(mailbox, GONE)
            return
        is_all = self._hear()
        if self._watched.get(mailbox) is not directory:
            return
        if directory.place.is_elsewhere(status):
            self._lose(mailbox, REPLACED)
        elif is_all and mailbox not in self._holding and mailbox not in self._to_compare:
            directory.place = DirectorySnapshot.settled(status)
            self._retire(mailbox, directory)

    def _retire(self, mailbox: str, directory: WatchedDirectory) -> None:
        """Leaves a directory to the patrol."""
        self._forget(mailbox)
        self._idle[mailbox] = _Idle(directory.place, directory.identity)

    def _lose(self, mailbox: str, reason: str) -> None:
        """Voids what is held of a mailbox. If it has unread messages, its caller has to file them again."""
        self._forget(mailbox)
        if mailbox in self._suspended or (is_name(mailbox) and next(iter(self._ids_of(mailbox)), None) is not None):
            self._suspended.add(mailbox)
            self._reports.append(DirectoryFault(mailbox, reason))

    def _forget(self, mailbox: str) -> None:
        directory = self._watched.pop(mailbox, None)
        if directory is not None and directory.wd >= 0:
            del self._wds[directory.wd]
            if self._inotify is not None:
                self._inotify.remove(directory.wd)
        self._holding.pop(mailbox, None)
        self._idle.pop(mailbox, None)
        self._wanted.pop(mailbox, None)
        self._to_compare.pop(mailbox, None)

    def _identity_of(self, mailbox: str) -> DirectoryIdentity | None:
        """Returns which directory a mailbox has, as far as is known."""
        known = self._watched.get(mailbox) or self._idle.get(mailbox)
        return self._wanted.get(mailbox) if known is None else known.identity

    def _is_in_its_place(self, mailbox: str) -> bool:
        """Returns whether a mailbox has the directory that is known; a report may be of the one before."""
        known = self._identity_of(mailbox)
        with suppress(OSError):
            handle = os.open(mailbox, _DIRECTORY, dir_fd=self._inbox)
            try:
                return DirectoryIdentity.of(handle) == known
            finally:
                os.close(handle)
        return False

    # -- handles --------------------------------------------------------------------------------------------------

    def _open(self, mailbox: str) -> int | None:
        """Returns a directory's handle; None if it is lost."""
        try:
            return os.open(mailbox, _DIRECTORY, dir_fd=self._inbox)
        except FileNotFoundError:
            self._lose(mailbox, GONE)
        except OSError as error:
            self._lose(mailbox, _unreadable(error))
        return None

    def _check_inbox(self) -> bool:
        """Returns whether inbox/ is the one that is open; where it was replaced, all mailboxes are lost."""
        try:
            if os.path.samestat(self._path.stat(follow_symlinks=False), os.fstat(self._inbox)):
                return True
        except OSError:
            pass
        if self._is_in_place:
            self._is_in_place = False
            for mailbox in [*self._watched, *self._idle, *self._suspended]:
                self._lose(mailbox, INBOX_REPLACED)
        with suppress(OSError):
            self._open_inbox()
            self._is_in_place = True
        return self._is_in_place

    def _open_inbox(self) -> None:
        handle = os.open(self._path, _DIRECTORY)
        if self._inbox >= 0:
            os.close(self._inbox)
        if self._inotify is not None and self._inbox_wd >= 0:
            self._inotify.remove(self._inbox_wd)
        self._inbox, self._inbox_place = handle, DirectorySnapshot()
        self._inbox_wd = self._add_watch(handle)

    def _add_watch(self, handle: int) -> int:
        """Returns the number of a watch; -1 if there is none, and the patrol has to do."""
        if self._inotify is None:
            return -1
        try:
            return self._inotify.add(handle, _MASK)
        except OSError:
            return -1


def _open_inotify() -> Inotify | None:
    try:
        return Inotify()
    except OSError as error:
        log.warning("the inboxes are not watched: files that agents take are found by comparing", error=error.strerror)
        return None


def _id_of(name: str) -> int | None:
    with suppress(ValueError):
        return parse_id(name.removesuffix(".json")) if name.endswith(".json") else None
    return None


def _is_there(directory: int, message_id: int) -> bool:
    """Returns whether something has the name of a message's file, even if it is no file.

    Raises:
        OSError: the directory can't be searched.
    """
    try:
        os.stat(f"{format_id(message_id)}.json", dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unreadable(error: OSError) -> str:
    return f"its directory cannot be read: {error.strerror}"
