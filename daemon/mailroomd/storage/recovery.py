"""Recovery — makes the inbox files agree with the database after a stop, clean or not.

Owns the rule (architecture.md, "Files and recovery"), for an unread message whose file should exist:
missing and id <= synced_id: its agent took it away, it is read. Missing and id > synced_id: it may never have reached
the disk, it is written again. Empty or torn: written again. The file of a read message: removed. A directory that is
missing or unreadable is a fault and never means read. Above: the command-queue, before it takes any command.
"""

__all__ = ["RecoveryReport", "recover_files"]

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from mailroomd.model.commands import MailboxCounted, MessagesTaken
from mailroomd.storage.filing import describe
from mailroomd.storage.inbox_file import encode_inbox_file, is_whole_inbox_file
from mailroomd.storage.inbox_files import InboxFiles
from mailroomd.storage.message_store import MessageStore

PAGE = 1000  # messages checked between two heartbeats: some 30 ms


@dataclass(slots=True)
class RecoveryReport:
    """What recovery found and did.

    Attributes:
        checked: unread messages whose files were looked at.
        rewritten: files that were written again.
        taken: messages that their agents had read by taking the file.
        removed: files of messages that are read.
        errors: why files could not be written, by message id.
        outcomes: for the mailbox worker.
    """

    checked: int = 0
    rewritten: int = 0
    taken: int = 0
    removed: int = 0
    errors: dict[int, str] = field(default_factory=dict[int, str])
    outcomes: list[MessagesTaken | MailboxCounted] = field(default_factory=list[MessagesTaken | MailboxCounted])


def recover_files(store: MessageStore, files: InboxFiles, now_ms: int, beat: Callable[[], None]) -> RecoveryReport:
    """Checks every file that should exist, and removes those that should not.

    Args:
        beat: called between pages, for the heartbeat.
    """
    report = RecoveryReport()
    synced_id = store.mark("synced_id")
    place = ("", 0)
    while page := store.filed_after(*place, PAGE):
        for mailbox, rows in groupby(page, itemgetter(0)):
            _check_mailbox(store, files, mailbox, [number for _, number in rows], synced_id, now_ms, report)
        place = page[-1]
        beat()
    if report.errors:
        store.note_unfiled(report.errors)
    _remove_files_of_read_messages(store, files, report, beat)
    return report


def _check_mailbox(
    store: MessageStore,
    files: InboxFiles,
    mailbox: str,
    numbers: list[int],
    synced_id: int,
    now_ms: int,
    report: RecoveryReport,
) -> None:
    report.checked += len(numbers)
    try:
        there = files.listing(mailbox)
    except OSError as error:
        report.errors.update(dict.fromkeys(numbers, describe(error)))
        return
    taken = [] if there is None else [number for number in numbers if number not in there and number <= synced_id]
    for number in numbers:
        missing = there is None or number not in there
        if missing and there is not None and number <= synced_id:
            continue
        if missing or not _is_whole(files, mailbox, number):
            _write_again(store, files, mailbox, number, report)
    if taken:
        report.taken += len(taken)
        report.outcomes.append(MessagesTaken(mailbox, taken))
        report.outcomes.extend(store.take(mailbox, taken, now_ms))


def _is_whole(files: InboxFiles, mailbox: str, number: int) -> bool:
    try:
        raw = files.read(mailbox, number)
    except OSError:
        return False
    return raw is not None and is_whole_inbox_file(raw, number)


def _write_again(store: MessageStore, files: InboxFiles, mailbox: str, number: int, report: RecoveryReport) -> None:
    message = store.message(number)
    assert message is not None  # it was read in this process, which alone removes rows
    try:
        directory = files.check_directory(mailbox)
        files.write(directory, number, encode_inbox_file(number, message.timestamp_ms, message.draft))
        report.rewritten += 1
    except OSError as error:
        report.errors[number] = describe(error)


def _remove_files_of_read_messages(
    store: MessageStore, files: InboxFiles, report: RecoveryReport, beat: Callable[[], None]
) -> None:
    for mailbox in files.mailboxes():
        try:
            there = files.listing(mailbox) or set()
            for number in there:
                if store.is_read(number, mailbox):
                    files.remove(mailbox, number)
                    report.removed += 1
        except OSError:
            continue  # an unreadable directory is reported when something is written to it
        beat()
