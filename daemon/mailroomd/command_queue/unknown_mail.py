"""unknown_mail — what the command-queue does about inbox files of messages that the database does not have.

Owns the import at the start, in pages and in the order of the ids, so that an interrupted import continues at the next
start; and what acknowledging and clearing does to the others. Not here: which files they are (`UnknownFiles`).
"""

__all__ = ["dismiss_unknown_files", "import_unknown_files"]

from collections.abc import Callable, Sequence

import msgspec

from mailroomd.command_queue.suspect_commands import InputFailed, failing_of_input
from mailroomd.model.ids import format_id
from mailroomd.observability.log import log
from mailroomd.protocol.operations import Acknowledge, Acknowledged, Clear, Cleared, Result
from mailroomd.protocol.packets import Command, Outcome
from mailroomd.protocol.reports import Report
from mailroomd.storage.database.message_store import MessageStore, StoredMail
from mailroomd.storage.inbox.unknown_files import UnknownFiles

PAGE = 200  # messages imported in one transaction


def import_unknown_files(
    store: MessageStore,
    unknown: UnknownFiles,
    newer: Sequence[tuple[int, str]],
    now_ms: int,
    beat: Callable[[], None],
) -> None:
    """Imports files that are newer than everything in the database. No mailbox may run yet.

    Args:
        newer: (id, mailbox) of the files.
        beat: called for each page, for the heartbeat.

    Raises:
        StoreFull, StoreFailed: the rest was not imported.
    """
    last_id, imported = store.mark("last_id"), 0
    newer = sorted(file for file in newer if file[0] > last_id)  # not those that an attempt before this one imported
    for start in range(0, len(newer), PAGE):
        page = [unknown.read(mailbox, message_id, now_ms) for message_id, mailbox in newer[start : start + PAGE]]
        mail = [message for message in page if message is not None]
        imported += _import(store, mail, now_ms)
        beat()
    if newer:
        log.warning("inbox files newer than the database", imported=imported, ignored=len(newer) - imported)


def _import(store: MessageStore, mail: Sequence[StoredMail], now_ms: int) -> int:
    """Imports messages; returns how many. One that cannot be stored is left out, and its file stays."""
    try:
        with failing_of_input():
            store.import_mail(mail, now_ms)
    except InputFailed as error:
        if len(mail) > 1:
            middle = len(mail) // 2
            return _import(store, mail[:middle], now_ms) + _import(store, mail[middle:], now_ms)
        log.error("inbox file not imported", message_id=format_id(mail[0].id), error=str(error))
        return 0
    return len(mail)


def dismiss_unknown_files(
    commands: Sequence[Command], outcomes: Sequence[Outcome | Report], unknown: UnknownFiles
) -> list[Outcome | Report]:
    """Removes unknown files that were acknowledged or cleared; returns the outcomes with what became of them."""
    by_id = {command.id: command for command in commands}
    changed: list[Outcome | Report] = []
    for outcome in outcomes:
        if isinstance(outcome, Outcome) and (command := by_id.get(outcome.id)) is not None:
            result = _with_dismissed(command, outcome.result, unknown)
            if result is not outcome.result:
                outcome = msgspec.structs.replace(outcome, result=result)
        changed.append(outcome)
    return changed


def _with_dismissed(command: Command, result: Result, unknown: UnknownFiles) -> Result:
    match command.op, result:
        case Acknowledge(mailbox), Acknowledged(message_ids, unknown_ids) if unknown_ids:
            gone = unknown.dismiss(mailbox, unknown_ids)
            return Acknowledged([*message_ids, *gone], [one for one in unknown_ids if one not in gone])
        case Clear(mailbox, _, limit), Cleared(message_ids, through_id, False):
            gone = unknown.dismiss_some(mailbox, limit)
            return Cleared([*message_ids, *gone], through_id, has_more=len(gone) == limit)
        case _:
            return result
