"""Filing — keeps the inbox files in step with what was committed, and learns from them what agents took.

Owns the writing of a commit's files, the list of those that could not be written with their retries, and the watch over
those that are there. A mailbox with a broken directory costs one attempt at a time, however many files wait for it; a
mailbox that lost its directory gets all its files again, and none of its messages counts as read. Not here: single
files (`InboxFiles`), the start (`recovery`), committing the changes. Above: the command-queue.
Invariant: a file on the list is reported with its reason, until it is durable under its final name.
"""

__all__ = ["DAMAGED", "Filing", "describe"]

import errno
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mailroom.inbox_file_encoder import encode_inbox_file

from mailroomd.core.backoff import backoff_sec
from mailroomd.core.suspect_input import NOT_OF_INPUT
from mailroomd.model.ids import format_id
from mailroomd.observability.log import log
from mailroomd.protocol.local_events import FilesTaken, MailFiled
from mailroomd.storage.database.connection import DamagedRow
from mailroomd.storage.database.damaged_rows import set_aside
from mailroomd.storage.database.file_ledger import FileLedger
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.database.transactions import StoreFailed, StoreFull
from mailroomd.storage.directories.snapshot import DirectoryIdentity
from mailroomd.storage.inbox.empty_directories import EmptyDirectories
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.reports import REPLACED, DirectoryFault
from mailroomd.storage.inbox.unknown_files import UnknownFiles
from mailroomd.storage.inbox.watch import InboxWatch

_NOT_A_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})  # what is in its place holds no file of ours
LOST = "its directory was lost; will be retried"
DAMAGED = "its row in the database is damaged; will be retried at the next start"
RETRY_SLICE = 200  # files written between two commits, so that senders do not wait for a long list


@dataclass(slots=True)
class _Waiting:
    """The files of one mailbox that could not be written.

    Attributes:
        directories: into which files were written meanwhile; more than one if one was lost.
    """

    message_ids: set[int] = field(default_factory=set[int])
    directories: set[DirectoryIdentity] = field(default_factory=set[DirectoryIdentity])
    attempts: int = 0
    due_sec: float = 0.0


class Filing:
    """Files messages.

    Args:
        root: holds inbox/.
        files: the inbox directories.
        ledger: what the database knows of the files.
        beat: called for each file, for the heartbeat.

    Attributes:
        unknown: files of messages that the database does not have.
    """

    def __init__(
        self, root: Path, files: InboxFiles, ledger: FileLedger, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._files = files
        self._ledger = ledger
        self._beat = beat
        self._waiting: dict[str, _Waiting] = {}
        self._written_late: dict[int, tuple[str, DirectoryIdentity]] = {}  # where; not known to the database yet
        self._being_filed: Sequence[StoredMail] = ()
        self._left: dict[str, set[int]] = {}  # files of messages that are over, which could not be removed
        self._left_attempts = 0
        self._left_due_sec = 0.0
        self._lost: set[str] = set()
        self._taken: set[int] = set()
        self._watch = InboxWatch(root, self._ids_that_should_be_there)
        self.unknown = UnknownFiles(files, ledger, self._remove)
        self._empty = EmptyDirectories(files, self._needs_directory, self._is_deserted, self._watch.forget_mailbox)
        files.before_making = self._record_missing
        files.on_made = self._on_made

    @property
    def unfiled(self) -> int:
        """How many files could not be written yet."""
        return sum(len(waiting.message_ids) for waiting in self._waiting.values())

    @property
    def uncommitted(self) -> int:
        """How many files agents took without that being committed yet."""
        return len(self._taken)

    @property
    def next_retry_sec(self) -> float | None:
        """When to call `retry_due`, on the monotonic clock; None if nothing waits to be written or removed."""
        due = [waiting.due_sec for waiting in self._waiting.values()]
        if self._left:
            due.append(self._left_due_sec)
        return min(due, default=None)

    def file_mail(self, mail: Iterable[StoredMail], now_sec: float) -> dict[int, str]:
        """Writes the files of a commit; returns why some could not be written, by message id."""
        errors: dict[int, str] = {}
        inbox_error = self._ensure_inbox()
        for mailbox, messages in _by_mailbox(mail).items():
            self._being_filed = messages
            directory = inbox_error or self._ensure_directory(mailbox)  # good until the next mailbox's
            filed_into = None if isinstance(directory, OSError) else self._files.identity_of(mailbox)
            for message in messages:
                self._beat()
                error = self._write(directory, message)
                if error is not None:
                    errors[message.id] = describe(error)
                    self.retry_later(mailbox, message.id, now_sec)
            if mailbox in self._lost and filed_into is not None:
                self._waiting[mailbox].directories.add(filed_into)
            self._watch.watch_mailbox(mailbox, filed_into)
        self._being_filed = ()
        return errors

    def remove_files(self, mailbox: str, message_ids: Sequence[int]) -> list[int]:
        """Removes the files of messages that are over; returns the ids of those that are gone.

        What cannot be removed is tried again with `retry_due`, and at the next start.
        """
        self._taken.difference_update(message_ids)
        if mailbox in self._waiting:
            self._waiting[mailbox].message_ids.difference_update(message_ids)
        return self._remove(mailbox, message_ids)

    def retry_later(self, mailbox: str, message_id: int, now_sec: float) -> None:
        """Puts a file on the list of those that are tried again."""
        waiting = self._waiting.setdefault(mailbox, _Waiting())
        if not waiting.message_ids:
            waiting.attempts = 1
            waiting.due_sec = now_sec + backoff_sec(1)
        waiting.message_ids.add(message_id)

    def retry_due(self, now_sec: float) -> list[int]:
        """Tries the files that are due; returns the ids of those that are durable now.

        Raises:
            StoreFull, StoreFailed: that files are gone could not be recorded; it will be with the next record.
        """
        if self._left and self._left_due_sec <= now_sec:
            self._remove_left(now_sec)
        filed: list[int] = []
        for mailbox, waiting in list(self._waiting.items()):
            room = RETRY_SLICE - len(filed)
            if waiting.due_sec > now_sec or not room:
                continue
            done = self._retry_mailbox(mailbox, sorted(waiting.message_ids)[:room])
            filed.extend(done)
            waiting.message_ids.difference_update(done)
            waiting.attempts = 0 if done else waiting.attempts + 1
            waiting.due_sec = now_sec + (backoff_sec(waiting.attempts) if waiting.attempts else 0.0)
            if not waiting.message_ids:
                del self._waiting[mailbox]
                if mailbox in self._lost:
                    self._end_loss(mailbox, waiting.directories, now_sec)
        return filed

    def remove_empty_directories(self, now_sec: float, empty_sec: float) -> None:
        """Removes some of the directories of forgotten mailboxes in which nothing has happened for `empty_sec`."""
        self._empty.remove_slice(now_sec, empty_sec)

    def _record_missing(self, mailbox: str) -> None:
        """Commits which files a directory lacks that is to be made again, and puts them on the list.

        If this process died among its first files, the next one would otherwise take the rest for read.

        Raises:
            OSError: that could not be committed; the directory must not be made yet.
        """
        missing = self._ids_that_should_be_there(mailbox)
        if not (missing or self._ledger.has_queued_errors):
            return
        try:
            self._ledger.record_unfiled(dict.fromkeys(missing, LOST), were_filed=True)
        except StoreFull as error:
            raise OSError(errno.ENOSPC, "its directory was lost, and there is no space to record that") from error
        except StoreFailed as error:
            if error.fatal:
                raise
            raise OSError(errno.EIO, "its directory was lost, and that could not be recorded") from error
        for message_id in missing:
            self.retry_later(mailbox, message_id, time.monotonic())
        if missing:
            self._lost.add(mailbox)

    def _on_made(self, mailbox: str, identity: DirectoryIdentity) -> None:
        """Has a directory watched from the beginning: during recovery, too, agents take files that are just written."""
        self._empty.on_made(mailbox, identity)
        self._watch.watch_mailbox(mailbox, identity)

    # -- what agents did ------------------------------------------------------------------------------------------

    def fileno(self) -> int | None:
        """Returns the descriptor that is readable when `collect_taken` should be called; None if there is none."""
        return self._watch.fileno()

    def due_in_sec(self, now_sec: float) -> float:
        """Returns after how many seconds to call `collect_taken`, whatever the descriptor says; 0 for at once."""
        return self._watch.due_in_sec(now_sec)

    def collect_taken(self, now_sec: float) -> list[FilesTaken]:
        """Returns which files agents took; call `on_committed` when that is durable. Files lost directories again.

        Raises:
            StoreFull, StoreFailed: that files are missing could not be recorded; it will be with the next record.
        """
        taken: list[FilesTaken] = []
        lost: dict[int, str] = {}
        for report in self._watch.collect_reports(now_sec):
            if isinstance(report, DirectoryFault):
                lost |= self._file_again(report, now_sec)
            else:
                self._empty.on_used(report.mailbox)
                self._taken.update(report.message_ids)
                taken.append(FilesTaken(report.mailbox, tuple(report.message_ids)))
        if lost or self._ledger.has_queued_errors:  # before any of these files is written again
            self._ledger.record_unfiled(lost, were_filed=True)
        return taken

    def on_committed(self, event: FilesTaken | MailFiled) -> None:
        """Records that messages whose files agents took are read, or that the database knows of files written late.

        One of the latter may have been lost since, and wait again; or taken, when that meant nothing yet.
        """
        if isinstance(event, FilesTaken):
            self._taken.difference_update(event.message_ids)
            return
        waiting = set[int]().union(*(waiting.message_ids for waiting in self._waiting.values()))
        self._ledger.queue_unfiled(dict.fromkeys(waiting.intersection(event.message_ids), LOST), were_filed=True)
        filed = {
            self._written_late.pop(message_id) for message_id in event.message_ids if message_id in self._written_late
        }
        for mailbox, filed_into in filed:
            self._watch.compare_mailbox(mailbox, filed_into)

    def close(self) -> None:
        """Closes every handle of the watch."""
        self._empty.close()
        self._watch.close()

    def _file_again(self, fault: DirectoryFault, now_sec: float) -> dict[int, str]:
        """Puts every file of a lost directory on the list; returns why they are missing, by message id."""
        late = [message_id for message_id, (mailbox, _) in self._written_late.items() if mailbox == fault.mailbox]
        for message_id in late:
            del self._written_late[message_id]
        message_ids = [*self._ids_that_should_be_there(fault.mailbox), *late]
        log.warning("inbox directory lost, filing its mail again", mailbox=fault.mailbox, reason=fault.reason)
        self._lost.add(fault.mailbox)
        for message_id in message_ids:
            self.retry_later(fault.mailbox, message_id, now_sec)
        if fault.mailbox not in self._waiting:
            self._lost.discard(fault.mailbox)
            self._watch.on_refiled(fault.mailbox)
        return dict.fromkeys(message_ids, f"{fault.reason}; will be retried")

    def _end_loss(self, mailbox: str, directories: set[DirectoryIdentity], now_sec: float) -> None:
        """Ends what a lost directory began; not if another one was lost since."""
        if len(directories) > 1:
            self._ledger.queue_unfiled(self._file_again(DirectoryFault(mailbox, REPLACED), now_sec), were_filed=True)
            return
        self._lost.discard(mailbox)
        self._watch.on_refiled(mailbox, next(iter(directories), None))

    def _ids_that_should_be_there(self, mailbox: str) -> list[int]:
        """Returns what has a file unless its agent took it just now: unread, filed before, not waiting for that."""
        others = {message.id for message in self._being_filed}.union(
            self._taken, self._waiting.get(mailbox, _Waiting()).message_ids
        )
        return [message_id for message_id in self._ledger.filed_in(mailbox) if message_id not in others]

    def _needs_directory(self, mailbox: str) -> bool:
        return self._has_work(mailbox) or self._ledger.knows_mailbox(mailbox)

    def _is_deserted(self, mailbox: str) -> bool:
        return not self._has_work(mailbox) and self._ledger.is_deserted(mailbox)

    def _has_work(self, mailbox: str) -> bool:
        """Returns whether a mailbox has files that are still to be written or removed."""
        return mailbox in self._waiting or mailbox in self._left or mailbox in self._lost

    # -- retries --------------------------------------------------------------------------------------------------

    def _remove(self, mailbox: str, message_ids: Sequence[int]) -> list[int]:
        """Removes files up to the first that cannot be, and remembers the rest; returns the ids of those removed."""
        for count, message_id in enumerate(message_ids):
            try:
                self._watch.expect_removal(mailbox, message_id)
                self._files.remove(mailbox, message_id)
            except OSError as error:
                if error.errno not in _NOT_A_DIRECTORY:
                    self._left.setdefault(mailbox, set()).update(message_ids[count:])
                return list(message_ids[:count])
        return list(message_ids)

    def _remove_left(self, now_sec: float) -> None:
        left, self._left = self._left, {}
        gone: list[int] = []
        for mailbox, message_ids in left.items():
            in_order = sorted(message_ids)
            gone += self._remove(mailbox, in_order[:RETRY_SLICE])
            if in_order[RETRY_SLICE:]:
                self._left.setdefault(mailbox, set()).update(in_order[RETRY_SLICE:])
        self._left_attempts = 0 if gone else self._left_attempts + 1
        self._left_due_sec = now_sec + (backoff_sec(self._left_attempts) if self._left_attempts else 0.0)
        if gone:
            self._ledger.forget_cleared(gone)

    def _retry_mailbox(self, mailbox: str, message_ids: list[int]) -> list[int]:
        done: list[int] = []
        try:
            self._files.ensure_inbox()
            for message_id in message_ids:
                self._beat()  # each file is synced: on a slow disk, a slice takes longer than heartbeats are apart
                if self._retry(mailbox, message_id):
                    done.append(message_id)
                else:
                    self._waiting[mailbox].message_ids.discard(message_id)
        except OSError:
            pass  # the reason is known already; the next attempt comes later
        return done

    def _retry(self, mailbox: str, message_id: int) -> bool:
        """Writes one file durably; returns False if it is set aside until the next start: its message is at fault.

        Raises:
            OSError: it could not be written now.
        """
        try:
            message = self._ledger.message(message_id)
            is_due = message is not None and message.state.is_unread
            body = encode_inbox_file(message_id, message.timestamp_ms, message.draft) if message and is_due else b""
        except DamagedRow as error:
            set_aside(message_id, error)
            return False
        except NOT_OF_INPUT:
            raise
        except Exception:  # noqa: BLE001 - of this message: the others are written
            log.exception("inbox file set aside until the next start", message_id=format_id(message_id))
            return False
        if is_due:
            self._files.write_durably(mailbox, message_id, body)
            filed_into = self._files.identity_of(mailbox)
            self._written_late[message_id] = (mailbox, filed_into)
            self._waiting[mailbox].directories.add(filed_into)
        return True

    def _ensure_inbox(self) -> OSError | None:
        try:
            self._files.ensure_inbox()
        except OSError as error:
            return error
        return None

    def _ensure_directory(self, mailbox: str) -> int | OSError:
        try:
            return self._files.ensure_directory(mailbox)
        except OSError as error:
            return error

    def _write(self, directory: int | OSError, message: StoredMail) -> OSError | None:
        if isinstance(directory, OSError):
            return directory
        try:
            body = encode_inbox_file(message.id, message.timestamp_ms, message.draft)
            self._files.write(directory, message.id, body)
        except OSError as error:
            return error
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - of this message: the others are filed
            log.exception("cannot build inbox file", message_id=format_id(message.id))
            return OSError(0, f"internal error ({type(error).__name__})")
        return None


def _by_mailbox(mail: Iterable[StoredMail]) -> dict[str, list[StoredMail]]:
    sorted_mail: dict[str, list[StoredMail]] = {}
    for message in mail:
        sorted_mail.setdefault(message.draft.recipient, []).append(message)
    return sorted_mail


def describe(error: OSError) -> str:
    """Returns why a file could not be written, as a phrase for people."""
    return f"{error.strerror or error} ({error.filename or 'inbox'}); will be retried"
