"""Recovery — makes the inbox files agree with the database after a stop, clean or not.

Owns the rule (architecture.md, "Files and recovery"), for an unread message whose file should exist: missing and id
<= synced_id: its agent took it away, it is read. Missing and id > synced_id: it may never have reached the disk, it
is written again. Empty or torn: written again. The file of a read message: removed. A directory that is missing or
unreadable is a fault and never means read. Above: the command-queue, before it takes any command; that commits what
agents took.
"""

__all__ = ["RecoveryReport", "recover_files"]

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from mailroomd.protocol.local_events import FilesTaken
from mailroomd.storage.database.file_ledger import FileLedger
from mailroomd.storage.database.transactions import StoreFull
from mailroomd.storage.inbox.encoding import encode_inbox_file, is_whole_inbox_file
from mailroomd.storage.inbox.files import InboxFiles, sync_filesystem
from mailroomd.storage.inbox.filing import describe

PAGE = 1000  # messages checked between two heartbeats: some 30 ms


@dataclass(slots=True)
class RecoveryReport:
    """What recovery found and did.

    Attributes:
        checked: unread messages whose files were looked at.
        rewritten: files that were written again.
        taken: messages that their agents had read by taking the file; to be committed.
        removed: files of messages that are read, or were cleared away.
        errors: why files could not be written, by message id.
    """

    checked: int = 0
    rewritten: int = 0
    taken: list[FilesTaken] = field(default_factory=list[FilesTaken])
    removed: int = 0
    errors: dict[int, str] = field(default_factory=dict[int, str])


def recover_files(ledger: FileLedger, files: InboxFiles, synced_id: int, beat: Callable[[], None]) -> RecoveryReport:
    """Checks every file that should exist, and removes those that should not.

    Args:
        synced_id: every file up to it was on the disk.
        beat: called between pages, for the heartbeat.
    """
    report = RecoveryReport()
    place = ("", 0)
    directory = _Directory("", set())
    while page := ledger.filed_after(*place, PAGE):
        for mailbox, rows in groupby(page, itemgetter(0)):
            if mailbox != directory.mailbox:
                directory = _look_into(files, mailbox)
            taken = _check_files(ledger, files, directory, [number for _, number in rows], synced_id, report)
            if taken:
                report.taken.append(FilesTaken(mailbox, tuple(taken)))
        place = page[-1]
        beat()
    if report.errors:
        with suppress(StoreFull):  # the ledger keeps them in mind
            ledger.record_unfiled(report.errors, were_filed=True)
    _remove_files_of_read_messages(ledger, files, report, beat)
    _remove_cleared_files(ledger, files, report)
    if report.rewritten:  # they lie below `synced_id`: a power cut must not make them look taken
        sync_filesystem(files.inbox_fileno)
    return report


class _Directory(NamedTuple):
    """What was found in one mailbox's directory: ids, None where it is missing, or why it can't be read."""

    mailbox: str
    found: set[int] | OSError | None


def _look_into(files: InboxFiles, mailbox: str) -> _Directory:
    try:
        return _Directory(mailbox, files.listing(mailbox))
    except OSError as error:
        return _Directory(mailbox, error)


def _check_files(
    ledger: FileLedger,
    files: InboxFiles,
    directory: _Directory,
    numbers: list[int],
    synced_id: int,
    report: RecoveryReport,
) -> list[int]:
    """Writes again what has to be; returns the messages whose files were taken away."""
    mailbox, found = directory
    report.checked += len(numbers)
    if isinstance(found, OSError):
        report.errors.update(dict.fromkeys(numbers, describe(found)))
        return []
    taken: list[int] = []
    for number in numbers:
        raw = _content(files, mailbox, number) if found is not None and number in found else None
        if raw is None and found is not None and number <= synced_id:
            taken.append(number)
        elif raw is None or not is_whole_inbox_file(raw, number):
            _write_again(ledger, files, mailbox, number, report)
    return taken


def _content(files: InboxFiles, mailbox: str, number: int) -> bytes | None:
    """Returns a file's content, nothing where something else is in its place, None if it is gone since the listing."""
    try:
        return files.read(mailbox, number)
    except OSError:
        return b""


def _write_again(ledger: FileLedger, files: InboxFiles, mailbox: str, number: int, report: RecoveryReport) -> None:
    message = ledger.message(number)
    assert message is not None  # it was read in this process, which alone removes rows
    try:
        directory = files.check_directory(mailbox)
        files.write(directory, number, encode_inbox_file(number, message.timestamp_ms, message.draft))
        report.rewritten += 1
    except OSError as error:
        report.errors[number] = describe(error)


def _remove_files_of_read_messages(
    ledger: FileLedger, files: InboxFiles, report: RecoveryReport, beat: Callable[[], None]
) -> None:
    for mailbox in files.mailboxes():
        try:
            there = files.listing(mailbox) or set()
            for number in there:
                if ledger.is_read(number, mailbox):
                    files.remove(mailbox, number)
                    report.removed += 1
        except OSError:
            continue  # an unreadable directory is reported when something is written to it
        beat()


def _remove_cleared_files(ledger: FileLedger, files: InboxFiles, report: RecoveryReport) -> None:
    """Removes what a clearing left that was interrupted; what can't be removed stays on the list."""
    gone: list[int] = []
    for mailbox, number in ledger.cleared():
        with suppress(OSError):
            files.remove(mailbox, number)
            gone.append(number)
    if gone:
        report.removed += len(gone)
        with suppress(StoreFull):
            ledger.forget_cleared(gone)
