"""Mailbox — the worker that every message passes: it assigns ids, keeps the mailbox table and announces mail.

Owns the loop, filling the table at the start, and the high-water mark. `RequestHandler` processes requests,
`OutcomeHandler` outcomes. Not here: durability and files (command-queue), clients (gateway).
Above: gateways, through `requests` and `events`; below: the command-queue, through `writes` and `outcomes`.
Invariant: no message is announced before its outcome has arrived; the high-water mark never passes an unresolved id.
"""

__all__ = ["main"]

import time

from mailroomd.core.aliases import Alias
from mailroomd.core.suspect_input import NOT_OF_INPUT
from mailroomd.ipc.link import Link
from mailroomd.ipc.readiness import Readiness
from mailroomd.mailbox.gateway_port import GatewayPort, Received
from mailroomd.mailbox.in_flight import InFlightCommands
from mailroomd.mailbox.outcomes import OutcomeHandler
from mailroomd.mailbox.requests import RequestHandler
from mailroomd.mailbox.state import MailboxState
from mailroomd.mailbox.table_filling import fill_table
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import Reason
from mailroomd.model.ids import format_id
from mailroomd.observability.log import log
from mailroomd.protocol.operations import Refused
from mailroomd.protocol.packets import AliasChanged, Answer, Command, Hello, LazyCommand, Outcome, Request
from mailroomd.protocol.reports import AllocateIds, Report, StorageStateChanged
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.table.layout import TableLayout
from mailroomd.table.writer import TableFull, TableWriter
from mailroomd.worker.config import MailboxConfig
from mailroomd.worker.damage import refuse_damaged_database
from mailroomd.worker.runner import WorkerContext

MAX_IN_FLIGHT = 20_000  # unresolved commands; above it, no further requests are read


def main(context: WorkerContext, config: MailboxConfig) -> None:
    """Runs the mailbox worker until it is told to stop."""
    with refuse_damaged_database(context.settings):
        Mailbox(context, config).run()


class Mailbox:
    """The mailbox worker's loop: process outcomes, process requests, publish, announce."""

    def __init__(self, context: WorkerContext, config: MailboxConfig) -> None:
        self._context = context
        self._writes = config.writes
        layout = TableLayout.for_ring(context.settings.table_bytes, context.settings.table_mailboxes)
        self._in_flight = InFlightCommands(lambda command: self._link.send(command))
        self._state = MailboxState(TableWriter(config.table.buffer, layout), self._in_flight, context.metrics)
        self._link: Link[Outcome | Report, Command | LazyCommand] = Link(
            context.epoch, config.outcomes, config.writes, self._in_flight.unresolved_commands
        )
        self._request_handler = RequestHandler(self._state, context.settings, self._link)
        self._outcome_handler = OutcomeHandler(self._state)
        self._state.ports = [
            GatewayPort(index, context.epoch, requests, events, self._live_aliases)
            for index, (requests, events) in enumerate(zip(config.requests, config.events, strict=True))
        ]
        self._deferred: list[AllocateIds] = []  # requested before the table was filled
        self._is_filled = False
        self._is_table_full = False
        self._is_stopping = False
        self._ready: set[int] = set()
        self._failed_requests = 0
        self._outcomes_fileno = config.outcomes.reader_fileno()
        self._readiness = Readiness()
        self._readiness.watch_reading(self._outcomes_fileno)
        self._readiness.watch_reading(context.control_fileno())

    def run(self) -> None:
        """Waits until the predecessor's commands are processed, fills the table, then works until told to stop."""
        self._link.send_hello()
        while not self._link.is_established:
            if self._is_stopping:
                return
            self._wait()
            self._process_outcomes()
            self._link.flush()  # the queue may have been too full of the predecessor's commands for the Hello
        self._fill_table()
        for port in self._state.ports:
            port.send_hello()
        self._context.report_ready()
        while self._turn() or not self._is_stopping:
            self._wait()
        log.debug("mailbox stopped", last_id=format_id(self._in_flight.last_id))

    def _turn(self) -> bool:
        """Processes everything that has arrived; returns whether anything is left to be answered."""
        self._process_outcomes()
        self._flush_ports()
        self._is_table_full = False
        asking = [port for port in self._state.ports if port.has_requests(self._ready)]
        processed = [self._process_requests(port) for port in asking if self._accepts_requests()]
        self._request_handler.submit_delivery_marks()
        self._request_handler.forget_idle_agents()
        self._link.flush()
        self._flush_ports()
        return any(processed) or bool(self._in_flight)

    def _accepts_requests(self) -> bool:
        return len(self._in_flight) < MAX_IN_FLIGHT and not self._is_table_full

    def _wait(self) -> None:
        """Writes a heartbeat, then waits until a queue has something to read (or, if it was full, room to write)."""
        self._context.beat()
        self._state.publish_gauges(time.monotonic(), self._link.backlog)
        self._readiness.watch_writing(self._writes.writer_fileno(), self._link.backlog > 0)
        for port in self._state.ports:
            port.watch(self._readiness, reads=self._is_filled and self._accepts_requests())
        is_done = self._is_stopping and not self._in_flight
        marks_due_sec = self._request_handler.delivery_marks_due_in_sec(time.monotonic())
        self._ready = self._readiness.wait(0 if is_done else min(self._context.beat_interval_sec, marks_due_sec))
        if self._context.control_fileno() in self._ready:
            self._is_stopping = self._context.stop_requested()
            self._request_handler.apply_settings(self._context.settings)  # they may have been reloaded

    def _flush_ports(self) -> None:
        for port in self._state.ports:
            port.flush()

    def _process_requests(self, port: GatewayPort) -> bool:
        """Processes a gateway's requests as far as the table has room; returns whether there were any."""
        requests = port.receive()
        for index, request in enumerate(requests):
            try:
                self._request_handler.handle_request(port, request)
            except TableFull:
                self._is_table_full = True
                port.put_back(requests[index:])
                break
            except NOT_OF_INPUT:
                raise
            except Exception as error:  # noqa: BLE001 - of this request: after a restart it would come again
                self._set_aside(port, request, error)
        return bool(requests)

    def _set_aside(self, port: GatewayPort, request: Received, error: Exception) -> None:
        """Refuses a request that raised what nobody expected, unless it is on its way; logs the first ones whole."""
        self._failed_requests += 1
        if self._failed_requests.bit_count() == 1:
            log.exception("request set aside, cannot be processed", failures=self._failed_requests)
        if isinstance(request, Request) and request.call and not self._in_flight.has_call(port.index, request.call):
            sentence = f"mailroomd cannot process this request (internal error, {type(error).__name__}): see its log"
            port.send(Answer(request.call, Refused(Reason.INTERNAL, sentence)))

    def _process_outcomes(self) -> None:
        if self._outcomes_fileno not in self._ready:
            return
        outcomes = self._link.receive()
        for outcome in outcomes:
            if isinstance(outcome, Hello):
                self._publish()  # first, as the command-queue compares table and database once it is answered
                self._link.answer_hello(outcome)
                self._outcome_handler.answer_without_team()
            elif self._is_filled or isinstance(outcome, StorageStateChanged):
                self._outcome_handler.handle_outcome(outcome)
            elif isinstance(outcome, AllocateIds):
                self._deferred.append(outcome)  # everything else is in the database, which the filling reads
        if outcomes:
            self._publish()

    def _publish(self) -> None:
        """Makes everything that is resolved visible to the readers of the table."""
        if self._is_filled:
            self._state.publish_changed()
            self._state.table.advance_high_water_mark(self._in_flight.high_water_mark)

    def _live_aliases(self) -> list[AliasChanged]:
        return [AliasChanged(*alias) for alias in self._state.aliases.live(now_ms())]

    def _fill_table(self) -> None:
        started_sec = time.monotonic()
        archive = MessageArchive(self._context.settings.state_dir)
        try:
            fill = fill_table(self._state.table, archive, self._context.beat)
            for alias in archive.aliases(now_ms()):
                self._state.aliases.set_alias(Alias(*alias), now_ms())
            self._request_handler.restore_shares(archive, self._context.beat)
        finally:
            archive.close()
        self._in_flight.continue_after(fill.last_id)
        self._is_filled = True
        for request in self._deferred:
            self._outcome_handler.handle_outcome(request)
        log.debug(
            "mailbox table filled",
            mailboxes=fill.mailboxes,
            messages=fill.messages,
            seconds=round(time.monotonic() - started_sec, 3),
        )
