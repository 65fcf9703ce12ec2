"""Mailbox — the worker through which every message goes: it gives ids, keeps the table, and tells everyone.

Owns the loop, the filling of the table at a start, and the moving of the durable mark. Requests are taken by `RequestHandler`,
outcomes settled by `OutcomeHandler`. Not here: durability and files (command-queue), clients (gateway).
Above: gateways by `requests` and `events`; below: the command-queue by `writes` and `outcomes`.
Invariant: nobody is told of a message before its outcome has come; the mark never passes an id that has none.
"""

__all__ = ["main"]

import time

from mailroomd.core.aliases import Alias
from mailroomd.ipc.link import Link
from mailroomd.ipc.readiness import Readiness
from mailroomd.mailbox.gateway_port import GatewayPort
from mailroomd.mailbox.gauges import MailboxGauges
from mailroomd.mailbox.in_flight import InFlightCommands
from mailroomd.mailbox.outcomes import OutcomeHandler
from mailroomd.mailbox.requests import RequestHandler
from mailroomd.mailbox.state import MailboxState
from mailroomd.mailbox.table_filling import fill_table
from mailroomd.model.clock import now_ms
from mailroomd.observability.log import log
from mailroomd.protocol.commands import AllocateIds, Command, Outcome, StorageStateChanged
from mailroomd.protocol.packets import AliasChanged, Hello
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.table.layout import TableLayout
from mailroomd.table.writer import TableFull, TableWriter
from mailroomd.worker.config import MailboxConfig
from mailroomd.worker.damage import refuse_damaged_database
from mailroomd.worker.runner import WorkerContext

MAX_PENDING = 20_000  # commands that wait for the command-queue; beyond it no request is read


def main(context: WorkerContext, config: MailboxConfig) -> None:
    """Runs the mailbox until it is told to stop."""
    with refuse_damaged_database(context.settings):
        Mailbox(context, config).run()


class Mailbox:
    """The mailbox's loop: hear outcomes, take requests, publish, announce."""

    def __init__(self, context: WorkerContext, config: MailboxConfig) -> None:
        self._context = context
        self._writes = config.writes
        layout = TableLayout.for_ring(context.settings.table_bytes, context.settings.table_mailboxes)
        self._orders = InFlightCommands(lambda command: self._link.send(command))
        self._books = MailboxState(TableWriter(config.table.buffer, layout), self._orders, context.metrics)
        self._link: Link[Outcome, Command] = Link(
            context.epoch, config.outcomes, config.writes, self._orders.unanswered
        )
        self._intake = RequestHandler(self._books, context.settings, self._link)
        self._settlement = OutcomeHandler(self._books)
        self._books.ports = [
            GatewayPort(number, context.epoch, requests, events, self._live_aliases)
            for number, (requests, events) in enumerate(zip(config.requests, config.events, strict=True))
        ]
        self._gauges = MailboxGauges(self._books, self._link)
        self._wanted: list[AllocateIds] = []
        self._is_filled = False
        self._is_blocked = False
        self._is_stopping = False
        self._ready: set[int] = set()
        self._outcomes_fileno = config.outcomes.reader_fileno()
        self._readiness = Readiness()
        self._readiness.watch_reading(self._outcomes_fileno)
        self._readiness.watch_reading(context.control_fileno())

    def run(self) -> None:
        """Waits for the predecessor's writes to be settled, fills the table, then works until STOP."""
        self._link.greet()
        while not self._link.is_hearing:
            if self._is_stopping:
                return
            self._wait()
            self._hear_outcomes()
            self._link.flush()  # the Hello may have found the queue full of what the predecessor left
        self._rebuild()
        for port in self._books.ports:
            port.greet()
        self._context.report_ready()
        while self._turn() or not self._is_stopping:
            self._wait()
        log.debug("mailbox stops", last_id=f"{self._orders.last_id:016x}")

    def _turn(self) -> bool:
        """Carries out what has come; returns whether something is left to be answered."""
        self._hear_outcomes()
        self._flush_ports()
        self._is_blocked = False
        asking = [port for port in self._books.ports if port.asks(self._ready)]
        heard = [self._hear_requests(port) for port in asking if self._may_take()]
        self._intake.order_offers()
        self._intake.forget_idle_agents()
        self._link.flush()
        self._flush_ports()
        return any(heard) or bool(self._orders)

    def _may_take(self) -> bool:
        return len(self._orders) < MAX_PENDING and not self._is_blocked

    def _wait(self) -> None:
        """Beats, and sleeps until there is something to read (or, where a queue is full, to write)."""
        self._context.beat()
        self._gauges.show(time.monotonic())
        self._readiness.watch_writing(self._writes.writer_fileno(), self._link.backlog > 0)
        for port in self._books.ports:
            port.watch(self._readiness, reading=self._is_filled and self._may_take())
        is_done = self._is_stopping and not self._orders
        pause = min(self._context.beat_interval_sec, self._intake.offers_due(time.monotonic()))
        self._ready = self._readiness.wait(0 if is_done else pause)
        if self._context.control_fileno() in self._ready:
            self._is_stopping = self._context.stop_requested()
            self._intake.take_settings(self._context.settings)  # there may be new ones

    def _flush_ports(self) -> None:
        for port in self._books.ports:
            port.flush()

    def _hear_requests(self, port: GatewayPort) -> bool:
        """Takes what a gateway asks, as far as the table has room; returns whether there was anything."""
        heard = port.receive()
        for index, item in enumerate(heard):
            try:
                self._intake.take(port, item)
            except TableFull:
                self._is_blocked = True
                port.put_back(heard[index:])
                break
        return bool(heard)

    def _hear_outcomes(self) -> None:
        if self._outcomes_fileno not in self._ready:
            return
        heard = self._link.receive()
        for item in heard:
            if isinstance(item, Hello):
                self._show()  # what came before: the peer compares the table with the database once it is answered
                self._link.welcome(item)
                self._settlement.answer_without_team()
            elif self._is_filled or isinstance(item, StorageStateChanged):
                self._settlement.apply(item)
            elif isinstance(item, AllocateIds):  # filling reads all else
                self._wanted.append(item)
        if heard:
            self._show()

    def _show(self) -> None:
        """Shows what is settled to the readers of the table."""
        if self._is_filled:
            self._books.publish_touched()
            self._books.table.move_mark(self._orders.mark)

    def _live_aliases(self) -> list[AliasChanged]:
        return [AliasChanged(*one) for one in self._books.aliases.live(now_ms())]

    def _rebuild(self) -> None:
        started = time.monotonic()
        archive = MessageArchive(self._context.settings.state_dir)
        try:
            filled = fill_table(self._books.table, archive, self._context.beat)
            for alias in archive.aliases(now_ms()):
                self._books.aliases.set(Alias(*alias), now_ms())
        finally:
            archive.close()
        self._orders.begin_after(filled.last_id)
        self._is_filled = True
        for wanted in self._wanted:
            self._settlement.apply(wanted)
        log.debug(
            "table filled",
            mailboxes=filled.mailboxes,
            messages=filled.messages,
            seconds=round(time.monotonic() - started, 3),
        )
