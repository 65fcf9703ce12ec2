"""LocalEvents — what the command-queue learns by itself, from its discovery to its commit.

Owns the polling (files that agents took, files that are written late, mail that is due, responses in the outbox), the
requests for sequence ids, and what follows a commit: a response's file is deleted only then. Only the mailbox allocates
ids, so an event waits for them; a mailbox that restarted is asked again. Not here: committing (`Committer`,
`MessageStore`). It observes commits. Above: the command-queue's loop.
Invariant: an event is kept until a transaction that contains it has succeeded, or it is set aside: then its file or its
message stays as it is, and is found again by the next start.
"""

__all__ = [
    "IDS_PER_REQUEST",
    "RETRY_SEC",
    "WAITING_BYTES",
    "LocalEvents",
    "PendingEvents",
]

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from mailroomd.command_queue.commit import Commit, CommitObserver, Refusal
from mailroomd.command_queue.due_mail import POLL_SEC, DueMail
from mailroomd.core.suspect_input import NOT_OF_INPUT
from mailroomd.model.ids import format_id
from mailroomd.observability.log import log
from mailroomd.protocol.local_events import (
    EntriesTaken,
    FilesTaken,
    LocalEvent,
    MailExpired,
    MailFiled,
    MailOverdue,
    ResponseLeft,
    TeamEnded,
)
from mailroomd.protocol.operations import IdsAllocated
from mailroomd.protocol.packets import Command
from mailroomd.protocol.reports import AllocateIds
from mailroomd.storage.database.message_store import MessageStore, SequencedEvent, StoredMail
from mailroomd.storage.inbox.filing import Filing
from mailroomd.storage.outbox.file import OutboxFile, shown
from mailroomd.storage.outbox.outbox import Outbox

IDS_PER_REQUEST = 500  # keeps the transaction of one request small
WAITING_BYTES = 16 << 20  # of responses that wait to be committed; beyond it the outbox is not read
WAITING_RESPONSES = 5000  # likewise: each takes a kilobyte, however small its body
RETRY_SEC = 1.0  # after a transaction that failed
ATTEMPTS_MOST = 3  # at an event that cannot be executed; then it is set aside until the next start
REQUEST_BITS = 40  # of a request's number; the epoch is above them


class LocalEvents(CommitObserver):
    """Finds events, and keeps each until it is committed.

    Args:
        store: knows which messages expired, and which were not answered in time.
        filing: the inbox files.
        outbox: the responses.
        epoch: which start of the command-queue it is.
    """

    def __init__(self, store: MessageStore, filing: Filing, outbox: Outbox, epoch: int = 0) -> None:
        self._expiring = DueMail(MailExpired, store.expired, store.next_expiry_ms)
        self._awaiting_reply = DueMail(MailOverdue, store.overdue, store.next_deadline_ms)
        self._filing = filing
        self._outbox = outbox
        self._pending = PendingEvents(epoch)
        self._response_files: dict[ResponseLeft, OutboxFile] = {}

    def filenos(self) -> list[int]:
        """Returns the descriptors that become readable when `poll` should be called."""
        return [fileno for fileno in (self._filing.fileno(), self._outbox.fileno()) if fileno is not None]

    def enqueue(self, event: LocalEvent) -> None:
        """Adds an event that was found elsewhere: by the recovery, or in a team inbox."""
        self._pending.enqueue(event)

    def poll(self, now_sec: float, now_ms: int) -> float:
        """Looks for events; returns for how many seconds nothing will be due.

        Raises:
            StoreFull, StoreFailed: from `Filing.collect_taken`; no event is lost.
        """
        for taken in self._filing.collect_taken(now_sec):
            self._pending.enqueue(taken)
        pause_sec = min(self._poll_due(due, now_sec, now_ms) for due in (self._expiring, self._awaiting_reply))
        retry_at_sec = self._filing.next_retry_sec
        if retry_at_sec is not None and retry_at_sec <= now_sec:
            self._retry_files(now_sec)
            retry_at_sec = self._filing.next_retry_sec
        if retry_at_sec is not None:
            pause_sec = min(pause_sec, max(0.0, retry_at_sec - now_sec))
        if self._pending.has_room:
            self._poll_outbox(now_sec)
            pause_sec = min(pause_sec, self._outbox.due_in_sec(now_sec))
        return min(pause_sec, self._filing.due_in_sec(now_sec), self._pending.due_in_sec(now_sec))

    def drain_requests(self, now_sec: float) -> list[AllocateIds]:
        """Returns the requests for ids that are due and have not been made."""
        return self._pending.drain_requests(now_sec)

    def unanswered_requests(self) -> list[AllocateIds]:
        """Returns the requests that are not answered yet, for a mailbox that restarted."""
        return self._pending.unanswered_requests()

    def sequence(self, command: Command, allocated: IdsAllocated) -> SequencedEvent:
        """Returns the event with the ids that were allocated to it, those of a command."""
        return self._pending.sequence(command, allocated)

    def on_committed(self, commit: Commit) -> None:
        """Drops the events of a transaction, and does what their commit allows."""
        for request in _requests_of(commit.commands):
            event = self._pending.on_committed(request)
            try:
                self._follow_up(event)
            except NOT_OF_INPUT:
                raise
            except Exception:  # noqa: BLE001 - of this event, which is durable: the next start does the rest
                log.exception("follow-up of a local event failed", event_kind=type(event).__name__)
        self._schedule_due(commit.result.mail)

    def on_refused(self, refusal: Refusal) -> None:
        """Has events that could not be committed ask for new ids a little later, or sets them aside."""
        for request in _requests_of(refusal.commands):
            if refusal.is_set_aside:
                self._set_aside(request)
            else:
                self._pending.postpone(request, time.monotonic())

    def _set_aside(self, request: int) -> None:
        """Deals with an event whose transaction raised: each of its messages alone, a few attempts, then none."""
        event = self._pending.set_aside(request, time.monotonic())
        if event is None:
            return
        if isinstance(event, ResponseLeft):
            self._response_files.pop(event, None)  # the file stays, and is not collected again while it is the same
            described: dict[str, object] = {"session_id": event.session, "file": shown(event.file_name)}
        else:
            described = {"message_id": ", ".join(map(format_id, event.message_ids))}
            for due in self._due_mail(event):
                due.set_aside(event.message_ids)
        log.error("local event set aside until the next start", event_kind=type(event).__name__, **described)

    def _follow_up(self, event: LocalEvent | None) -> None:
        """Does what the commit of an event allows."""
        if isinstance(event, ResponseLeft):
            file = self._response_files.pop(event, None)
            if file is not None:
                self._outbox.remove_response(file)
        elif isinstance(event, FilesTaken):
            self._filing.on_committed(event)
        elif isinstance(event, MailFiled):
            self._filing.on_committed(event)
            log.info("delayed inbox files written", files=event.id_count, waiting=self._filing.unfiled)
        for due in self._due_mail(event):
            due.look_again()  # there may be more

    def close(self) -> None:
        """Closes every handle."""
        self._filing.close()
        self._outbox.close()

    def _schedule_due(self, mail: Iterable[StoredMail]) -> None:
        """Takes new messages into account: one of them may be the next to expire, or to be answered too late."""
        for message in mail:
            if message.draft.ttl_ms:
                self._expiring.schedule(message.timestamp_ms + message.draft.ttl_ms)
            if message.draft.reply_by_ms:
                self._awaiting_reply.schedule(message.draft.reply_by_ms)

    def _poll_due(self, due: DueMail, now_sec: float, now_ms: int) -> float:
        if self._pending.contains(due.event):
            return POLL_SEC
        event, pause_sec = due.poll(now_sec, now_ms)
        if event is not None:
            self._pending.enqueue(event)
        return pause_sec

    def _due_mail(self, event: LocalEvent | None) -> list[DueMail]:
        return [due for due in (self._expiring, self._awaiting_reply) if isinstance(event, due.event)]

    def _retry_files(self, now_sec: float) -> None:
        filed = self._filing.retry_due(now_sec)
        if filed:
            self._pending.enqueue(MailFiled(tuple(filed)))

    def _poll_outbox(self, now_sec: float) -> None:
        for file in self._outbox.collect_responses(now_sec):
            event = ResponseLeft(file.session, file.name, file.identity.lasting, file.body)
            self._response_files[event] = file
            self._pending.enqueue(event)


@dataclass(slots=True)
class _Pending:
    event: LocalEvent
    due_sec: float = -math.inf
    is_requested: bool = False
    failures: int = 0


class PendingEvents:
    """The events that are not committed yet, by the number of their request for ids.

    Args:
        epoch: which start of the command-queue it is. A mailbox repeats its answers to requests of a predecessor; if
            their numbers were used again, a new event would be committed at ids that are taken.
    """

    def __init__(self, epoch: int = 0) -> None:
        self._pending: dict[int, _Pending] = {}
        self._last_request = epoch << REQUEST_BITS
        self._response_bytes = 0
        self._response_count = 0

    @property
    def has_room(self) -> bool:
        """Whether responses may be added."""
        return self._response_bytes < WAITING_BYTES and self._response_count < WAITING_RESPONSES

    def contains(self, kind: type[LocalEvent]) -> bool:
        """Returns whether an event of this kind is not committed yet."""
        return any(isinstance(pending.event, kind) for pending in self._pending.values())

    def enqueue(self, event: LocalEvent) -> None:
        """Adds an event, in parts if it is large."""
        for part in _split(event):
            self._last_request += 1
            self._pending[self._last_request] = _Pending(part)
            self._response_bytes += _response_bytes(part)
            self._response_count += isinstance(part, ResponseLeft)

    def due_in_sec(self, now_sec: float) -> float:
        """Returns after how many seconds `drain_requests` will return something."""
        first = min((event.due_sec for event in self._pending.values() if not event.is_requested), default=math.inf)
        return max(0.0, first - now_sec)

    def drain_requests(self, now_sec: float) -> list[AllocateIds]:
        """Returns the requests for ids that are due and have not been made."""
        due = [
            (request, pending)
            for request, pending in self._pending.items()
            if not pending.is_requested and pending.due_sec <= now_sec
        ]
        for _, pending in due:
            pending.is_requested = True
        return [_request(request, pending.event) for request, pending in due]

    def unanswered_requests(self) -> list[AllocateIds]:
        """Returns the requests that are not answered yet, for a mailbox that restarted."""
        return [_request(request, pending.event) for request, pending in self._pending.items() if pending.is_requested]

    def sequence(self, command: Command, allocated: IdsAllocated) -> SequencedEvent:
        """Returns the event with the ids that were allocated to it; without an event if the request is unknown."""
        pending = self._pending.get(allocated.request)
        event = pending.event if pending is not None else None
        return SequencedEvent(command.id, command.last_id, event, allocated.agent)

    def on_committed(self, request: int) -> LocalEvent | None:
        """Drops the event of a request and returns it; returns None if the request is unknown."""
        pending = self._pending.pop(request, None)
        if pending is None:
            return None
        self._response_bytes -= _response_bytes(pending.event)
        self._response_count -= isinstance(pending.event, ResponseLeft)
        return pending.event

    def postpone(self, request: int, now_sec: float) -> None:
        """Voids the ids of an event that could not be committed; it asks for new ones a little later."""
        pending = self._pending.get(request)
        if pending is not None:
            pending.is_requested, pending.due_sec = False, now_sec + RETRY_SEC

    def set_aside(self, request: int, now_sec: float) -> LocalEvent | None:
        """Voids the ids of an event that cannot be executed, and drops it after some attempts.

        An event of several messages is replaced by two with half of them, so that only the one at fault is dropped.

        Returns:
            The event if it was dropped.
        """
        pending = self._pending.get(request)
        if pending is None:
            return None
        parts = _split(pending.event, max(1, pending.event.id_count // 2))
        if len(parts) == 1:
            pending.failures += 1
            if pending.failures < ATTEMPTS_MOST:
                self.postpone(request, now_sec)
                return None
            return self.on_committed(request)
        self.on_committed(request)
        for part in parts:
            self.enqueue(part)
        return None


def _requests_of(commands: Iterable[Command]) -> list[int]:
    return [command.op.request for command in commands if isinstance(command.op, IdsAllocated)]


def _request(request: int, event: LocalEvent) -> AllocateIds:
    return AllocateIds(request, event.id_count, event.session if isinstance(event, ResponseLeft) else "")


def _response_bytes(event: LocalEvent) -> int:
    return len(event.body) if isinstance(event, ResponseLeft) else 0


def _split(event: LocalEvent, most: int = IDS_PER_REQUEST) -> list[LocalEvent]:
    if isinstance(event, ResponseLeft) or event.id_count <= most:
        return [event]
    message_ids = event.message_ids
    parts = [message_ids[start : start + most] for start in range(0, len(message_ids), most)]
    match event:
        case FilesTaken(mailbox, _) | EntriesTaken(mailbox, _) | TeamEnded(mailbox, _):
            return [type(event)(mailbox, part) for part in parts]
        case MailExpired():
            return [MailExpired(part) for part in parts]
        case MailOverdue():
            return [MailOverdue(part) for part in parts]
        case MailFiled():
            return [MailFiled(part) for part in parts]
