"""Recovery — continues where the last command-queue stopped: inbox files, and those that agents took.

Owns what follows from the report of `recover_files`. Not here: the rules for a file (`storage.inbox.recovery`).
Above: the command-queue, before it receives any command.
"""

__all__ = ["recover"]

import time

from mailroomd.command_queue.background_writes import BackgroundWrites
from mailroomd.command_queue.local_events import LocalEvents
from mailroomd.command_queue.unknown_mail import import_unknown_files
from mailroomd.model.clock import now_ms
from mailroomd.model.ids import MAX_ID, IdSequence
from mailroomd.observability.log import log
from mailroomd.storage.database.message_store import MessageStore, SequencedEvent
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import Filing
from mailroomd.storage.inbox.recovery import RecoveryReport, recover_files
from mailroomd.worker.context import WorkerContext


def recover(
    context: WorkerContext,
    store: MessageStore,
    files: InboxFiles,
    filing: Filing,
    local_events: LocalEvents,
    writes: BackgroundWrites,
) -> None:
    """Makes files and database agree, and takes up what was unfinished."""
    last_id = store.mark("last_id") if context.epoch == 1 else MAX_ID
    report = recover_files(store.files, files, store.mark("synced_id"), context.beat, last_id)
    # At the daemon's start only, when no mailbox runs yet; before taken files are committed, which takes new ids.
    writes.attempt(lambda: import_unknown_files(store, filing.unknown, report.newer, now_ms(), context.beat))
    _retry_missing_files(store, filing, report)
    # Without a mailbox (at the first start) the next ids are free; otherwise the mailbox has to allocate them.
    if context.epoch > 1 or not _commit_taken(store, writes, report):
        for event in report.taken:
            local_events.enqueue(event)
    if report.rewritten or report.taken or report.removed or report.errors:
        log.info(
            "inbox files recovered",
            checked=report.checked,
            rewritten=report.rewritten,
            taken=sum(event.id_count for event in report.taken),
            removed=report.removed,
            failed=len(report.errors),
        )


def _retry_missing_files(store: MessageStore, filing: Filing, report: RecoveryReport) -> None:
    now_sec = time.monotonic()
    for mailbox, message_id in store.files.unfiled():
        filing.retry_later(mailbox, message_id, now_sec)
    for message in store.files.messages(report.errors):  # the database may not know of their errors yet
        filing.retry_later(message.draft.recipient, message.id, now_sec)


def _commit_taken(store: MessageStore, writes: BackgroundWrites, report: RecoveryReport) -> bool:
    """Commits what agents took while the daemon was stopped; returns False if it could not."""
    ids = IdSequence(store.mark("last_id"))
    at_ms = now_ms()
    events: list[SequencedEvent] = []
    for event in report.taken:
        first_id = ids.issue(at_ms, event.id_count)
        events.append(SequencedEvent(first_id, ids.last, event))
    return not events or writes.attempt(lambda: store.commit(events, at_ms))
