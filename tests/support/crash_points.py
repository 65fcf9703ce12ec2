"""crash_points — the named points at which a process can be killed, and the fuse that does it.

A point is a function of the daemon on the way of something that must not be lost; there are two moments at each, before
and after. The fuse is laid around the function in the one process that is to die (`crashing_worker`,
`crashing_daemon`), so the daemon itself has no switch for it and pays nothing. Not here: which points are taken when
(the tests). Invariant: a fuse that burns leaves a line in the journal before the process is gone.
"""

__all__ = ["AFTER", "BEFORE", "MOMENTS", "POINTS", "CrashPoint", "Shot", "arm", "points_of"]

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
    ("take commands from the queue", "ipc.queue:PacketQueue.get_many_nowait"),
    ("commit", "storage.message_store:MessageStore.commit"),
    ("look at one message", "storage.message_store:MessageStore._write_message"),
    ("remember the key", "storage.request_keys:RequestKeys.remember"),
    ("insert the rows", "storage.message_store:MessageStore._insert"),
    ("count, the last before COMMIT", "storage.mailbox_counters:MailboxCounters.settle"),
    ("mark read", "storage.message_steps:MessageSteps.read"),
    ("mark offered", "storage.message_steps:MessageSteps.offer"),
    ("mark expired", "storage.message_steps:MessageSteps.expire"),
    ("write receipts", "storage.receipts:ReceiptRows.write"),
    ("file a commit", "storage.filing:Filing.file"),
    ("write a file", "storage.inbox_files:InboxFiles.write"),
    ("fill a file, before its rename", "storage.inbox_files:_write_whole"),
    ("take files away", "storage.filing:Filing.take_away"),
    ("remove a file", "storage.inbox_files:InboxFiles.remove"),
    ("report outcomes", "ipc.queue:PacketQueue.put_many_nowait"),
    ("find files that were taken", "storage.filing:Filing.collect"),
    ("ask for places", "processes.discoveries:Discoveries.requests"),
    ("commit what was found", "storage.message_store:MessageStore._write_found"),
    ("let a finding go", "processes.finds:Finds.committed"),
    ("take responses from the outbox", "storage.outbox:Outbox.collect"),
    ("write a response", "storage.responses:ResponseRows.write"),
    ("delete a response's file", "storage.outbox:Outbox.delete"),
    ("append to a team inbox", "storage.team_inbox:TeamInboxes.append"),
    ("prepare a team inbox, before its rename", "storage.team_inbox:_prepare"),
    ("replace a team inbox, before its sync", "storage.team_inbox:TeamInboxes._append"),
    ("note a team entry", "storage.file_ledger:FileLedger.note_team_errors"),
    ("write an alias", "storage.alias_rows:AliasRows.write"),
    ("clear a mailbox", "storage.retention:Retention.clear"),
    ("forget cleared files", "storage.file_ledger:FileLedger.forget_cleared"),
    ("sweep a slice", "storage.retention:Retention.remove_ended"),
    ("commit a sweep", "storage.message_store:MessageStore.delete_ended"),
    ("forget old keys", "storage.message_store:MessageStore.forget_old"),
    ("fill the index", "storage.search_index:SearchIndex.fill"),
    ("commit the index", "storage.message_store:MessageStore.index_more"),
    ("sync the files", "processes.housekeeping:sync_filesystem"),
    ("note what is synced", "storage.message_store:MessageStore.note_synced"),
    ("checkpoint", "processes.housekeeping:checkpoint"),
)
_COMMAND_QUEUE_STARTS = (
    ("open the database", "storage.transactions:open_store"),
    ("settle the log", "storage.transactions:settle_log"),
    ("recover the files", "processes.command_queue:recover_files"),
    ("greet the mailbox", "ipc.link:Link.greet"),
)
_MAILBOX = (
    ("take requests from the queue", "ipc.queue:PacketQueue.get_many_nowait"),
    ("give an id", "processes.orders:Orders.issue"),
    ("append to the table", "storage.table_writer:TableWriter.append"),
    ("order", "processes.orders:Orders.order"),
    ("send orders", "ipc.queue:PacketQueue.put_many_nowait"),
    ("take outcomes from the queue", "ipc.queue:PacketQueue.get_many_nowait"),
    ("settle an outcome", "processes.settlement:Settlement.apply"),
    ("settle a message", "processes.settlement:Settlement._message_written"),
    ("settle a reading", "processes.settlement:Settlement._messages_read"),
    ("settle a clearing", "processes.settlement:Settlement._mailbox_cleared"),
    ("settle an alias", "processes.settlement:Settlement._alias_written"),
    ("settle a response", "processes.settlement:Settlement._response_written"),
    ("grant places", "processes.settlement:Settlement._grant"),
    ("move a state in the table", "storage.table_writer:TableWriter.advance_state"),
    ("publish counts", "storage.table_writer:MailboxEntry.publish"),
    ("move the mark", "storage.table_writer:TableWriter.move_mark"),
    ("order offers", "processes.offers:Offers.take"),
    ("announce", "processes.gateway_port:GatewayPort.flush"),
    ("send answers", "ipc.queue:PacketQueue.put_many_nowait"),
)
_MAILBOX_STARTS = (
    ("greet the command-queue", "ipc.link:Link.greet"),
    ("fill the table", "processes.mailbox:fill_table"),
)
_GATEWAY = (
    ("ask the mailbox", "rpc.calls:Calls.ask"),
    ("tell the mailbox", "rpc.calls:Calls.tell"),
    ("send requests", "ipc.queue:PacketQueue.put_many_nowait"),
    ("take answers from the queue", "ipc.queue:PacketQueue.get_many_nowait"),
    ("hear answers", "rpc.calls:Calls._hear"),
    ("ring the bells", "rpc.bells:Bells.ring"),
    ("read a page", "rpc.mail_reader:MailReader.after"),
    ("read an inbox", "rpc.mail_reader:MailReader.unread"),
    ("write an event", "rpc.encoding:EventEncoder.announcement"),
)
_GATEWAY_STARTS = (("greet the mailbox", "rpc.calls:Calls.greet"),)
_SUPERVISOR = (
    ("start a worker", "supervisor.child:Child.start"),
    ("note that a worker is ready", "supervisor.child:Child.note_ready"),
    ("reap a worker", "supervisor.child:Child.reap"),
)
_QUEUES = {
    "take commands from the queue": "writes",
    "report outcomes": "outcomes",
    "take requests from the queue": "requests",
    "send orders": "writes",
    "take outcomes from the queue": "outcomes",
    "send answers": "events",
    "send requests": "requests",
    "take answers from the queue": "events",
}
_WITH_RESULT = frozenset(
    {
        "find files that were taken",
        "ask for places",
        "take responses from the outbox",
        "sweep a slice",
        "order offers",
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


def points_of(process: str) -> list[CrashPoint]:
    """Returns the points of one process, in the order of the way of a message."""
    return [one for one in POINTS if one.process == process]


def arm(process: str, shot: Shot, journal: str) -> None:
    """Lays the fuse in this process.

    Args:
        journal: a file; gets the line "process: moment name" when the fuse burns.

    Raises:
        AttributeError, ImportError, StopIteration: there is no such point (any more).
    """
    point = next(one for one in points_of(process) if one.name == shot.name)
    owner, name = _look_up(point.place)
    function = getattr(owner, name)
    setattr(owner, name, _with_fuse(function, point, _Fuse(shot, f"{process}: {shot.moment} {shot.name}", journal)))


def _look_up(place: str) -> tuple[Any, str]:
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
