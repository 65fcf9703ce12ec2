"""TeamEntries — the entries in native team inboxes, from the commit of their messages until their agent takes them.

Owns what is submitted when, that each result is recorded, and what follows when an entry is taken: its message was
offered; and it was read when the team has ended. An observer of commits: it follows the outcomes, since only the answer
to a sender waits for its entry. Not here: the threads that write them (`TeamInboxDispatcher`) and watch them
(`TakenEntries`).
"""

__all__ = ["TeamEntries"]

import time
from collections.abc import Callable

from mailroomd.command_queue.background_writes import BackgroundWrites
from mailroomd.command_queue.commit import Commit, CommitObserver
from mailroomd.command_queue.outcome_reporter import OutcomeReporter
from mailroomd.command_queue.team_dispatcher import STILL_TRYING, TeamInboxDispatcher
from mailroomd.protocol.local_events import EntriesTaken, LocalEvent, TeamEnded
from mailroomd.protocol.operations import Sent
from mailroomd.protocol.packets import Outcome
from mailroomd.protocol.reports import TeamInboxSettled
from mailroomd.storage.database.file_ledger import FileLedger
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.team_inbox.taken import Taken, TakenEntries

RESUME_SLICE = 200  # team messages submitted again between two commits


class TeamEntries(CommitObserver):
    """Writes entries and records what became of them.

    Args:
        dispatcher: writes them.
        taken: watches them.
        ledger: what the database knows of them.
        writes: records the results there.
        reporter: tells the mailbox.
        enqueue: has a local event committed.
    """

    def __init__(
        self,
        dispatcher: TeamInboxDispatcher,
        taken: TakenEntries,
        ledger: FileLedger,
        writes: BackgroundWrites,
        reporter: OutcomeReporter,
        enqueue: Callable[[LocalEvent], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._taken = taken
        self._enqueue = enqueue
        self._ledger = ledger
        self._writes = writes
        self._reporter = reporter

    def on_committed(self, commit: Commit) -> None:
        """Submits new entries, and reports those that were committed and finished before."""
        now_sec = time.monotonic()
        for message in commit.result.mail:
            if message.is_for_team:
                self._dispatcher.submit(message, now_sec)
        finished = [
            TeamInboxSettled(outcome.id, STILL_TRYING)
            for outcome in commit.result.outcomes
            if isinstance(outcome, Outcome)
            and isinstance(outcome.result, Sent)
            and outcome.result.awaits_team
            and not self._dispatcher.is_waiting(outcome.id)
        ]
        if finished:
            self._reporter.report(finished)

    def resume_unwritten(self) -> None:
        """Submits, at the start, every message whose entry is not known to be written, and watches the others."""
        for recipient, message_ids in self._ledger.in_team_inboxes().items():
            self._taken.watch(recipient, message_ids)
        for message in self._ledger.messages(self._ledger.not_in_team_inbox()):
            self._dispatcher.submit(StoredMail(message.id, message.timestamp_ms, message.draft), time.monotonic())

    def collect_taken(self) -> None:
        """Has what became of entries in their inboxes committed: taken by their agents, or the team has ended."""
        for report in self._taken.drain():
            event = EntriesTaken if isinstance(report, Taken) else TeamEnded
            self._enqueue(event(report.recipient, report.message_ids))

    def settle(self, now_sec: float) -> None:
        """Reports the entries that are finished or late, records the results, and submits what found no room."""
        settled = self._dispatcher.drain_settled(now_sec)
        for recipient, message_id in self._dispatcher.drain_written():
            self._taken.watch(recipient, [message_id])
        self._record_results()
        self._resume_deferred(now_sec)
        self._reporter.report(settled)

    def _resume_deferred(self, now_sec: float) -> None:
        """Submits a slice of the messages that found no room in the backlog of their team inbox."""
        for recipient, first_id in self._dispatcher.take_deferred():
            missing = self._ledger.missing_in_team_inbox(recipient, first_id, RESUME_SLICE)
            for message in self._ledger.messages(missing):
                self._dispatcher.submit(StoredMail(message.id, message.timestamp_ms, message.draft), now_sec)
            if len(missing) == RESUME_SLICE:
                self._dispatcher.defer(recipient, missing[-1] + 1)

    def due_in_sec(self, now_sec: float) -> float:
        """Returns after how many seconds to call `settle`, whatever the dispatcher's descriptor says."""
        return self._dispatcher.due_in_sec(now_sec)

    def close(self) -> bool:
        """Tries everything that waits once more, then ends; returns whether the results are recorded."""
        self._taken.close()
        self._dispatcher.close()
        return self._record_results()

    def _record_results(self) -> bool:
        results = self._dispatcher.drain_results()
        if results and not self._writes.attempt(lambda: self._ledger.record_team_errors(results)):
            self._dispatcher.requeue_results(results)
            return False
        return True
