"""MailboxWorker — the mailbox worker's handlers over a real table and real queues, driven by a test in one process.

Owns both peers: the gateways, whose answers it collects, and the command-queue, whose outcomes the test makes up. Not
here: the worker's loop (`mailbox.process`), which is the daemon's.
"""

__all__ = ["MailboxWorker"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailroomd.command_queue.commit import Commit
from mailroomd.command_queue.direct_answers import DirectAnswers
from mailroomd.ipc.link import Link
from mailroomd.ipc.queue import PacketQueue
from mailroomd.mailbox.gateway_port import GatewayPort
from mailroomd.mailbox.in_flight import InFlightCommands
from mailroomd.mailbox.outcomes import OutcomeHandler
from mailroomd.mailbox.requests import RequestHandler
from mailroomd.mailbox.state import MailboxState
from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.model.settings import Settings
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.protocol.operations import Operation
from mailroomd.protocol.packets import (
    ANSWERS,
    EVENTS,
    OUTCOMES,
    REQUESTS,
    WRITES,
    AliasesSent,
    Command,
    Event,
    Hello,
    LazyCommand,
    Outcome,
    Request,
)
from mailroomd.protocol.reports import Report
from mailroomd.storage.database.message_store import CommitResult
from mailroomd.table.answered_mark import AnsweredMark
from mailroomd.table.layout import TableLayout
from mailroomd.table.reader import TableReader
from mailroomd.table.writer import TableWriter


class MailboxWorker:
    """The mailbox worker with one gateway and a command-queue.

    Attributes:
        state: the worker's state.
        reader: what gateways see of the table.
        command_queue: the command-queue's end of its link, which has received `commands`.
    """

    def __init__(self, *, ring_bytes: int = 1 << 20, slots: int = 64, max_unread: int = 100_000) -> None:
        layout = TableLayout.for_ring(ring_bytes, slots)
        self._memory = SharedMemory.create("table", layout.size_bytes)
        self.reader = TableReader(self._memory.buffer, layout)
        writer = TableWriter(self._memory.buffer, layout)
        writer.begin_rebuild(0)
        writer.finish_rebuild(0)
        names = {"writes": WRITES, "outcomes": OUTCOMES, "requests": REQUESTS, "events": EVENTS, "answers": ANSWERS}
        self._queues: dict[str, PacketQueue[Any]] = {name: PacketQueue(name, types) for name, types in names.items()}
        in_flight = InFlightCommands(lambda command: self._link.send(command))
        self.state = MailboxState(writer, in_flight, MetricsBlock.private())
        self._link: Link[Outcome | Report, Command | LazyCommand] = self._new_link(
            "outcomes", "writes", in_flight.unresolved_commands
        )
        self.command_queue: Link[Command | LazyCommand, Outcome | Report] = self._new_link("writes", "outcomes", list)
        port = GatewayPort(0, 1, self._queues["requests"], self._queues["events"], list)
        self.state.ports = [port]
        self._gateway: Link[Event, Request] = self._new_link("events", "requests", list)
        settings = Settings(root=Path("/r"), state_dir=Path("/s"), listen=("unix:/l",), max_unread=max_unread)
        self.request_handler = RequestHandler(self.state, settings, self._link)
        self.outcome_handler = OutcomeHandler(self.state)
        self._direct_answers = DirectAnswers((self._queues["answers"],), AnsweredMark(self._memory.buffer))
        self._connect(port)

    def answer(self, commands: Sequence[Command], outcomes: Sequence[Outcome | Report]) -> list[Outcome | Report]:
        """Answers as the command-queue does after a commit; returns the outcomes that it would report then."""
        result = CommitResult(list(outcomes))
        self._direct_answers.on_committed(Commit(commands, result, 0, 0, 0, 0))
        return result.outcomes

    def handle(self, request: Request) -> None:
        """Processes a request of the gateway."""
        self.request_handler.handle_request(self.state.ports[0], request)

    def commands(self, *kinds: type[Operation]) -> list[Command]:
        """Returns the commands that were sent since the last call, those with these operations if any are given."""
        assert self._link.flush()
        commands = [command for command in self.command_queue.receive() if isinstance(command, Command)]
        return [command for command in commands if not kinds or isinstance(command.op, kinds)]

    def report(self, *outcomes: Outcome | Report) -> None:
        """Processes outcomes of the command-queue and publishes the result, as one turn of the loop does."""
        for outcome in outcomes:
            self.outcome_handler.handle_outcome(outcome)
        self.state.publish_changed()
        self.state.table.advance_high_water_mark(self.state.in_flight.high_water_mark)

    def answers(self) -> list[Event]:
        """Returns the command-queue's answers and the events that the gateway has received since the last call."""
        self.state.ports[0].flush()
        events = [event for event in self._gateway.receive() if not isinstance(event, Hello | AliasesSent)]
        return [*self._queues["answers"].receive_items(), *events]

    def close(self) -> None:
        for queue in self._queues.values():
            queue.close()
        self._memory.close()

    def _new_link(self, inbound: str, outbound: str, unanswered: Any) -> Link[Any, Any]:
        return Link(1, self._queues[inbound], self._queues[outbound], unanswered)

    def _connect(self, port: GatewayPort) -> None:
        """Lets both pairs of links shake hands."""
        for link in (self._link, self.command_queue, port, self._gateway):
            link.send_hello()
        for link in (self._link, self.command_queue, port, self._gateway) * 2:
            for item in link.receive():
                assert isinstance(item, Hello | AliasesSent)
                if isinstance(item, Hello):
                    link.answer_hello(item)
