"""CommitFiling — brings the inbox files in step with a commit, and puts into its outcomes what became of them.

Owns the order: write the files of new messages, remove those of messages that are over, then the files that no message
belongs to. An observer of commits. Not here: files (`Filing`), what the database knows of them (`FileLedger`).
"""

__all__ = ["CommitFiling"]

import time
from collections.abc import Mapping

import msgspec

from mailroomd.command_queue.background_writes import BackgroundWrites
from mailroomd.command_queue.commit import Commit, CommitObserver
from mailroomd.command_queue.unknown_mail import dismiss_unknown_files
from mailroomd.model.ids import format_id
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.protocol.operations import Cleared, Sent
from mailroomd.protocol.packets import Outcome
from mailroomd.protocol.reports import Report
from mailroomd.storage.database.file_ledger import FileLedger
from mailroomd.storage.inbox.filing import Filing


class CommitFiling(CommitObserver):
    """Files what was committed.

    Args:
        filing: the inbox files.
        ledger: what the database knows of them.
        writes: records there what became of them.
    """

    def __init__(self, filing: Filing, ledger: FileLedger, writes: BackgroundWrites) -> None:
        self._filing = filing
        self._ledger = ledger
        self._writes = writes

    def on_committed(self, commit: Commit) -> None:
        """Writes and removes the files of a transaction."""
        result = commit.result
        started_ns = time.monotonic_ns()
        filed = [message for message in result.mail if not message.departs]
        errors = commit.file_errors = self._filing.file_mail(filed, time.monotonic())
        commit.filing_ns = time.monotonic_ns() - started_ns
        gone = {message_id for removed in result.removed for message_id in self._filing.remove_files(*removed)}
        if errors:
            message_id, error = next(iter(errors.items()))
            log.warning("inbox files not written", message_id=format_id(message_id), files=len(errors), error=error)
            self._writes.attempt(lambda: self._ledger.record_unfiled(errors))
            result.outcomes = [_with_file_error(outcome, errors) for outcome in result.outcomes]
        cleared = [
            message_id
            for outcome in result.outcomes
            if isinstance(outcome, Outcome) and isinstance(outcome.result, Cleared)
            for message_id in outcome.result.message_ids
        ]
        if cleared:  # a file that cannot be removed stays listed until `Filing` or the next start removes it
            self._writes.attempt(lambda: self._ledger.forget_cleared(gone.intersection(cleared)))
        result.outcomes = dismiss_unknown_files(commit.commands, result.outcomes, self._filing.unknown)


def _with_file_error(outcome: Outcome | Report, errors: Mapping[int, str]) -> Outcome | Report:
    if isinstance(outcome, Outcome) and isinstance(outcome.result, Sent) and outcome.result.id in errors:
        error = errors[outcome.result.id]  # of a new message, or of one that this batch repeats
        sent = msgspec.structs.replace(outcome.result, state=DeliveryState.STORED, file_error=error)
        return msgspec.structs.replace(outcome, result=sent)
    return outcome
