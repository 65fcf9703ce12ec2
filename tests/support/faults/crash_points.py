"""crash_points — the named points at which a process can be killed, and the fuse that does it.

A point is a function of the daemon on the way of something that must not be lost; there are two moments at each, before
and after. The fuse is laid around the function in the one process that is to die (`crashing_worker`,
`crashing_daemon`), so the daemon itself has no switch for it and pays nothing. Not here: which points are taken when
(the tests). Invariant: a fuse that burns leaves a line in the journal before the process is gone.
"""

__all__ = [
    "AFTER",
    "BEFORE",
    "HUB_POINTS",
    "MOMENTS",
    "POINTS",
    "REMOVAL_POINTS",
    "CrashPoint",
    "Shot",
    "arm",
    "points_of",
    "resolve",
]

import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

BEFORE, AFTER = "before", "after"
MOMENTS = (BEFORE, AFTER)


@dataclass(frozen=True)
class CrashPoint:
    """One point.

    Attributes:
        process: the one name of the process.
        place: "module:function" or "module:Class.method", below `mailroomd`, where the process looks it up.
        queue: only where it works on this queue.
        with_result: only where it returned something: most calls find nothing to do.
        at_start: it is passed at the start of its process only, once.
    """

    name: str
    process: str
    place: str
    queue: str = ""
    with_result: bool = False
    at_start: bool = False


class Shot(NamedTuple):
    """One planned crash: at the `passing`-th time, from 1, that this moment of this point is passed."""

    name: str
    moment: str
    passing: int


_COMMAND_QUEUE = (
    ("take commands from the queue", "ipc.queue:PacketQueue.receive_items"),
    ("resolve a command", "command_queue.resolving:Resolver.resolve"),
    ("commit", "storage.database.message_store:MessageStore.commit"),
    ("look at one message", "storage.database.new_messages:NewMessages.write"),
    ("remember the key", "storage.database.request_keys:RequestKeys.remember"),
    ("insert the rows", "storage.database.new_messages:NewMessages.insert"),
    ("count, the last before COMMIT", "storage.database.mailbox_counters:MailboxCounters.write_counts"),
    ("mark read", "storage.database.message_steps:MessageSteps.mark_read"),
    ("mark offered", "storage.database.message_steps:MessageSteps.mark_offered"),
    ("mark expired", "storage.database.message_steps:MessageSteps.mark_expired"),
    ("write receipts", "storage.database.receipts:ReceiptRows.insert"),
    ("file a commit", "storage.inbox.filing:Filing.file_mail"),
    ("write a file", "storage.inbox.files:InboxFiles.write"),
    ("fill a file, before its rename", "storage.inbox.files:write_whole"),
    ("take files away", "storage.inbox.filing:Filing.remove_files"),
    ("remove a file", "storage.inbox.files:InboxFiles.remove"),
    ("answer senders", "command_queue.direct_answers:DirectAnswers.on_committed"),
    ("say how far senders were answered", "table.answered_mark:AnsweredMark.advance"),
    ("report outcomes", "ipc.queue:PacketQueue.send_items"),
    ("report a commit", "command_queue.outcome_reporter:OutcomeReporter.on_committed"),
    ("submit team entries", "command_queue.team_entries:TeamEntries.on_committed"),
    ("find files that were taken", "storage.inbox.filing:Filing.collect_taken"),
    ("ask for ids", "command_queue.local_events:PendingEvents.drain_requests"),
    ("commit a local event", "storage.database.message_store:MessageStore._write_event"),
    ("release a local event", "command_queue.local_events:LocalEvents.on_committed"),
    ("take responses from the outbox", "storage.outbox.outbox:Outbox.collect_responses"),
    ("write a response", "storage.database.responses:ResponseRows.insert"),
    ("delete a response's file", "storage.outbox.outbox:Outbox.remove_response"),
    ("append to a team inbox", "storage.team_inbox.inboxes:TeamInboxes.append"),
    ("prepare a team inbox, before its rename", "storage.team_inbox.inboxes:_prepare"),
    ("replace a team inbox, before its sync", "storage.team_inbox.inboxes:TeamInboxes._append"),
    ("record a team entry", "storage.database.file_ledger:FileLedger.record_team_errors"),
    ("write an alias", "storage.database.alias_rows:AliasRows.write"),
    ("clear a mailbox", "storage.database.retention:Retention.clear"),
    ("forget cleared files", "storage.database.file_ledger:FileLedger.forget_cleared"),
    ("sweep a slice", "storage.database.retention:Retention.delete_ended"),
    ("commit a sweep", "storage.database.message_store:MessageStore.delete_ended"),
    ("forget old keys", "storage.database.message_store:MessageStore.forget_old"),
    ("fill the index", "storage.database.search_index:SearchIndex.fill"),
    ("commit the index", "storage.database.message_store:MessageStore.index_more"),
    ("sync the files", "command_queue.housekeeping:sync_filesystem"),
    ("record what is synced", "storage.database.message_store:MessageStore.record_synced"),
    ("checkpoint", "command_queue.housekeeping:checkpoint"),
)
_COMMAND_QUEUE_STARTS = (
    ("open the database", "storage.database.transactions:open_store"),
    ("settle the log", "storage.database.transactions:settle_log"),
    ("recover the files", "command_queue.recovery:recover_files"),
    ("greet the mailbox", "ipc.link:Link.send_hello"),
)
_MAILBOX = (
    ("take requests from the queue", "ipc.queue:PacketQueue.receive_items"),
    ("allocate an id", "mailbox.in_flight:InFlightCommands.allocate_ids"),
    ("append to the table", "table.writer:TableWriter.append"),
    ("submit a command", "mailbox.in_flight:InFlightCommands.submit"),
    ("send commands", "ipc.queue:PacketQueue.send_items"),
    ("take outcomes from the queue", "ipc.queue:PacketQueue.receive_items"),
    ("process an outcome", "mailbox.outcomes:OutcomeHandler.handle_outcome"),
    ("process a stored message", "mailbox.outcomes:OutcomeHandler._message_sent"),
    ("void a repeated or refused message", "mailbox.outcomes:OutcomeHandler._message_voided"),
    ("process an acknowledgement", "mailbox.outcomes:OutcomeHandler._messages_acknowledged"),
    ("process a clearing", "mailbox.outcomes:OutcomeHandler._mailbox_cleared"),
    ("process an alias", "mailbox.outcomes:OutcomeHandler._alias_resolved"),
    ("process a response", "mailbox.outcomes:OutcomeHandler._response_stored"),
    ("allocate ids for a local event", "mailbox.outcomes:OutcomeHandler._allocate_ids"),
    ("advance a state in the table", "table.writer:TableWriter.advance_state"),
    ("publish counts", "table.writer:MailboxEntry.publish"),
    ("advance the high-water mark", "table.writer:TableWriter.advance_high_water_mark"),
    ("submit delivery marks", "mailbox.delivery_marks:PendingDeliveryMarks.drain_due"),
    ("announce", "mailbox.gateway_port:GatewayPort.flush"),
    ("send answers", "ipc.queue:PacketQueue.send_items"),
)
_MAILBOX_STARTS = (
    ("greet the command-queue", "ipc.link:Link.send_hello"),
    ("fill the table", "mailbox.process:fill_table"),
)
_GATEWAY = (
    ("send a request", "gateway.mailbox_client:MailboxClient.request"),
    ("send a one-way request", "gateway.mailbox_client:MailboxClient.send_oneway"),
    ("send requests", "ipc.queue:PacketQueue.send_items"),
    ("take answers from the queue", "ipc.queue:PacketQueue.receive_items"),
    ("take direct answers from the queue", "ipc.queue:PacketQueue.receive_items"),
    ("receive direct answers", "gateway.mailbox_client:MailboxClient._receive_answers"),
    ("receive events", "gateway.mailbox_client:MailboxClient._receive_events"),
    ("notify the waiters", "gateway.wakeups:Wakeups.notify"),
    ("read a page", "gateway.mail_reader:MailReader.read_after"),
    ("read an inbox", "gateway.mail_reader:MailReader.read_unread"),
    ("write an event", "gateway.encoding:EventEncoder.encode_announcement"),
)
_GATEWAY_STARTS = (("greet the mailbox", "gateway.mailbox_client:MailboxClient.send_hello"),)
_SUPERVISOR = (
    ("start a worker", "supervisor.child:Child.start"),
    ("mark a worker ready", "supervisor.child:Child.mark_ready"),
    ("reap a worker", "supervisor.child:Child.reap"),
)
_RELAY = (
    ("publish a batch", "relay.link:HostLink._publish"),
    ("make an item", "relay.link:HostLink._item_of"),
    ("have the hub take it", "relay.hub:Hub.publish"),
    ("note that the hub has it", "core.forwarding.outgoing:Outgoing.on_published"),
    ("take a batch from the hub", "relay.inbound:Inbound.take"),
    ("open a batch", "relay.inbound:open_envelope"),
    ("have its items stored", "relay.inbound:Inbound._submit"),
    ("acknowledge it to the hub", "relay.hub:Hub.acknowledge"),
    ("report what is stored", "relay.inbound:Inbound._tell"),
    ("take a report", "relay.link:HostLink.take_report"),
    ("plan by a report", "core.forwarding.outgoing:Outgoing.on_report"),
    ("send operations", "ipc.queue:PacketQueue.send_items"),
    ("take results", "ipc.queue:PacketQueue.receive_items"),
)
_RELAY_STARTS = (
    ("connect to the hub", "relay.hub:Hub._connect"),
    ("ask what is stored", "relay.link:HostLink._ask"),
    ("write the own records", "relay.host_records:HostRecords._claim"),
    ("read a host's records", "relay.host_records:HostRecords._read_host"),
)
_COMMAND_QUEUE_WITH_HUB = (
    ("queue a message for a host", "storage.database.forward_queue:ForwardQueue.add_message"),
    ("queue the first receipt", "storage.database.forward_queue:ForwardQueue.add_receipt_of"),
    ("queue receipts for a host", "storage.database.forward_queue:ForwardQueue.add_receipts"),
    ("record an intent", "storage.database.forward_queue:ForwardQueue.intend"),
    ("delete what is confirmed", "storage.database.forward_queue:ForwardQueue.confirm"),
    ("judge an arrival", "storage.database.arrivals:Arrivals.judge"),
    ("advance a position", "storage.database.arrivals:Arrivals.advance"),
    ("record an origin", "storage.database.arrivals:Arrivals.record_origin"),
    ("apply receipts of a host", "storage.database.arrivals:Arrivals.apply_receipts"),
)
_QUEUES = {
    "take commands from the queue": "writes",
    "report outcomes": "outcomes",
    "take requests from the queue": "requests",
    "send commands": "writes",
    "take outcomes from the queue": "outcomes",
    "send answers": "events",
    "send requests": "requests",
    "send operations": "requests",
    "take results": "events",
    "take answers from the queue": "events",
    "take direct answers from the queue": "answers",
}
_WITH_RESULT = frozenset(
    {
        "find files that were taken",
        "ask for ids",
        "take responses from the outbox",
        "sweep a slice",
        "submit delivery marks",
        *(name for name in _QUEUES if name.startswith("take")),
    }
)


def _points(process: str, rows: Sequence[tuple[str, str]], *, at_start: bool = False) -> list[CrashPoint]:
    return [
        CrashPoint(name, process, place, _QUEUES.get(name, ""), name in _WITH_RESULT, at_start) for name, place in rows
    ]


POINTS = (
    *_points("command-queue", _COMMAND_QUEUE),
    *_points("command-queue", _COMMAND_QUEUE_STARTS, at_start=True),
    *_points("mailbox", _MAILBOX),
    *_points("mailbox", _MAILBOX_STARTS, at_start=True),
    *_points("gateway", _GATEWAY),
    *_points("gateway", _GATEWAY_STARTS, at_start=True),
    *_points("supervisor", _SUPERVISOR),
)


HUB_POINTS = (
    *_points("relay", _RELAY),
    *_points("relay", _RELAY_STARTS, at_start=True),
    *_points("command-queue", _COMMAND_QUEUE_WITH_HUB),
)
"""Those of mail between hosts."""

REMOVAL_POINTS = (
    *_points("relay", (("give back what waits", "relay.link:HostLink._return"),)),
    *_points(
        "command-queue",
        (
            ("mark returned", "storage.database.message_steps:MessageSteps.mark_returned"),
            ("take out of the queue", "storage.database.forward_queue:ForwardQueue.give_up"),
        ),
    ),
)
"""Those of the return of mail for a host that was removed."""


def points_of(process: str) -> list[CrashPoint]:
    """Returns the points of one process, in the order of the way of a message, without those of mail between hosts."""
    return [one for one in POINTS if one.process == process]


def arm(process: str, shot: Shot, journal: str) -> None:
    """Lays the fuse in this process.

    Args:
        journal: a file; gets the line "process: moment name" when the fuse burns.

    Raises:
        AttributeError, ImportError, StopIteration: there is no such point (any more).
    """
    points = (*POINTS, *HUB_POINTS, *REMOVAL_POINTS)
    point = next(one for one in points if (one.process, one.name) == (process, shot.name))
    owner, name = resolve(point.place)
    function = getattr(owner, name)
    setattr(owner, name, _with_fuse(function, point, _Fuse(shot, f"{process}: {shot.moment} {shot.name}", journal)))


def resolve(place: str) -> tuple[Any, str]:
    """Returns whose attribute the function is, and its name there."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(f"mailroomd.{module}")
    *outer, name = path.split(".")
    for one in outer:
        owner = getattr(owner, one)
    getattr(owner, name)
    return owner, name


@dataclass
class _Fuse:
    """Counts the passings of one moment, and kills this process at the last one."""

    shot: Shot
    line: str
    journal: str
    passed: int = 0

    def pass_by(self, moment: str) -> None:
        if moment != self.shot.moment:
            return
        self.passed += 1
        if self.passed == self.shot.passing:
            handle = os.open(self.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(handle, f"{self.line}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


def _with_fuse(function: Callable[..., Any], point: CrashPoint, fuse: _Fuse) -> Callable[..., Any]:
    def is_meant(arguments: tuple[Any, ...]) -> bool:
        return not point.queue or arguments[0].name.startswith(point.queue)

    @functools.wraps(function)
    def passing(*arguments: Any, **named: Any) -> Any:
        if not is_meant(arguments):
            return function(*arguments, **named)
        fuse.pass_by(BEFORE)
        result = function(*arguments, **named)
        if result or not point.with_result:
            fuse.pass_by(AFTER)
        return result

    @functools.wraps(function)
    async def passing_later(*arguments: Any, **named: Any) -> Any:
        fuse.pass_by(BEFORE)
        result = await function(*arguments, **named)
        fuse.pass_by(AFTER)
        return result

    return passing_later if inspect.iscoroutinefunction(function) else passing
