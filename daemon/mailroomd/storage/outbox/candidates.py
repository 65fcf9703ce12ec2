"""Candidates — the files in the outbox that are known, what was decided about each, and when to look at it next.

Owns the bound of what is remembered, and the order: files that are due at the same time come in the order in which they
were written. Not here: finding files (`OutboxScan`), looking at them (`Outbox`). Pure. Time is the caller's monotonic
clock.
"""

__all__ = ["Candidate", "CandidateState", "Candidates", "Session"]

import heapq
import math
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count

from mailroomd.storage.directories.snapshot import DirectorySnapshot
from mailroomd.storage.outbox.file import FileIdentity
from mailroomd.storage.outbox.problems import Problems

RECHECK_SEC, RECHECK_MOST_SEC = 1.0, 30.0  # what is ignored or cannot be removed; doubled each time
KNOWN_MOST = 100_000  # files that wait or are ignored; 400 bytes each


class CandidateState(Enum):
    """What becomes of one file."""

    WAITING = auto()  # to be read, now or when it has been unchanged
    COLLECTED = auto()  # the caller has it, and will call `remove_response` when it is durable
    STORED = auto()  # durable, but it could not be removed: that is tried again, and it is not collected again
    IGNORED = auto()  # logged, and left where it is until it changes


@dataclass(slots=True)
class Candidate:
    """One file, as it was when it was last looked at.

    Attributes:
        identity: None if it was reported, and not looked at yet.
        since_sec: since when it is known to be so.
        due_sec: when to look at it; entries of the heap with another time are void.
        is_closed: whether its writer is known to be done.
        fault: why it is not a response, as it is now.
        pause_sec: before the next look at a file that is ignored or cannot be removed.
    """

    identity: FileIdentity | None
    since_sec: float
    due_sec: float = math.inf
    is_closed: bool = False
    state: CandidateState = CandidateState.WAITING
    fault: str = ""
    pause_sec: float = RECHECK_SEC

    def renew(self, identity: FileIdentity | None, now_sec: float) -> None:
        """Voids whatever was decided: the file has changed."""
        self.identity, self.since_sec, self.state = identity, now_sec, CandidateState.WAITING
        self.fault, self.pause_sec = "", RECHECK_SEC

    def next_pause_sec(self) -> float:
        """Returns how long to leave the file alone; longer each time."""
        pause_sec = self.pause_sec
        self.pause_sec = min(RECHECK_MOST_SEC, pause_sec * 2)
        return pause_sec


@dataclass(slots=True)
class Session:
    """One session's directory.

    Attributes:
        wd: its watch; None if it has none.
        is_incomplete: whether it holds more files than may be remembered: then each round lists it.
        candidates: by file name.
    """

    wd: int | None = None
    snapshot: DirectorySnapshot = field(default_factory=DirectorySnapshot)
    is_incomplete: bool = False
    candidates: dict[str, Candidate] = field(default_factory=dict[str, Candidate])


class Candidates:
    """Keeps the candidates of all sessions.

    Attributes:
        now_sec: the time of the call that is being served.
        sessions: by name.
    """

    def __init__(self, problems: Problems) -> None:
        self.now_sec = 0.0
        self.sessions: dict[str, Session] = {}
        self._problems = problems
        self._known = 0
        self._report_order = count()
        self._due: list[tuple[float, int, str, str]] = []  # heap: when, mtime or order of the reports, session, file

    @property
    def is_full(self) -> bool:
        """Whether no further file may be remembered."""
        return self._known >= KNOWN_MOST

    def next_due_sec(self) -> float:
        """Returns when to look at the next file."""
        return self._due[0][0] if self._due else math.inf

    def pop_due(self) -> tuple[str, Session, str, Candidate] | None:
        """Returns the next file whose time has come, and takes it off the list; None if its entry is void.

        Call it only if one is due.
        """
        due_sec, _, session_name, file_name = heapq.heappop(self._due)
        session = self.sessions.get(session_name)
        candidate = None if session is None else session.candidates.get(file_name)
        if session is None or candidate is None or candidate.due_sec != due_sec:
            return None
        candidate.due_sec = math.inf
        return session_name, session, file_name, candidate

    def schedule(self, session_name: str, file_name: str, candidate: Candidate, due_sec: float) -> None:
        """Looks at a file at a time; an earlier appointment is void."""
        candidate.due_sec = due_sec
        order = next(self._report_order) if candidate.identity is None else candidate.identity.mtime_ns
        heapq.heappush(self._due, (due_sec, order, session_name, file_name))

    def remember(self, session: Session, file_name: str, identity: FileIdentity | None) -> Candidate:
        """Adds a file that was found or reported."""
        self._known += 1
        candidate = session.candidates[file_name] = Candidate(identity, self.now_sec)
        return candidate

    def forget(self, session: Session, file_name: str) -> None:
        """Drops a file that is gone."""
        if session.candidates.pop(file_name, None) is not None:
            self._known -= 1
            if not self.is_full:
                self._problems.resolve("known")

    def forget_session(self, session_name: str) -> Session | None:
        """Drops a session with its files; returns it."""
        session = self.sessions.pop(session_name, None)
        if session is not None:
            self._known -= len(session.candidates)
        return session
