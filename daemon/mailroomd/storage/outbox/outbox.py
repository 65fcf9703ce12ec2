"""Outbox — collects the responses that agents leave as files, each once, and removes a file when it is told to.

Decides when a file is complete. A file that the kernel reported as closed or renamed is read at once. One found by a
rescan is read once it has been unchanged for 100 ms. A file that does not parse may still be incomplete: it is logged,
once, and ignored only after a second without a change. Any change restarts the wait. Not here: finding files
(`OutboxScan`), a single file (`outbox.file`), durability. Above: the command-queue, whose monotonic clock it uses.
Invariant: a file is removed only when `remove_response` is called for it, and only if it still is the one that was
read.
"""

__all__ = ["Outbox"]

import os
from contextlib import suppress
from pathlib import Path

from mailroomd.observability.log import log
from mailroomd.storage.outbox.candidates import Candidate, Candidates, CandidateState, Session
from mailroomd.storage.outbox.file import (
    MAX_RESPONSE_BYTES,
    FileIdentity,
    NotAResponse,
    OutboxFile,
    identity_of,
    read_response,
    remove_if_same,
    shown,
    stat_file,
)
from mailroomd.storage.outbox.problems import Problems
from mailroomd.storage.outbox.scan import SETTLE_SEC, SLICE_ENTRIES, WATCHES_MOST, OutboxScan

STABLE_SEC = 1.0  # how long what does not parse has to stand still before it counts as written to its end
PAGE_FILES = 200  # collected at once
PAGE_BYTES = MAX_RESPONSE_BYTES  # read at once, except for the last file


class Outbox:
    """The outbox, for a poll loop: wait for `fileno()` up to `due_in_sec()`, then `collect_responses`.

    Args:
        root: holds outbox/; made where it is absent.
        watches_most: session directories that are watched; the others are found by the rescan.

    Raises:
        OSError: outbox/ cannot be made or opened.
    """

    def __init__(self, root: Path, watches_most: int = WATCHES_MOST) -> None:
        self._problems = Problems()
        self._candidates = Candidates(self._problems)
        self._scan = OutboxScan(root / "outbox", self._candidates, self._problems, watches_most)
        self._room_bytes = 0  # what may still be read in this call

    def fileno(self) -> int | None:
        """Returns the descriptor that is readable when `collect_responses` should be called; None if there is none."""
        return self._scan.fileno()

    def due_in_sec(self, now_sec: float) -> float:
        """Returns after how many seconds to call `collect_responses`, whatever the descriptor says; 0 for at once."""
        return max(0.0, min(self._scan.next_due_sec(), self._candidates.next_due_sec()) - now_sec)

    def collect_responses(self, now_sec: float, limit: int = PAGE_FILES) -> list[OutboxFile]:
        """Returns files that are whole, in the order in which they were written as far as that is known.

        Each is returned once: call `remove_response` when it is durable.
        """
        self._candidates.now_sec = self._problems.now_sec = now_sec
        self._problems.log_counts()
        self._scan.find_files()
        return self._check_due(limit)

    def remove_response(self, file: OutboxFile) -> bool:
        """Removes a file whose response is durable, unless another one took its place since it was read.

        Between the comparison and the unlink lie some microseconds in which a file that is renamed over this one
        would be lost; no system call closes that gap.

        Returns:
            False if another is there now, which will be found, or this one cannot be removed, which is tried again.
        """
        session, candidate = self._collected(file)
        now_sec = self._candidates.now_sec
        try:
            is_gone = self._unlink(file.session, file.name, file.identity)
        except OSError as error:
            self._problems.report(("remove", file.session), "responses cannot be removed", error, session=file.session)
            if candidate is not None:
                candidate.state = CandidateState.STORED
                self._postpone(file.session, file.name, candidate)
            return False
        if session is not None and candidate is not None:
            if is_gone:
                self._candidates.forget(session, file.name)
            else:
                candidate.renew(None, now_sec)
                self._candidates.schedule(file.session, file.name, candidate, now_sec)
        return is_gone

    def close(self) -> None:
        """Closes every handle."""
        self._scan.close()

    # -- one file -------------------------------------------------------------------------------------------------

    def _check_due(self, limit: int) -> list[OutboxFile]:
        """Looks at the files whose time has come; returns those that are whole."""
        files: list[OutboxFile] = []
        self._room_bytes = PAGE_BYTES
        for _ in range(SLICE_ENTRIES):
            if self._candidates.next_due_sec() > self._candidates.now_sec:
                break
            if len(files) >= limit or self._room_bytes <= 0:
                break
            due = self._candidates.pop_due()
            if due is None:
                continue
            session_name, session, file_name, candidate = due
            body = self._check(session_name, session, file_name, candidate)
            if body is not None and candidate.identity is not None:
                files.append(OutboxFile(session_name, file_name, candidate.identity, body))
        return files

    def _check(self, session_name: str, session: Session, file_name: str, candidate: Candidate) -> bytes | None:
        """Decides about one file; returns its response if it is to be collected."""
        is_closed, candidate.is_closed = candidate.is_closed, False
        try:
            directory = self._scan.open_session(session_name)
        except OSError as error:
            self._postpone(session_name, file_name, candidate)
            self._scan.report_unreadable(session_name, session, error)
            return None
        try:
            status = stat_file(directory, file_name)
            if status is None:
                self._candidates.forget(session, file_name)
                return None
            if not self._is_to_be_read(session_name, file_name, candidate, identity_of(status), is_closed):
                return None
            return self._read(directory, session_name, file_name, candidate, status)
        except OSError as error:
            self._postpone(session_name, file_name, candidate)
            self._problems.report(("file", session_name), "response unreadable", error, session=session_name)
            return None
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - of this file: the others are collected
            log.exception("outbox file set aside", session=session_name, file=shown(file_name))
            candidate.fault = f"internal error ({type(error).__name__})"
            candidate.state = CandidateState.IGNORED
            self._postpone(session_name, file_name, candidate)
            return None
        finally:
            os.close(directory)

    def _is_to_be_read(
        self, session_name: str, file_name: str, candidate: Candidate, identity: FileIdentity, is_closed: bool
    ) -> bool:
        now_sec = self._candidates.now_sec
        if candidate.identity != identity:
            candidate.renew(identity, now_sec)
        elif candidate.state is CandidateState.COLLECTED:
            return False
        elif candidate.state is CandidateState.STORED:
            self._remove_again(session_name, file_name, candidate, identity)
            return False
        elif candidate.state is CandidateState.IGNORED:
            self._postpone(session_name, file_name, candidate)
            return False
        if not is_closed and now_sec < candidate.since_sec + SETTLE_SEC:
            self._candidates.schedule(session_name, file_name, candidate, candidate.since_sec + SETTLE_SEC)
            return False
        if candidate.fault:  # it is as it was when it did not parse: no need to read it again
            self._ignore_or_wait(session_name, file_name, candidate)
            return False
        return True

    def _read(
        self, directory: int, session_name: str, file_name: str, candidate: Candidate, status: os.stat_result
    ) -> bytes | None:
        self._room_bytes -= min(status.st_size, MAX_RESPONSE_BYTES)
        try:
            body = read_response(directory, file_name, status)
        except NotAResponse as reason:
            candidate.fault = str(reason)
            self._ignore_or_wait(session_name, file_name, candidate)
            return None
        if body is None:
            self._candidates.schedule(session_name, file_name, candidate, self._candidates.now_sec + SETTLE_SEC)
        else:
            candidate.state = CandidateState.COLLECTED
            self._problems.resolve(("file", session_name))
        return body

    def _ignore_or_wait(self, session_name: str, file_name: str, candidate: Candidate) -> None:
        stable_sec = candidate.since_sec + STABLE_SEC
        if self._candidates.now_sec < stable_sec:
            self._candidates.schedule(session_name, file_name, candidate, stable_sec)
            return
        candidate.state = CandidateState.IGNORED
        self._problems.report_file(
            "ignoring invalid outbox file", session=session_name, file=shown(file_name), reason=candidate.fault
        )
        self._postpone(session_name, file_name, candidate)

    def _remove_again(self, session_name: str, file_name: str, candidate: Candidate, identity: FileIdentity) -> None:
        self._postpone(session_name, file_name, candidate)
        with suppress(OSError):
            if self._unlink(session_name, file_name, identity):
                self._candidates.forget(self._candidates.sessions[session_name], file_name)
                self._problems.resolve(("remove", session_name))

    def _unlink(self, session_name: str, file_name: str, identity: FileIdentity) -> bool:
        try:
            directory = self._scan.open_session(session_name)
        except FileNotFoundError:
            return True
        try:
            return remove_if_same(directory, file_name, identity)
        finally:
            os.close(directory)

    def _postpone(self, session_name: str, file_name: str, candidate: Candidate) -> None:
        due_sec = self._candidates.now_sec + candidate.next_pause_sec()
        self._candidates.schedule(session_name, file_name, candidate, due_sec)

    def _collected(self, file: OutboxFile) -> tuple[Session | None, Candidate | None]:
        """Returns what a file was collected from; no candidate if the file has changed, and that was noticed."""
        session = self._candidates.sessions.get(file.session)
        candidate = None if session is None else session.candidates.get(file.name)
        if candidate is None or candidate.state is not CandidateState.COLLECTED or candidate.identity != file.identity:
            return session, None
        return session, candidate
