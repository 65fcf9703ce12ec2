"""Filing — keeps the inbox files in step with what was committed.

Owns the writing of a commit's files, and the list of those that could not be written, with their retries. A mailbox
whose directory is broken costs one attempt at a time, however many files wait for it.
Not here: single files (`InboxFiles`), the start (`recovery`). Above: the command-queue.
Invariant: a file that is on the list is reported as STORED with the reason, until it is durable under its final name.
"""

__all__ = ["Filing", "describe"]

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mailroomd.core.retry import backoff_sec
from mailroomd.storage.inbox_file import encode_inbox_file
from mailroomd.storage.inbox_files import InboxFiles
from mailroomd.storage.message_store import MessageStore, StoredMail

RETRY_SLICE = 200  # files written between two commits, so that senders don't wait for a long list


@dataclass(slots=True)
class _Waiting:
    """The files of one mailbox that could not be written."""

    numbers: set[int] = field(default_factory=set[int])
    attempts: int = 0
    due_sec: float = 0.0


class Filing:
    """Files messages.

    Args:
        files: the inbox directories.
        beat: called for each file, for the heartbeat.
    """

    def __init__(self, files: InboxFiles, beat: Callable[[], None] = lambda: None) -> None:
        self._files = files
        self._beat = beat
        self._waiting: dict[str, _Waiting] = {}

    @property
    def unfiled(self) -> int:
        """How many files could not be written yet."""
        return sum(len(one.numbers) for one in self._waiting.values())

    @property
    def next_retry_sec(self) -> float | None:
        """When to call `retry`, on the monotonic clock; None if nothing waits."""
        return min((one.due_sec for one in self._waiting.values()), default=None)

    def file(self, mail: Iterable[StoredMail], now_sec: float) -> dict[int, str]:
        """Writes the files of a commit; returns why some could not be written, by message id."""
        errors: dict[int, str] = {}
        inbox = self._check_inbox()
        for mailbox, letters in _by_mailbox(mail).items():
            directory = inbox or self._check_directory(mailbox)  # its handle is good until the next mailbox's
            for one in letters:
                self._beat()
                error = self._write(directory, one)
                if error is not None:
                    errors[one.id] = describe(error)
                    self.keep_trying(mailbox, one.id, now_sec)
        return errors

    def take_away(self, mailbox: str, message_ids: Sequence[int]) -> None:
        """Removes the files of messages that are read; one that can't be removed goes at the next start."""
        if mailbox in self._waiting:
            self._waiting[mailbox].numbers.difference_update(message_ids)
        try:
            for number in message_ids:
                self._files.remove(mailbox, number)
        except OSError:
            return

    def keep_trying(self, mailbox: str, number: int, now_sec: float) -> None:
        """Puts a file on the list of those that are tried again."""
        waiting = self._waiting.setdefault(mailbox, _Waiting())
        if not waiting.numbers:
            waiting.attempts = 1
            waiting.due_sec = now_sec + backoff_sec(1)
        waiting.numbers.add(number)

    def retry(self, store: MessageStore, now_sec: float) -> list[int]:
        """Tries the files that are due; returns the ids of those that are durable now."""
        filed: list[int] = []
        for mailbox, waiting in list(self._waiting.items()):
            if waiting.due_sec > now_sec:
                continue
            done = self._retry_mailbox(store, mailbox, sorted(waiting.numbers)[:RETRY_SLICE])
            filed.extend(done)
            waiting.numbers.difference_update(done)
            waiting.attempts = 0 if done else waiting.attempts + 1
            waiting.due_sec = now_sec + (backoff_sec(waiting.attempts) if waiting.attempts else 0.0)
            if not waiting.numbers:
                del self._waiting[mailbox]
        return filed

    def _retry_mailbox(self, store: MessageStore, mailbox: str, numbers: list[int]) -> list[int]:
        done: list[int] = []
        try:
            self._files.check()
            for number in numbers:
                message = store.message(number)
                if message is not None and message.state.is_unread:
                    body = encode_inbox_file(number, message.timestamp_ms, message.draft)
                    self._files.write_durably(mailbox, number, body)
                done.append(number)
        except OSError:
            pass  # the reason is known already; the next attempt comes later
        return done

    def _check_inbox(self) -> OSError | None:
        try:
            self._files.check()
        except OSError as error:
            return error
        return None

    def _check_directory(self, mailbox: str) -> int | OSError:
        try:
            return self._files.check_directory(mailbox)
        except OSError as error:
            return error

    def _write(self, directory: int | OSError, one: StoredMail) -> OSError | None:
        if isinstance(directory, OSError):
            return directory
        try:
            self._files.write(directory, one.id, encode_inbox_file(one.id, one.timestamp_ms, one.draft))
        except OSError as error:
            return error
        return None


def _by_mailbox(mail: Iterable[StoredMail]) -> dict[str, list[StoredMail]]:
    sorted_mail: dict[str, list[StoredMail]] = {}
    for one in mail:
        sorted_mail.setdefault(one.draft.recipient, []).append(one)
    return sorted_mail


def describe(error: OSError) -> str:
    """Returns why a file could not be written, for people."""
    return f"{error.strerror or error} ({error.filename or 'inbox'}); it is tried again"
