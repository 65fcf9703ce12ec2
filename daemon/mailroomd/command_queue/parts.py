"""Parts — makes the command-queue's parts and joins them.

Owns which observers follow a commit, and in which order. Not here: what a part does (its own module), when it works
(`process`).
"""

__all__ = ["Parts"]

from collections.abc import Callable

from mailroomd.command_queue.background_writes import BackgroundWrites
from mailroomd.command_queue.commit import CommitObserver
from mailroomd.command_queue.commit_filing import CommitFiling
from mailroomd.command_queue.committer import Committer
from mailroomd.command_queue.direct_answers import DirectAnswers
from mailroomd.command_queue.disk_guard import DiskGuard
from mailroomd.command_queue.gauges import CommandQueueGauges
from mailroomd.command_queue.housekeeping import Housekeeping
from mailroomd.command_queue.local_events import LocalEvents
from mailroomd.command_queue.opening import open_in_root, open_store
from mailroomd.command_queue.outcome_reporter import OutcomeReporter
from mailroomd.command_queue.resolving import Resolver
from mailroomd.command_queue.team_dispatcher import TeamInboxDispatcher
from mailroomd.command_queue.team_entries import TeamEntries
from mailroomd.command_queue.telemetry import CommitTelemetry, FilingTelemetry
from mailroomd.ipc.link import Link
from mailroomd.protocol.packets import Command, LazyCommand, Outcome
from mailroomd.protocol.reports import Report
from mailroomd.storage.database.reserve import Reserve
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import Filing
from mailroomd.storage.outbox.outbox import Outbox
from mailroomd.storage.team_inbox.filing import TeamFiling
from mailroomd.storage.team_inbox.inboxes import TeamInboxes
from mailroomd.storage.team_inbox.taken import TakenEntries
from mailroomd.table.answered_mark import AnsweredMark
from mailroomd.table.layout import TableLayout
from mailroomd.table.reader import TableReader
from mailroomd.worker.config import CommandQueueConfig
from mailroomd.worker.context import WorkerContext


class Parts:
    """The command-queue's parts.

    Args:
        context: the worker's.
        config: its queues and the mailbox table.
        unanswered: returns what a mailbox that restarted needs to receive.

    Raises:
        CannotStart: a directory or the database cannot be used.
        sqlite3.DatabaseError: the database is damaged.
    """

    def __init__(
        self, context: WorkerContext, config: CommandQueueConfig, unanswered: Callable[[], list[Report]]
    ) -> None:
        settings = context.settings
        layout = TableLayout.for_ring(settings.table_bytes, settings.table_mailboxes)
        self.table = TableReader(config.table.buffer, layout)
        reserve = Reserve(settings.state_dir)
        self.files = open_in_root(context, InboxFiles)
        reserve.release_if_tight()
        self.store = open_store(context)
        outbox = open_in_root(context, Outbox)
        self.filing = Filing(settings.root, self.files, self.store.files, context.beat)
        self.local_events = LocalEvents(self.store, self.filing, outbox, context.epoch)
        self.team_dispatcher = TeamInboxDispatcher(TeamFiling(TeamInboxes(settings.root)))
        self.taken_entries = TakenEntries(settings.root)
        self.link: Link[Command | LazyCommand, Outcome | Report] = Link(
            context.epoch, config.writes, config.outcomes, unanswered
        )
        used_bytes = self.store.transactions.used_bytes
        self.disk_guard = DiskGuard(lambda: context.settings, reserve, used_bytes, self.link.send)
        self.housekeeping = Housekeeping(settings, self.store, self.files)
        self.writes = BackgroundWrites(settings.state_dir, self.disk_guard)
        self.direct_answers = DirectAnswers(config.answers, AnsweredMark(config.table.buffer))
        self.reporter = OutcomeReporter(self.link)
        self.team_entries = self._team_entries()
        resolve = Resolver(self.table, self.local_events).resolve
        lazy = self.housekeeping.lazy
        self.committer = Committer(context, self.store, resolve, lazy, self.disk_guard, self._observers(context))
        self.gauges = CommandQueueGauges(
            context.metrics,
            lambda: context.settings,
            self.store,
            self.disk_guard,
            self.filing,
            self.team_dispatcher,
            self.link,
        )

    def _team_entries(self) -> TeamEntries:
        return TeamEntries(
            self.team_dispatcher,
            self.taken_entries,
            self.store.files,
            self.writes,
            self.reporter,
            self.local_events.enqueue,
        )

    def _observers(self, context: WorkerContext) -> tuple[CommitObserver, ...]:
        """Returns what follows a commit, in order."""
        return (
            CommitTelemetry(context.metrics),
            self.local_events,
            CommitFiling(self.filing, self.store.files, self.writes),
            FilingTelemetry(context.metrics),
            self.direct_answers,  # here a sender is answered; the rest follows while nobody waits
            self.reporter,
            self.housekeeping,
            self.team_entries,
        )

    def close(self) -> None:
        """Closes the database and every directory."""
        self.store.close()
        self.local_events.close()
        self.files.close()
