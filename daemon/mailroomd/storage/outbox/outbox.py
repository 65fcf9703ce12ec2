"""Outbox — finds the responses that agents leave as files, hands each over once, and removes it when told to.

Owns `{root}/outbox`, and the decision when a file is whole. One that was closed or renamed under the watcher's eyes is
read at once; one that a rescan found is read when it stood still for 100 ms. What does not parse may still be in the
writing: only when it stood still for a second it is logged, once, and left; any change of it starts this anew.
Every file is found by the rescan alone; the watcher (inotify, of a bounded number of directories) makes it quick.
Work comes in slices, so neither a million files nor large ones stop the loop for long.
Not here: the single file (`outbox_file`), durability. Above: the command-queue. Time is its caller's monotonic clock.
Invariant: a file is removed only after `delete` was called for it, and only while it is still the one that was read.
"""

__all__ = ["Outbox", "PendingFiles"]

import errno
import heapq
import math
import os
import time
from collections import OrderedDict
from collections.abc import Generator, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count, islice, repeat
from pathlib import Path
from typing import NamedTuple

from mailroomd.model.names import is_name
from mailroomd.observability.log import log
from mailroomd.storage.directories.inotify import Event, Inotify, Mask
from mailroomd.storage.directories.snapshot import DirectorySnapshot
from mailroomd.storage.outbox.file import (
    MAX_RESPONSE_BYTES,
    FileIdentity,
    NotAResponse,
    OutboxFile,
    identity_of,
    is_candidate,
    look_at,
    read_response,
    remove_if_same,
    shown,
)

RESCAN_SEC = 1.5  # with SETTLE_SEC, and what a busy loop adds, less than the 2 s that are promised
SETTLE_SEC = 0.1  # how long a file that nobody reported as closed has to stand still before it is read
STABLE_SEC = 1.0  # and before it is believed that what does not parse is not in the writing
LOOK_AGAIN_SEC, LOOK_AGAIN_MOST_SEC = 1.0, 30.0  # at what was left, put back or can't be removed; doubled each time
BATCH_FILES = 200  # handed over at once
BATCH_BYTES = MAX_RESPONSE_BYTES  # read at once, but for the last file
SLICE_ENTRIES = 2000  # looked at in one call: some 8 ms
OPENING_ENTRIES = 10  # what opening and watching a directory costs
READS = 16  # of events in one call: more than the kernel's queue holds by default
WATCHES_MOST = 1024  # session directories; 1 KiB of the kernel's memory each, and the limit is the user's, not ours
KNOWN_MOST = 100_000  # files that wait or were left; 400 bytes each
COMPLAINTS_MOST = 1000  # what is logged once is remembered up to here, and not logged any more beyond

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OUTBOX_MASK = Mask.CREATE | Mask.MOVED_TO | Mask.ONLY_DIRECTORY
_SESSION_MASK = Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.ONLY_DIRECTORY

Slices = Generator[None, None, None]  # work that may stop after each entry it looked at


class PendingFiles(NamedTuple):
    """How many files of one session lie there, and since when the oldest does."""

    files: int
    oldest_mtime_ns: int


class _State(Enum):
    """What becomes of one file."""

    WAITING = auto()  # to be read, now or when it stands still
    HANDED = auto()  # its caller has it, and will say `delete` or `put_back`
    DONE = auto()  # durable, but it could not be removed; that is tried again, and it is not handed over again
    LEFT = auto()  # logged, and left where it is until it changes


@dataclass(slots=True)
class _Candidate:
    """One file, as it was when it was last looked at."""

    identity: FileIdentity | None  # None: reported, and not looked at yet
    since_sec: float  # since when it is known to be so
    due_sec: float = math.inf  # when to look at it; the heap's entries with another time are void
    is_closed: bool = False  # its writer is known to be done
    state: _State = _State.WAITING
    fault: str = ""  # why it is no response, as it is
    pause_sec: float = LOOK_AGAIN_SEC

    def renew(self, identity: FileIdentity | None, now_sec: float) -> None:
        """It has changed: whatever was decided is void."""
        self.identity, self.since_sec, self.state = identity, now_sec, _State.WAITING
        self.fault, self.pause_sec = "", LOOK_AGAIN_SEC

    def next_pause_sec(self) -> float:
        """Returns how long to leave it alone; longer each time."""
        pause_sec = self.pause_sec
        self.pause_sec = min(LOOK_AGAIN_MOST_SEC, pause_sec * 2)
        return pause_sec


@dataclass(slots=True)
class _Session:
    """One session's directory."""

    wd: int | None = None
    place: DirectorySnapshot = field(default_factory=DirectorySnapshot)
    is_incomplete: bool = False  # it holds more than may be remembered: listed with every round
    candidates: dict[str, _Candidate] = field(default_factory=dict[str, _Candidate])


class Outbox:
    """The outbox, for a poll loop: wait for `fileno()` up to `due()` seconds, `collect`, and `delete` what is durable.

    Args:
        root: holds outbox/; made where it is absent.
        watches_most: session directories that are watched; the others are found by the rescan.

    Raises:
        OSError: outbox/ can't be made or opened.
    """

    def __init__(self, root: Path, watches_most: int = WATCHES_MOST) -> None:
        self._path = root / "outbox"
        self._watches_most = watches_most
        self._now_sec = 0.0
        self._room_bytes = 0  # what may still be read in this call
        self._next_round_sec = -math.inf
        self._order = count()
        self._complaints: set[Hashable] = set()
        self._sessions: dict[str, _Session] = {}
        self._urgent: dict[str, None] = {}  # sessions to be listed before the others
        self._known = 0
        self._due: list[tuple[float, int, str, str]] = []  # heap: when, mtime or order of the reports, session, name
        self._work: Slices | None = None
        self._wds: OrderedDict[int, str] = OrderedDict()  # the sessions' watches, the one used longest ago first
        self._outbox, self._outbox_wd = -1, -1
        self._outbox_place = DirectorySnapshot()
        self._inotify = self._open_inotify()
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open_outbox()

    def fileno(self) -> int | None:
        """Returns the descriptor that is readable when `collect` should be called; None if the kernel gave none."""
        return None if self._inotify is None else self._inotify.fileno()

    def due(self, now_sec: float) -> float:
        """Returns after how many seconds to call `collect`, whatever the descriptor says; 0 for at once."""
        if self._work is not None or self._urgent:
            return 0.0
        return max(0.0, min(self._next_round_sec, self._due[0][0] if self._due else math.inf) - now_sec)

    def collect(self, now_sec: float, limit: int = BATCH_FILES) -> list[OutboxFile]:
        """Returns files that are whole, in the order in which they were written as far as that is known.

        Each is handed over once: afterwards `delete` it, or `put_back` what could not be made durable.
        """
        self._now_sec = now_sec
        self._hear()
        self._go_on()
        return self._look(limit)

    def delete(self, file: OutboxFile) -> bool:
        """Removes a file whose response is durable, unless another one took its place since it was read.

        Between the comparison and the unlink lie some microseconds in which a file that is renamed over this one
        would be lost; no system call closes that gap.

        Returns:
            False if another is there now, which will be found, or this one can't be removed, which is tried again.
        """
        session, candidate = self._in_hand(file)
        try:
            is_gone = self._remove(file.session, file.name, file.identity)
        except OSError as error:
            self._complain(("delete", file.session), f"responses of {file.session} cannot be removed", error)
            if candidate is not None:
                candidate.state = _State.DONE
                self._schedule(file.session, file.name, candidate, self._now_sec + candidate.next_pause_sec())
            return False
        if session is not None and candidate is not None:
            if is_gone:
                self._forget(session, file.name)
            else:
                candidate.renew(None, self._now_sec)
                self._schedule(file.session, file.name, candidate, self._now_sec)
        return is_gone

    def put_back(self, file: OutboxFile) -> None:
        """Takes back a file whose response could not be made durable: it is handed over again, a second later."""
        _, candidate = self._in_hand(file)
        if candidate is not None:
            candidate.state = _State.WAITING
            self._schedule(file.session, file.name, candidate, self._now_sec + LOOK_AGAIN_SEC)

    def pending(self) -> dict[str, PendingFiles]:
        """Returns the sessions that have files, as of the last `collect`: those that wait, and those that were left."""
        result: dict[str, PendingFiles] = {}
        for name, session in self._sessions.items():
            times = [_mtime_of(one) for one in session.candidates.values() if one.state is not _State.DONE]
            times = [one for one in times if one]
            if times:
                result[name] = PendingFiles(len(times), min(times))
        return result

    def close(self) -> None:
        """Closes every handle."""
        self._stop_work()
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        if self._outbox >= 0:
            os.close(self._outbox)
            self._outbox = -1

    # -- what the watcher reports ---------------------------------------------------------------------------------

    def _hear(self) -> None:
        if self._inotify is None:
            return
        for _ in range(READS):
            events = self._inotify.read()
            if not events:
                return
            for event in events:
                self._take(event)

    def _take(self, event: Event) -> None:
        if event.is_overflow:
            log.info("outbox: more changes than the kernel's queue holds; everything is looked at again")
            self._start_over()
        elif event.wd == self._outbox_wd:
            if event.is_about_directory:
                self._urgent[event.name] = None
        elif event.wd in self._wds:
            self._take_of_session(event, self._wds[event.wd])

    def _take_of_session(self, event: Event, name: str) -> None:
        session = self._sessions[name]
        if event.is_ignored:
            del self._wds[event.wd]
            session.wd = None
            return
        self._wds.move_to_end(event.wd)
        if not is_candidate(event.name) or event.is_about_directory:
            return
        candidate = session.candidates.get(event.name)
        if candidate is None:
            candidate = self._remember(session, event.name, None)
        candidate.is_closed = True
        self._schedule(name, event.name, candidate, self._now_sec)

    def _start_over(self) -> None:
        """Lists everything again, whatever the mtimes say."""
        self._stop_work()
        self._outbox_place = DirectorySnapshot()
        for session in self._sessions.values():
            session.place = DirectorySnapshot()
        self._next_round_sec = self._now_sec

    # -- the rescan -----------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Does a slice of the work that is due."""
        if self._work is None:
            if self._next_round_sec <= self._now_sec:
                self._next_round_sec = self._now_sec + RESCAN_SEC
                self._work = self._round()
            elif self._urgent:
                self._work = self._scan_urgent()
            else:
                return
        if sum(1 for _ in islice(self._work, SLICE_ENTRIES)) < SLICE_ENTRIES:
            self._work = None

    def _stop_work(self) -> None:
        if self._work is not None:
            self._work.close()
            self._work = None

    def _round(self) -> Slices:
        yield from self._list_sessions()
        for name in list(self._sessions):
            yield from self._scan_urgent()
            yield
            session = self._sessions.get(name)
            if session is not None and self._is_to_be_scanned(name, session):
                yield from self._scan(name, session)

    def _scan_urgent(self) -> Slices:
        while self._urgent:
            name = next(iter(self._urgent))
            del self._urgent[name]
            yield
            session = self._session_named(name)
            if session is not None:
                yield from self._scan(name, session)

    def _list_sessions(self) -> Slices:
        try:
            self._check_outbox()
            if not self._outbox_place.note(os.fstat(self._outbox), self._now_sec):
                return
            with os.scandir(self._outbox) as entries:
                for entry in entries:
                    yield
                    if entry.is_dir(follow_symlinks=False):
                        self._session_named(entry.name)
                    elif entry.is_symlink():
                        self._complain(("link", entry.name), f"outbox/{shown(entry.name)} is a link: it is ignored")
            self._complaints.discard("outbox")
        except OSError as error:
            self._outbox_place = DirectorySnapshot()
            self._complain("outbox", "the outbox cannot be read", error)

    def _session_named(self, name: str) -> _Session | None:
        """Returns the session of a directory; None where its name is none."""
        if name in self._sessions:
            return self._sessions[name]
        if name.startswith("."):
            return None
        if not is_name(name):
            self._complain(("name", name), f"outbox/{shown(name)} is not named like a session: it is ignored")
            return None
        session = self._sessions[name] = _Session()
        return session

    def _is_to_be_scanned(self, name: str, session: _Session) -> bool:
        try:
            status = os.stat(name, dir_fd=self._outbox, follow_symlinks=False)
        except FileNotFoundError:
            self._forget_session(name)
            return False
        except OSError:
            return True  # the scan says why
        return session.place.note(status, self._now_sec) or session.is_incomplete

    def _scan(self, name: str, session: _Session) -> Slices:
        """Lists one session's directory. The watch comes first, so that nothing falls between the two."""
        try:
            handle = os.open(name, _DIRECTORY, dir_fd=self._outbox)
        except OSError as error:
            self._not_scanned(name, session, error)
            return
        try:
            yield from repeat(None, OPENING_ENTRIES)
            self._watch(name, session, handle)
            due_sec = self._now_sec + SETTLE_SEC  # the same for all, so that they are read in the order of their mtimes
            session.is_incomplete = False
            gone = set(session.candidates)
            with os.scandir(handle) as entries:
                for entry in entries:
                    yield
                    if is_candidate(entry.name):
                        gone.discard(entry.name)
                        self._note(name, session, entry, due_sec)
            for one in gone:
                self._forget(session, one)
            self._complaints.discard(("session", name))
        except OSError as error:
            self._not_scanned(name, session, error)
        finally:
            os.close(handle)

    def _not_scanned(self, name: str, session: _Session, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            self._forget_session(name)
            return
        session.place = DirectorySnapshot()
        self._complain(("session", name), f"outbox/{name} cannot be read", error)

    def _note(self, name: str, session: _Session, entry: os.DirEntry[str], due_sec: float) -> None:
        try:
            identity = identity_of(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            return
        candidate = session.candidates.get(entry.name)
        if candidate is None:
            if self._known >= KNOWN_MOST:
                session.is_incomplete = True
                self._complain("known", f"the outbox holds more than {KNOWN_MOST:,} files: those beyond wait")
                return
            candidate = self._remember(session, entry.name, identity)
        elif candidate.identity in (None, identity):
            return  # it has its time already
        else:
            candidate.renew(identity, self._now_sec)
        self._schedule(name, entry.name, candidate, due_sec)

    # -- one file -------------------------------------------------------------------------------------------------

    def _look(self, limit: int) -> list[OutboxFile]:
        """Looks at the files whose time has come."""
        found: list[OutboxFile] = []
        self._room_bytes = BATCH_BYTES
        for _ in range(SLICE_ENTRIES):
            if not self._due or self._due[0][0] > self._now_sec or len(found) >= limit or self._room_bytes <= 0:
                break
            due_sec, _, name, file_name = heapq.heappop(self._due)
            session = self._sessions.get(name)
            candidate = None if session is None else session.candidates.get(file_name)
            if session is None or candidate is None or candidate.due_sec != due_sec:
                continue
            candidate.due_sec = math.inf
            body = self._look_at(name, session, file_name, candidate)
            if body is not None and candidate.identity is not None:
                found.append(OutboxFile(name, file_name, candidate.identity, body))
        return found

    def _look_at(self, name: str, session: _Session, file_name: str, candidate: _Candidate) -> bytes | None:
        """Decides about one file; returns its response if it is to be handed over."""
        is_closed, candidate.is_closed = candidate.is_closed, False
        try:
            directory = os.open(name, _DIRECTORY, dir_fd=self._outbox)
        except OSError as error:
            self._schedule(name, file_name, candidate, self._now_sec + candidate.next_pause_sec())
            self._not_scanned(name, session, error)
            return None
        try:
            status = look_at(directory, file_name)
            if status is None:
                self._forget(session, file_name)
                return None
            if not self._is_to_be_read(name, file_name, candidate, identity_of(status), is_closed):
                return None
            return self._read(directory, name, file_name, candidate, status)
        except OSError as error:
            self._schedule(name, file_name, candidate, self._now_sec + candidate.next_pause_sec())
            self._complain(("file", name), f"a file in outbox/{name} cannot be read", error)
            return None
        finally:
            os.close(directory)

    def _is_to_be_read(
        self, name: str, file_name: str, candidate: _Candidate, identity: FileIdentity, is_closed: bool
    ) -> bool:
        if candidate.identity != identity:
            candidate.renew(identity, self._now_sec)
        elif candidate.state is _State.HANDED:
            return False
        elif candidate.state is _State.DONE:
            self._remove_at_last(name, file_name, candidate, identity)
            return False
        elif candidate.state is _State.LEFT:
            self._schedule(name, file_name, candidate, self._now_sec + candidate.next_pause_sec())
            return False
        if not is_closed and self._now_sec < candidate.since_sec + SETTLE_SEC:
            self._schedule(name, file_name, candidate, candidate.since_sec + SETTLE_SEC)
            return False
        if candidate.fault:  # it is as it was when it did not parse: no need to read it again
            self._leave_or_wait(name, file_name, candidate)
            return False
        return True

    def _read(
        self, directory: int, name: str, file_name: str, candidate: _Candidate, status: os.stat_result
    ) -> bytes | None:
        self._room_bytes -= min(status.st_size, MAX_RESPONSE_BYTES)
        try:
            body = read_response(directory, file_name, status)
        except NotAResponse as reason:
            candidate.fault = str(reason)
            self._leave_or_wait(name, file_name, candidate)
            return None
        if body is None:
            self._schedule(name, file_name, candidate, self._now_sec + SETTLE_SEC)
        else:
            candidate.state = _State.HANDED
            self._complaints.discard(("file", name))
        return body

    def _leave_or_wait(self, name: str, file_name: str, candidate: _Candidate) -> None:
        stable_sec = candidate.since_sec + STABLE_SEC
        if self._now_sec < stable_sec:
            self._schedule(name, file_name, candidate, stable_sec)
            return
        candidate.state = _State.LEFT
        log.error("response left where it is", session_id=name, file=shown(file_name), reason=candidate.fault)
        self._schedule(name, file_name, candidate, self._now_sec + candidate.next_pause_sec())

    def _remove_at_last(self, name: str, file_name: str, candidate: _Candidate, identity: FileIdentity) -> None:
        self._schedule(name, file_name, candidate, self._now_sec + candidate.next_pause_sec())
        with suppress(OSError):
            if self._remove(name, file_name, identity):
                self._forget(self._sessions[name], file_name)
                self._complaints.discard(("delete", name))

    def _remove(self, name: str, file_name: str, identity: FileIdentity) -> bool:
        try:
            directory = os.open(name, _DIRECTORY, dir_fd=self._outbox)
        except FileNotFoundError:
            return True
        try:
            return remove_if_same(directory, file_name, identity)
        finally:
            os.close(directory)

    # -- what is known --------------------------------------------------------------------------------------------

    def _in_hand(self, file: OutboxFile) -> tuple[_Session | None, _Candidate | None]:
        """Returns what a file was handed over from; no candidate if the file has changed, and that was noticed."""
        session = self._sessions.get(file.session)
        candidate = None if session is None else session.candidates.get(file.name)
        if candidate is None or candidate.state is not _State.HANDED or candidate.identity != file.identity:
            return session, None
        return session, candidate

    def _schedule(self, name: str, file_name: str, candidate: _Candidate, due_sec: float) -> None:
        candidate.due_sec = due_sec
        order = next(self._order) if candidate.identity is None else candidate.identity.mtime_ns
        heapq.heappush(self._due, (due_sec, order, name, file_name))

    def _remember(self, session: _Session, file_name: str, identity: FileIdentity | None) -> _Candidate:
        self._known += 1
        candidate = session.candidates[file_name] = _Candidate(identity, self._now_sec)
        return candidate

    def _forget(self, session: _Session, file_name: str) -> None:
        if session.candidates.pop(file_name, None) is not None:
            self._known -= 1
            if self._known < KNOWN_MOST:
                self._complaints.discard("known")

    def _forget_session(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            self._known -= len(session.candidates)
            self._unwatch(session)

    def _complain(self, key: Hashable, sentence: str, error: OSError | None = None) -> None:
        """Logs something once, until it is better and comes again."""
        if key in self._complaints or len(self._complaints) >= COMPLAINTS_MOST:
            return
        self._complaints.add(key)
        if error is None:
            log.warning(sentence)
        else:
            log.error(sentence, error=error.strerror or str(error))

    # -- handles and watches --------------------------------------------------------------------------------------

    def _open_inotify(self) -> Inotify | None:
        try:
            return Inotify()
        except OSError as error:
            log.warning("the outbox is not watched: files are found by the rescan", error=error.strerror)
            return None

    def _check_outbox(self) -> None:
        """Opens outbox/ again where it was replaced, and makes it where it is gone.

        Raises:
            OSError: there is none that can be used.
        """
        try:
            status = self._path.stat(follow_symlinks=False)
            if os.path.samestat(status, os.fstat(self._outbox)):
                return
        except FileNotFoundError:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open_outbox()

    def _open_outbox(self) -> None:
        handle = os.open(self._path, _DIRECTORY)
        if self._outbox >= 0:
            os.close(self._outbox)
            for name in list(self._sessions):
                self._forget_session(name)
        self._outbox, self._outbox_place = handle, DirectorySnapshot()
        if self._inotify is not None:
            before, self._outbox_wd = self._outbox_wd, -1
            self._outbox_wd = self._add_watch(handle, _OUTBOX_MASK)
            if before not in (-1, self._outbox_wd):
                self._inotify.remove(before)

    def _watch(self, name: str, session: _Session, handle: int) -> None:
        if self._inotify is None or self._watches_most == 0:
            return
        wd = self._add_watch(handle, _SESSION_MASK)
        if wd != session.wd:
            self._unwatch(session)
        if wd < 0:
            return
        before = self._wds.get(wd, name)
        if before != name:  # the directory was renamed
            self._sessions[before].wd = None
        session.wd, self._wds[wd] = wd, name
        self._wds.move_to_end(wd)
        if len(self._wds) > self._watches_most:
            self._unwatch(self._sessions[next(iter(self._wds.values()))])

    def _add_watch(self, handle: int, mask: int) -> int:
        """Returns the number of a new watch; -1 if there is none, and the rescan has to do."""
        assert self._inotify is not None
        try:
            return self._inotify.add(handle, mask)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._complain("watches", "not every outbox is watched: files are found by the rescan", error)
            return -1

    def _unwatch(self, session: _Session) -> None:
        if session.wd is not None:
            self._wds.pop(session.wd, None)
            if self._inotify is not None:
                self._inotify.remove(session.wd)
            session.wd = None


def _mtime_of(candidate: _Candidate) -> int:
    """Returns when a file was written, now if it was not looked at yet; 0 for what is no file."""
    return time.time_ns() if candidate.identity is None else candidate.identity.mtime_ns
