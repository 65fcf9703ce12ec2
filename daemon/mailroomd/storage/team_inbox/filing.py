"""TeamFiling — appends messages to team inboxes in a thread of its own, and retries until they are written.

Owns the backlog and its bounds, and the retries: another program may hold an inbox's lock for seconds. A broken inbox
costs one attempt at a time, however many messages wait for it; what waits for one inbox is appended together. What
finds no room in the backlog is *deferred*: the caller submits it again when the inbox has caught up. What finds no room
in the file is submitted again when the file is shorter (`FullInboxes`). Not here: the appending (`TeamInboxes`), what
survives a restart (the caller). Above: the command-queue.
Invariant: messages for one inbox are appended in the order of their ids, except those that found no room in its file;
every future gets its result.
"""

__all__ = ["TeamFiling"]

import os
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from mailroomd.core.backoff import backoff_sec
from mailroomd.model.ids import format_id
from mailroomd.observability.log import log
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.team_inbox.directory_lock import LockBusy, LockLost
from mailroomd.storage.team_inbox.full_inboxes import FullInboxes
from mailroomd.storage.team_inbox.inboxes import InboxTooLarge, NoSuchInbox, TeamInboxes, UnreadableInbox

BACKLOG_MESSAGES, BACKLOG_CHARS = 10_000, 64 << 20  # in all; characters of content
INBOX_MESSAGES, INBOX_CHARS = 2_000, 8 << 20  # for one inbox, so that a broken one leaves room to the others
SLICE_MESSAGES = 500  # appended together: some milliseconds, while other programs wait for the lock
_STOPPED = "the daemon stopped before the team inbox could be written"
_FULL = "the team inbox is full, or its sender's share is; retried once its agent removes entries"


@dataclass(frozen=True, slots=True)
class QueuedEntry:
    """A message that waits for its entry in a team inbox."""

    message: StoredMail
    done: "Future[str]"


@dataclass(slots=True)
class _Waiting:
    """What waits for one inbox."""

    entries: list[QueuedEntry] = field(default_factory=list[QueuedEntry])
    size_chars: int = 0
    attempts: int = 0
    due_sec: float = 0.0  # on the monotonic clock; the inbox that has been due longest comes first
    reason: str = ""
    had_last_try: bool = False


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What came of one attempt to append messages.

    Attributes:
        sentence: why none of them is there; empty if those that were not refused are.
        refused: ids of those for which the inbox has no room.
        is_final: whether another attempt would not help.
        is_suspect: an exception that nobody expected; one of the messages may be the cause.
    """

    sentence: str = ""
    refused: frozenset[int] = frozenset()
    is_final: bool = True
    is_suspect: bool = False


class TeamFiling:
    """Files messages in team inboxes.

    Args:
        inboxes: appends the messages; from now on only this object's thread may use it.
    """

    def __init__(self, inboxes: TeamInboxes) -> None:
        self._inboxes = inboxes
        self._changed = threading.Condition()
        self._waiting: dict[str, _Waiting] = {}  # by recipient
        self._deferred: dict[str, int] = {}  # by recipient: the first message that found no room
        self._full = FullInboxes()
        self._last_id = 0
        self._count = 0
        self._size_chars = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="team-filing", daemon=True)
        self._thread.start()

    def submit(self, message: StoredMail) -> "Future[str]":
        """Takes a message for `agent@team`; returns at once. Submit messages in the order of their ids.

        Returns:
            Done when the message is settled: with "" once it is in the inbox and durable, otherwise with a sentence
            that says why it is not. While it is retried it is not done, and `reason` says why. A message that found no
            room is done at once; see `take_deferred`. Callbacks run in the filing's thread.
        """
        done: Future[str] = Future()
        done.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        size = len(message.draft.content)
        recipient = message.draft.recipient
        with self._changed:
            refusal = _STOPPED if self._is_closing else self._refusal(recipient, size)
            is_repeated, self._last_id = message.id <= self._last_id, max(self._last_id, message.id)
            if refusal and not self._is_closing:
                self._deferred.setdefault(recipient, message.id)
            elif not refusal and is_repeated and self._full.refuses(message):
                refusal = _FULL
            elif not refusal:
                waiting = self._waiting.setdefault(recipient, _Waiting(due_sec=time.monotonic()))
                waiting.entries.append(QueuedEntry(message, done))
                waiting.size_chars += size
                self._count += 1
                self._size_chars += size
                self._changed.notify_all()
        if refusal:
            done.set_result(refusal)
        return done

    def take_deferred(self) -> list[tuple[str, int]]:
        """Returns the inboxes that have caught up, or have become shorter, and lack messages; and forgets that.

        Returns:
            (recipient, id): submit that recipient's missing messages from this id on, in the order of their ids, before
            any newer one.
        """
        with self._changed:
            if self._count > BACKLOG_MESSAGES * 3 / 4 or self._size_chars > BACKLOG_CHARS * 3 / 4:
                return []  # there has to be room for some messages of any size, or none would be submitted
            ready = [(name, first_id) for name, first_id in self._deferred.items() if name not in self._waiting]
            for name, _ in ready:
                del self._deferred[name]
                self._full.end_pass(name)
            busy = {*self._waiting, *self._deferred, *(name for name, _ in ready)}
            return ready + self._full.take_due(time.monotonic(), busy.__contains__, self._size_of)

    def defer(self, recipient: str, first_id: int) -> None:
        """Records that a recipient has more missing messages than were submitted, from this id on."""
        with self._changed:
            if not self._full.continue_pass(recipient, first_id):
                self._deferred.setdefault(recipient, first_id)

    def unfinished(self) -> int:
        """Returns how many messages are not settled yet."""
        with self._changed:
            return self._count

    def reason(self, recipient: str) -> str:
        """Returns why the last attempt at an inbox failed, as a sentence; empty if it did not fail."""
        with self._changed:
            waiting = self._waiting.get(recipient)
            return waiting.reason if waiting is not None else ""

    def close(self, timeout_sec: float) -> int:
        """Tries everything that waits once more, then ends; returns how many messages are left.

        Args:
            timeout_sec: the longest wait for that; a thread that is stuck in a system call ends with the process.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout_sec)
        with self._changed:
            left = [entry for waiting in self._waiting.values() for entry in waiting.entries]
            self._waiting.clear()
            self._count = self._size_chars = 0
        for entry in left:
            entry.done.set_result(_STOPPED)
        return len(left)

    def _size_of(self, recipient: str) -> int:
        agent, _, team = recipient.partition("@")
        return self._inboxes.size_bytes(agent, team)

    def _refusal(self, recipient: str, size: int) -> str:
        waiting = self._waiting.get(recipient) or _Waiting()
        is_full = len(waiting.entries) >= INBOX_MESSAGES or waiting.size_chars + size > INBOX_CHARS
        if is_full or recipient in self._deferred:  # messages before it are deferred: it must not overtake them
            reason = waiting.reason.partition(";")[0] or "it is slow"
            return f"too many messages wait for this team inbox ({reason}); will be retried when there is room"
        share = 0.5 if waiting.attempts else 1.0  # inboxes that fail leave half of the backlog to the others
        if self._count >= BACKLOG_MESSAGES * share or self._size_chars + size > BACKLOG_CHARS * share:
            return "too many messages wait for team inboxes; will be retried when there is room"
        return ""

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Works until `close`. Whatever else ends it (no memory, say) ends the process, and its successor goes on."""
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - whatever it is
            try:
                log.exception("team inbox thread failed")
            finally:  # without memory the line cannot be written either
                os._exit(os.EX_OSERR if isinstance(error, MemoryError) else os.EX_SOFTWARE)

    def _work(self) -> None:
        while (due := self._next_due()) is not None:
            recipient, entries = due
            attempt = self._append(recipient, [entry.message for entry in entries])
            while attempt.is_suspect and len(entries) > 1:  # in parts, so that only the cause is given up
                entries = entries[: len(entries) // 2]
                attempt = self._append(recipient, [entry.message for entry in entries])
            if attempt.is_final:
                self._settle(recipient, entries, attempt)
            else:
                self._postpone(recipient, attempt.sentence)

    def _next_due(self) -> tuple[str, list[QueuedEntry]] | None:
        """Waits until an inbox is due; returns it with what is to be appended, or None at the end."""
        with self._changed:
            while True:
                candidates = {name: inbox for name, inbox in self._waiting.items() if not inbox.had_last_try}
                if candidates:
                    recipient, first = min(candidates.items(), key=lambda item: item[1].due_sec)
                    pause = 0.0 if self._is_closing else first.due_sec - time.monotonic()
                    if pause <= 0:
                        first.had_last_try = self._is_closing
                        return recipient, first.entries[:SLICE_MESSAGES]
                    self._changed.wait(pause)
                elif self._is_closing:
                    return None
                else:
                    self._changed.wait()

    def _append(self, recipient: str, mail: list[StoredMail]) -> _Attempt:
        agent, _, team = recipient.partition("@")
        try:
            appended = self._inboxes.append(agent, team, *mail)
        except NoSuchInbox as error:
            return _Attempt(str(error))
        except InboxTooLarge:
            return _Attempt(refused=frozenset(message.id for message in mail))
        except (LockBusy, LockLost, UnreadableInbox) as error:
            return _Attempt(f"{error}; will be retried", is_final=False)
        except OSError as error:
            sentence = f"{error.strerror or error} ({error.filename or 'team inbox'}); will be retried"
            return _Attempt(sentence, is_final=False)
        except MemoryError:
            return _Attempt("out of memory; will be retried", is_final=False)
        except Exception as error:  # noqa: BLE001 - a bug here must not end the thread: other inboxes need it
            if len(mail) == 1:
                message_id = format_id(mail[0].id)
                log.exception("message cannot be written to a team inbox", recipient=recipient, message_id=message_id)
            sentence = f"mailroomd cannot write this message to a team inbox ({type(error).__name__}): see its log"
            return _Attempt(sentence, is_suspect=True)
        return _Attempt(refused=appended.refused)

    def _postpone(self, recipient: str, sentence: str) -> None:
        with self._changed:
            waiting = self._waiting.get(recipient)
            if waiting is None:  # closed meanwhile
                return
            waiting.attempts += 1
            waiting.reason = sentence
            pause = backoff_sec(waiting.attempts)
            waiting.due_sec = time.monotonic() + pause
            attempts, count = waiting.attempts, len(waiting.entries)
        if attempts == 1:
            log.warning("team inbox not written", recipient=recipient, messages=count, error=sentence)

    def _settle(self, recipient: str, entries: list[QueuedEntry], attempt: _Attempt) -> None:
        with self._changed:
            waiting = self._waiting.get(recipient)
            if waiting is None:  # closed meanwhile: the entries have their results
                return
            attempts = waiting.attempts
            size = sum(len(entry.message.draft.content) for entry in entries)
            del waiting.entries[: len(entries)]
            waiting.size_chars -= size
            waiting.attempts, waiting.reason, waiting.had_last_try = 0, "", False
            waiting.due_sec = time.monotonic()
            if not waiting.entries:
                del self._waiting[recipient]
            self._count -= len(entries)
            self._size_chars -= size
            if attempt.refused:
                refused = [entry.message for entry in entries if entry.message.id in attempt.refused]
                self._full.on_refused(recipient, refused, self._size_of(recipient), time.monotonic())
        if attempt.refused:
            log.warning("team inbox full, refusing entries", recipient=recipient, messages=len(attempt.refused))
        elif attempts and not attempt.sentence:
            log.info("team inbox written after retries", recipient=recipient, messages=len(entries))
        for entry in entries:
            entry.done.set_result(_FULL if entry.message.id in attempt.refused else attempt.sentence)
