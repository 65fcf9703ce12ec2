"""CommandQueue — the worker that makes messages durable and writes their files.

Owns the loop: receive commands, commit them, do what is due, wait. It is the only writer of the database and of the
inbox files. Not here: its parts and what follows a commit (`Parts`), the commit (`Committer`), the start (`opening`,
`recovery`), timers (`Housekeeping`), what the worker finds by itself (`LocalEvents`).
Above: the mailbox, through `writes` and `outcomes`.
"""

__all__ = ["main"]

import time
from collections.abc import Iterator, Sequence

from mailroomd.command_queue.opening import adopt_root
from mailroomd.command_queue.parts import Parts
from mailroomd.command_queue.recovery import recover
from mailroomd.command_queue.table_audit import lost_deletions
from mailroomd.ipc.readiness import Readiness
from mailroomd.model.clock import is_out_of_range, now_ms
from mailroomd.observability.log import log
from mailroomd.protocol.packets import Command, Hello, LazyCommand
from mailroomd.protocol.reports import Report
from mailroomd.worker.config import CommandQueueConfig
from mailroomd.worker.damage import refuse_damaged_database
from mailroomd.worker.runner import WorkerContext

BATCH_COMMANDS = 1000  # in one transaction: some 15 ms of work, well below any heartbeat
BATCH_BYTES = 4 << 20  # likewise: a slow disk writes them, twice, within one heartbeat
BACKLOG_OUTCOMES = 5000  # beyond it `writes` is not read: the mailbox has to catch up first
UNCONFIRMED_MS = 60_000  # how far back a restarted command-queue repeats changes that no command asked for


def main(context: WorkerContext, config: CommandQueueConfig) -> None:
    """Runs the command-queue until it is told to stop."""
    with refuse_damaged_database(context.settings):
        CommandQueue(context, config).run()


class CommandQueue:
    """The command-queue's loop."""

    def __init__(self, context: WorkerContext, config: CommandQueueConfig) -> None:
        self._context = context
        self._parts = parts = Parts(context, config, self._unanswered)
        self._link = parts.link
        self._store = parts.store
        self._local_events = parts.local_events
        self._housekeeping = parts.housekeeping
        self._disk_guard = parts.disk_guard
        self._background = parts.writes
        self._reporter = parts.reporter
        self._team = parts.team_entries
        self._writes, self._outcomes = config.writes, config.outcomes
        self._unconfirmed_since_ms: int | None = None  # what changed since then is to be repeated
        self._is_clock_wrong = False

    def run(self) -> None:
        """Recovers, then works until it is told to stop."""
        self._start()
        readiness = Readiness()
        for fileno in (
            self._context.control_fileno(),
            self._parts.team_dispatcher.fileno(),
            self._parts.taken_entries.fileno(),
            *self._local_events.filenos(),
        ):
            readiness.watch_reading(fileno)
        is_stopping = False
        while not is_stopping:
            self._context.beat()
            self._link.flush()
            if self._link.backlog < BACKLOG_OUTCOMES:
                self._receive()
            pause_sec = self._do_due_work()
            readiness.watch_reading(self._writes.reader_fileno(), self._link.backlog < BACKLOG_OUTCOMES)
            readiness.watch_writing(self._outcomes.writer_fileno(), self._link.backlog > 0)
            if self._context.control_fileno() in readiness.wait(pause_sec):
                is_stopping = self._context.stop_requested()
                self._housekeeping.settings = self._context.settings  # they may have been reloaded
        self._stop()

    # -- commands -------------------------------------------------------------------------------------------------

    def _receive(self) -> bool:
        """Commits the commands that have arrived; returns whether there were any."""
        received = self._link.receive()
        self._report_unconfirmed()
        commands: list[Command | LazyCommand] = []
        for item in received:
            if isinstance(item, Hello):
                self._process(commands)
                commands = []
                self._link.answer_hello(item)
            else:
                commands.append(item)
        self._process(commands)
        return bool(received)

    def _report_unconfirmed(self) -> None:
        """Repeats what the mailbox may not have received from a predecessor, before anything newer is committed.

        It is read from the database now: what was read at the start would undo what has been swept and reported since.
        """
        if self._unconfirmed_since_ms is not None and self._link.is_established:
            deletions = lost_deletions(self._parts.table, self._store.transactions.connection, self._store.counted)
            changes = self._store.changed_since(self._unconfirmed_since_ms) if self._context.epoch > 1 else []
            self._reporter.report([*deletions, *changes, *self._unanswered()])
            self._unconfirmed_since_ms = None

    def _process(self, commands: Sequence[Command | LazyCommand]) -> None:
        for batch in _batches(commands):
            ordered = [command for command in batch if isinstance(command, Command)]
            self._housekeeping.enqueue(command for command in batch if isinstance(command, LazyCommand))
            if ordered:
                self._parts.committer.commit(ordered)
            self._context.beat()

    def _unanswered(self) -> list[Report]:
        """Returns what a mailbox that restarted needs to receive; it reads everything else from the database."""
        return [self._disk_guard.current_state(), *self._local_events.unanswered_requests()]

    # -- between commits ------------------------------------------------------------------------------------------

    def _do_due_work(self) -> float:
        """Does what is due besides commits; returns for how many seconds nothing will be."""
        now_sec, pause_sec = time.monotonic(), 0.0
        self._team.collect_taken()

        def work() -> None:
            nonlocal pause_sec
            has_room = not self._disk_guard.is_full
            pause_sec = min(
                self._housekeeping.run(now_sec, now_ms(), has_room=has_room),
                self._local_events.poll(now_sec, now_ms()),
            )

        if not self._background.attempt(work):
            pause_sec = 1.0
        self._reporter.report([*self._housekeeping.drain_reports(), *self._local_events.drain_requests(now_sec)])
        self._team.settle(now_sec)
        self._parts.filing.remove_empty_directories(now_sec, self._context.settings.forget_agents_sec)
        self._disk_guard.poll(now_sec)
        self._check_clock()
        self._parts.gauges.publish_if_due(now_sec)
        return min(self._context.beat_interval_sec, pause_sec, self._team.due_in_sec(now_sec))

    def _check_clock(self) -> None:
        """Logs once that the machine's clock is beyond what the daemon can store."""
        was_wrong, self._is_clock_wrong = self._is_clock_wrong, is_out_of_range()
        if self._is_clock_wrong and not was_wrong:
            log.error("clock out of range, using the nearest time: set the clock", used_ms=now_ms())

    # -- start and stop -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        adopt_root(self._store, self._context.settings.root)
        recover(self._context, self._store, self._parts.files, self._parts.filing, self._local_events, self._background)
        self._team.resume_unwritten()
        self._disk_guard.start()
        # A mailbox that outlived this worker's predecessor has that one's view of the disk, and may not have received
        # its last changes that no command asked for.
        self._unconfirmed_since_ms = now_ms() - UNCONFIRMED_MS
        self._link.send_hello()
        self._context.report_ready()

    def _stop(self) -> None:
        while self._receive():
            pass
        is_recorded = self._team.close()
        if not (self._background.attempt(lambda: self._housekeeping.finish(now_ms())) and is_recorded):
            log.warning("final marks not written; next start checks all files")
        self._link.flush()
        self._parts.close()


def _batches(commands: Sequence[Command | LazyCommand]) -> Iterator[list[Command | LazyCommand]]:
    """Yields the commands of each transaction."""
    batch: list[Command | LazyCommand] = []
    size_bytes = 0
    for command in commands:
        batch.append(command)
        size_bytes += command.size_bytes if isinstance(command, Command) else 0
        if len(batch) == BATCH_COMMANDS or size_bytes >= BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
