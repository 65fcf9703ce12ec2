"""Recovery — makes the inbox files agree with the database after a stop, clean or not.

Owns the rule for an unread message whose file should exist. Missing, and its id is at most `synced_id`: its agent took
it away, so it is read. Missing, and its id is above: it may never have reached the disk, and is written again. Empty or
torn: written again. The file of a read message: removed. A directory that is missing or unreadable is a fault and never
means read: what it lacks is recorded before it is made again. A damaged row is no reason to touch a file, which may be
the last copy of its message. Above: the command-queue, before it takes any command; it commits what agents took.
"""

__all__ = ["RecoveryReport", "recover_files"]

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from mailroom.inbox_file_encoder import encode_inbox_file, is_whole_inbox_file

from mailroomd.model.ids import MAX_ID
from mailroomd.protocol.local_events import FilesTaken
from mailroomd.storage.database.connection import DamagedRow
from mailroomd.storage.database.damaged_rows import set_aside
from mailroomd.storage.database.file_ledger import FileLedger
from mailroomd.storage.database.transactions import StoreFull
from mailroomd.storage.inbox.files import InboxFiles, sync_filesystem
from mailroomd.storage.inbox.filing import DAMAGED, describe
from mailroomd.storage.inbox.reports import GONE

PAGE = 1000  # messages checked between two heartbeats: some 30 ms
BEAT_FILES = 100  # written between two heartbeats


@dataclass(slots=True)
class RecoveryReport:
    """What recovery found and did.

    Attributes:
        checked: unread messages whose files were looked at.
        rewritten: files that were written again.
        taken: messages that their agents read by taking the file; to be committed.
        removed: files of messages that are read, or were cleared.
        errors: why files could not be written, by message id.
        newer: (id, mailbox) of files with ids above everything in the database; see `UnknownFiles`.
        recorded: messages that the database knows as missing, whose files are there again.
    """

    checked: int = 0
    rewritten: int = 0
    taken: list[FilesTaken] = field(default_factory=list[FilesTaken])
    removed: int = 0
    errors: dict[int, str] = field(default_factory=dict[int, str])
    newer: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    recorded: list[int] = field(default_factory=list[int])


def recover_files(
    ledger: FileLedger, files: InboxFiles, synced_id: int, beat: Callable[[], None], last_id: int = MAX_ID
) -> RecoveryReport:
    """Checks every file that should exist, and removes those that should not.

    Args:
        synced_id: every file up to it was on the disk.
        beat: called between pages, for the heartbeat.
        last_id: the highest id that the database has issued.
    """
    report = RecoveryReport()
    last_seen = ("", 0)
    listing = _Listing("", set())
    while page := ledger.filed_after(*last_seen, PAGE):
        gone: list[str] = []
        for mailbox, rows in groupby(page, itemgetter(0)):
            if mailbox != listing.mailbox:
                listing = _list_directory(files, mailbox, beat)
            message_ids = [message_id for _, message_id in rows]
            taken, damaged = _check_files(files, listing, message_ids, synced_id)
            report.checked += len(message_ids)
            if isinstance(listing.ids, OSError):
                report.errors.update(dict.fromkeys(message_ids, describe(listing.ids)))
            elif listing.ids is None or ((taken or damaged) and not files.has_directory(mailbox)):
                gone.append(mailbox)
            else:
                for message_id in damaged:
                    _write_again(ledger, files, mailbox, message_id, report)
                if taken:
                    report.taken.append(FilesTaken(mailbox, tuple(taken)))
        _restore_directories(ledger, files, gone, report, beat)
        last_seen = page[-1]
        beat()
    if report.errors:
        with suppress(StoreFull):  # the ledger keeps them for the next commit
            ledger.record_unfiled(report.errors, were_filed=True)
    _check_other_files(ledger, files, last_id, report, beat)
    _remove_cleared_files(ledger, files, report)
    _record_rewritten(ledger, files, report)
    return report


def _record_rewritten(ledger: FileLedger, files: InboxFiles, report: RecoveryReport) -> None:
    """Makes the files that were written again durable, then records those that are to be recorded."""
    if report.rewritten:  # they lie below `synced_id`: a power cut must not make them look taken
        sync_filesystem(files.inbox_fileno)
    if report.recorded:
        with suppress(StoreFull):  # otherwise they are written once more
            ledger.record_filed_again(report.recorded)


class _Listing(NamedTuple):
    """The ids in one mailbox's directory; None if it is missing, an error if it cannot be read."""

    mailbox: str
    ids: set[int] | OSError | None


def _list_directory(files: InboxFiles, mailbox: str, beat: Callable[[], None]) -> _Listing:
    try:
        return _Listing(mailbox, files.list_ids(mailbox, beat))
    except OSError as error:
        return _Listing(mailbox, error)


def _check_files(
    files: InboxFiles, listing: _Listing, message_ids: list[int], synced_id: int
) -> tuple[list[int], list[int]]:
    """Returns the messages whose files were taken away, and those whose files are to be written again."""
    taken: list[int] = []
    damaged: list[int] = []
    mailbox, ids = listing
    if not isinstance(ids, set):
        return taken, damaged
    for message_id in message_ids:
        raw = _content(files, mailbox, message_id) if message_id in ids else None
        if raw is None and message_id <= synced_id:
            taken.append(message_id)
        elif raw is None or not is_whole_inbox_file(raw, message_id):
            damaged.append(message_id)
    return taken, damaged


def _restore_directories(
    ledger: FileLedger, files: InboxFiles, mailboxes: list[str], report: RecoveryReport, beat: Callable[[], None]
) -> None:
    """Writes every file of directories that are gone.

    That they are missing is committed first. If this process dies among the files, the next one would otherwise find a
    directory without some of them, and take these for read.
    """
    lost = [(mailbox, message_id) for mailbox in mailboxes for message_id in ledger.filed_in(mailbox)]
    if not lost:
        return
    errors = {message_id: f"{GONE}; it is tried again" for _, message_id in lost}
    try:
        ledger.record_unfiled(errors, were_filed=True)
    except StoreFull:  # the ledger keeps them for the next commit, and `Filing` waits for it
        report.errors.update(errors)
        return
    for count, (mailbox, message_id) in enumerate(lost, 1):
        if _write_again(ledger, files, mailbox, message_id, report):
            report.recorded.append(message_id)
        if count % BEAT_FILES == 0:
            beat()


def _content(files: InboxFiles, mailbox: str, message_id: int) -> bytes | None:
    """Returns a file's content: no bytes if something else is in its place, None if it went after the listing."""
    try:
        return files.read(mailbox, message_id)
    except OSError:
        return b""


def _write_again(ledger: FileLedger, files: InboxFiles, mailbox: str, message_id: int, report: RecoveryReport) -> bool:
    """Writes one file; returns whether it is there, and reports why not."""
    try:
        message = ledger.message(message_id)
    except DamagedRow as error:
        set_aside(message_id, error)
        ledger.queue_unfiled({message_id: DAMAGED}, were_filed=True)  # otherwise its missing file would mean read
        return False
    assert message is not None  # it was read in this process, which alone removes rows
    try:
        directory = files.ensure_directory(mailbox)
        files.write(directory, message_id, encode_inbox_file(message_id, message.timestamp_ms, message.draft))
        report.rewritten += 1
    except OSError as error:
        report.errors[message_id] = describe(error)
        return False
    return True


def _check_other_files(
    ledger: FileLedger, files: InboxFiles, last_id: int, report: RecoveryReport, beat: Callable[[], None]
) -> None:
    """Removes the files of read messages, and records those that are newer than the database."""
    for mailbox in files.mailboxes():
        try:
            for count, message_id in enumerate(files.list_ids(mailbox, beat) or set(), 1):
                if count % PAGE == 0:
                    beat()
                if message_id > last_id:
                    report.newer.append((message_id, mailbox))
                elif ledger.is_read(message_id, mailbox):
                    files.remove(mailbox, message_id)
                    report.removed += 1
        except OSError:
            continue  # an unreadable directory is reported when something is written to it
        beat()


def _remove_cleared_files(ledger: FileLedger, files: InboxFiles, report: RecoveryReport) -> None:
    """Removes what an interrupted clearing has left; what cannot be removed stays on the list."""
    gone: list[int] = []
    for mailbox, message_id in ledger.cleared():
        with suppress(OSError):
            files.remove(mailbox, message_id)
            gone.append(message_id)
    if gone:
        report.removed += len(gone)
        with suppress(StoreFull):
            ledger.forget_cleared(gone)
