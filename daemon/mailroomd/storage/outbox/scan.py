"""OutboxScan — finds files in the outbox: at once through inotify, and in any case by a periodic rescan.

Owns the outbox's directory, the sessions' directories and their watches. The rescan alone finds every file; the watches
(of a bounded number of directories) make it quick. Not here: what is in a file, and what becomes of it (`Outbox`). Time
is the caller's monotonic clock, kept in `Candidates`.
"""

__all__ = ["OutboxScan"]

import os
from itertools import repeat
from pathlib import Path

from mailroomd.model.names import is_name
from mailroomd.storage.directories.inotify import Event, Mask
from mailroomd.storage.directories.patrol import Patrol, PatrolPace, Slices
from mailroomd.storage.directories.snapshot import DirectorySnapshot
from mailroomd.storage.directories.watcher import DirectoryWatcher
from mailroomd.storage.outbox.candidates import Candidate, Candidates, Session
from mailroomd.storage.outbox.file import FileIdentity, identity_of, is_candidate, shown
from mailroomd.storage.outbox.problems import Problems

RESCAN_SEC = 1.5  # with SETTLE_SEC, and what a busy loop adds, less than the 2 s that are promised
SETTLE_SEC = 0.1  # how long a file that was not reported as closed has to stand still before it is read
SLICE_ENTRIES = 2000  # looked at in one call: some 8 ms
OPENING_ENTRIES = 10  # what opening and watching a directory costs, in entries
WATCHES_MOST = 1024  # session directories; 1 KiB of the kernel's memory each, and the limit is the user's, not ours

_OUTBOX_MASK = Mask.CREATE | Mask.MOVED_TO | Mask.ONLY_DIRECTORY
_SESSION_MASK = Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.ONLY_DIRECTORY


class OutboxScan:
    """Finds candidates, and schedules them.

    Args:
        path: the outbox; made where it is absent.
        candidates: gets what is found.
        problems: gets what is wrong.
        watches_most: session directories that are watched; the others are found by the rescan.

    Raises:
        OSError: the outbox cannot be made or opened.
    """

    def __init__(self, path: Path, candidates: Candidates, problems: Problems, watches_most: int) -> None:
        self._path = path
        self._candidates = candidates
        self._problems = problems
        self._watches_most = watches_most
        self._urgent: dict[str, None] = {}  # sessions to be listed before the others
        self._watcher = DirectoryWatcher(path, self, _OUTBOX_MASK, _SESSION_MASK)
        self._patrol = Patrol(
            PatrolPace(RESCAN_SEC, SLICE_ENTRIES), self._rescan, self._scan_urgent, lambda: bool(self._urgent)
        )
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._watcher.open_parent()

    def fileno(self) -> int | None:
        """Returns the descriptor that is readable when `find_files` should be called; None if there is none."""
        return self._watcher.fileno()

    def next_due_sec(self) -> float:
        """Returns when to call `find_files`, whatever the descriptor says."""
        return self._patrol.next_due_sec()

    def find_files(self) -> None:
        """Schedules the files that were reported, and those that a slice of the rescan has found."""
        self._watcher.read_events()
        self._patrol.run_slice(self._candidates.now_sec)

    def open_session(self, session_name: str) -> int:
        """Returns the handle of a session's directory.

        Raises:
            OSError: it is gone, is not a directory, or cannot be opened.
        """
        return self._watcher.open_child(session_name)

    def report_unreadable(self, session_name: str, session: Session, error: OSError) -> None:
        """Records that a session's directory cannot be read, or is gone."""
        if isinstance(error, FileNotFoundError):
            self._forget_session(session_name)
            return
        session.snapshot = DirectorySnapshot()
        self._problems.report(("session", session_name), "outbox directory unreadable", error, session=session_name)

    def close(self) -> None:
        """Closes every handle."""
        self._patrol.stop_work()
        self._watcher.close()

    # -- the kernel's reports -------------------------------------------------------------------------------------

    def on_overflow(self) -> None:
        """Lists everything again, whatever the mtimes say."""
        self._patrol.stop_work()
        self._watcher.snapshot = DirectorySnapshot()
        for session in self._candidates.sessions.values():
            session.snapshot = DirectorySnapshot()
        self._patrol.start_round_at(self._candidates.now_sec)

    def on_parent_event(self, event: Event) -> None:
        """Lists a directory that has appeared before the others."""
        if event.is_about_directory:
            self._urgent[event.name] = None

    def on_child_event(self, child: str, event: Event) -> None:
        """Schedules a file that was closed or renamed into place."""
        session = self._candidates.sessions[child]
        if event.is_ignored:
            self._watcher.forget_watch(event.wd)
            session.wd = None
            return
        self._watcher.renew_use(event.wd)
        if not is_candidate(event.name) or event.is_about_directory:
            return
        candidate = session.candidates.get(event.name) or self._remember(session, event.name, None)
        if candidate is None:
            return
        candidate.is_closed = True
        self._candidates.schedule(child, event.name, candidate, self._candidates.now_sec)

    # -- the rescan -----------------------------------------------------------------------------------------------

    def _rescan(self) -> Slices:
        yield from self._list_sessions()
        for session_name in list(self._candidates.sessions):
            yield from self._scan_urgent()
            yield
            session = self._candidates.sessions.get(session_name)
            if session is not None and self._may_have_changed(session_name, session):
                yield from self._scan(session_name, session)

    def _scan_urgent(self) -> Slices:
        while self._urgent:
            session_name = next(iter(self._urgent))
            del self._urgent[session_name]
            yield
            session = self._session_named(session_name)
            if session is not None:
                yield from self._scan(session_name, session)

    def _list_sessions(self) -> Slices:
        try:
            self._reopen_if_replaced()
            if not self._watcher.snapshot.update(os.fstat(self._watcher.handle), self._candidates.now_sec):
                return
            with os.scandir(self._watcher.handle) as entries:
                for entry in entries:
                    yield
                    if entry.is_dir(follow_symlinks=False):
                        self._session_named(entry.name)
                    elif entry.is_symlink():
                        self._problems.report(
                            ("link", entry.name), "ignoring link in the outbox", name=shown(entry.name)
                        )
            self._problems.resolve("outbox")
        except OSError as error:
            self._watcher.snapshot = DirectorySnapshot()
            self._problems.report("outbox", "outbox unreadable", error)

    def _reopen_if_replaced(self) -> None:
        """Opens the outbox again where it was replaced, and makes it where it is gone.

        Raises:
            OSError: nothing usable is there.
        """
        try:
            if self._watcher.is_in_place():
                return
        except FileNotFoundError:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._watcher.open_parent()
        for session_name in list(self._candidates.sessions):
            self._forget_session(session_name)

    def _session_named(self, name: str) -> Session | None:
        """Returns the session of a directory; None if its name cannot be a session's."""
        if name in self._candidates.sessions:
            return self._candidates.sessions[name]
        if name.startswith("."):
            return None
        if not is_name(name):
            self._problems.report(("name", name), "ignoring directory not named like a session", name=shown(name))
            return None
        session = self._candidates.sessions[name] = Session()
        return session

    def _may_have_changed(self, session_name: str, session: Session) -> bool:
        try:
            status = self._watcher.stat_child(session_name)
        except FileNotFoundError:
            self._forget_session(session_name)
            return False
        except OSError:
            return True  # the scan reports why
        return session.snapshot.update(status, self._candidates.now_sec) or session.is_incomplete

    def _scan(self, session_name: str, session: Session) -> Slices:
        """Lists one session's directory. The watch comes first, so that nothing falls between the two."""
        try:
            handle = self._watcher.open_child(session_name)
        except OSError as error:
            self.report_unreadable(session_name, session, error)
            return
        try:
            yield from repeat(None, OPENING_ENTRIES)
            if not self._is_known(session_name, session):
                return
            self._watch(session_name, session, handle)
            due_sec = self._candidates.now_sec + SETTLE_SEC  # the same for all: they are read in the order of mtimes
            session.is_incomplete = False
            gone = set(session.candidates)
            with os.scandir(handle) as entries:
                for entry in entries:
                    yield
                    if not self._is_known(session_name, session):
                        return
                    if is_candidate(entry.name):
                        gone.discard(entry.name)
                        self._record_entry(session_name, session, entry, due_sec)
            for file_name in gone:
                self._candidates.forget(session, file_name)
            self._problems.resolve(("session", session_name))
        except OSError as error:
            self.report_unreadable(session_name, session, error)
        finally:
            os.close(handle)

    def _is_known(self, session_name: str, session: Session) -> bool:
        """Returns whether a session was not forgotten while its scan paused."""
        return self._candidates.sessions.get(session_name) is session

    def _record_entry(self, session_name: str, session: Session, entry: os.DirEntry[str], due_sec: float) -> None:
        try:
            identity = identity_of(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            return
        candidate = session.candidates.get(entry.name)
        if candidate is None:
            candidate = self._remember(session, entry.name, identity)
            if candidate is None:
                return
        elif candidate.identity in (None, identity):
            return  # it is scheduled already
        else:
            candidate.renew(identity, self._candidates.now_sec)
        self._candidates.schedule(session_name, entry.name, candidate, due_sec)

    def _remember(self, session: Session, file_name: str, identity: FileIdentity | None) -> Candidate | None:
        """Adds a file; None if too many are known: then each round lists its session until there is room."""
        if not self._candidates.is_full:
            return self._candidates.remember(session, file_name, identity)
        session.is_incomplete = True
        self._problems.report("known", "outbox holds too many files, the rest waits")
        return None

    # -- watches --------------------------------------------------------------------------------------------------

    def _watch(self, session_name: str, session: Session, handle: int) -> None:
        if self._watches_most == 0:
            return
        wd = self._watcher.add_child_watch(handle)
        if wd != session.wd:
            self._unwatch(session)
        if wd < 0:
            return
        former = self._watcher.child_of(wd)
        if former is not None and former != session_name:  # the directory was renamed
            self._candidates.sessions[former].wd = None
        session.wd = wd
        self._watcher.assign_watch(wd, session_name)
        least_used = self._watcher.least_used_beyond(self._watches_most)
        if least_used is not None:
            self._unwatch(self._candidates.sessions[least_used])

    def _unwatch(self, session: Session) -> None:
        if session.wd is not None:
            self._watcher.drop_watch(session.wd)
            session.wd = None

    def _forget_session(self, session_name: str) -> None:
        session = self._candidates.forget_session(session_name)
        if session is not None:
            self._unwatch(session)
