"""PendingEvents — what the command-queue has found and what is not committed yet: it waits for its places in the order.

Owns the numbers of the requests for places, and the findings behind them, until they are committed. A mailbox that
restarted is asked again; a grant that belongs to no finding (any more) does nothing.
Not here: finding and what follows (`LocalEvents`), committing (`MessageStore`).
Invariant: a finding is kept until a transaction with it has succeeded.
"""

__all__ = ["PendingEvents"]

import math
from dataclasses import dataclass

from mailroomd.protocol.commands import AllocateIds, IdsAllocated
from mailroomd.protocol.local_events import FilesTaken, LocalEvent, MailExpired, MailFiled, ResponseLeft
from mailroomd.storage.database.message_store import SequencedEvent

PLACES_MOST = 500  # in one request: keeps its transaction small
WAITING_BYTES = 16 << 20  # of responses; beyond it the outbox is not read, and what lies there waits
WAITING_RESPONSES = 5000  # likewise: a kilobyte each, however small its body
REQUEST_BITS = 40  # of a request's number; the epoch stands above
AGAIN_SEC = 1.0  # after a transaction that failed


@dataclass(slots=True)
class _Waiting:
    finding: LocalEvent
    due_sec: float = -math.inf
    is_asked: bool = False


class PendingEvents:
    """Keeps findings until they are committed.

    Args:
        epoch: which start of the command-queue it is. A mailbox repeats grants that a predecessor asked for; were its
            numbers used again, a new finding would be committed at places that are taken.
    """

    def __init__(self, epoch: int = 0) -> None:
        self._waiting: dict[int, _Waiting] = {}
        self._last_request = epoch << REQUEST_BITS
        self._bytes = 0
        self._responses = 0

    @property
    def has_room(self) -> bool:
        """Whether responses may be added."""
        return self._bytes < WAITING_BYTES and self._responses < WAITING_RESPONSES

    def is_waiting(self, kind: type[LocalEvent]) -> bool:
        """Returns whether a finding of this kind is not committed yet."""
        return any(isinstance(one.finding, kind) for one in self._waiting.values())

    def add(self, finding: LocalEvent) -> None:
        """Takes a finding, in parts where it is large."""
        for part in _parts(finding):
            self._last_request += 1
            self._waiting[self._last_request] = _Waiting(part)
            self._bytes += _weight(part)
            self._responses += isinstance(part, ResponseLeft)

    def due(self, now_sec: float) -> float:
        """Returns after how many seconds `requests` has something."""
        first = min((one.due_sec for one in self._waiting.values() if not one.is_asked), default=math.inf)
        return max(0.0, first - now_sec)

    def requests(self, now_sec: float) -> list[AllocateIds]:
        """Returns the requests for places that are due and were not made yet."""
        due = [(number, one) for number, one in self._waiting.items() if not one.is_asked and one.due_sec <= now_sec]
        for _, one in due:
            one.is_asked = True
        return [_request(number, one.finding) for number, one in due]

    def asked(self) -> list[AllocateIds]:
        """Returns the requests that were made and are not granted, for a mailbox that restarted."""
        return [_request(number, one.finding) for number, one in self._waiting.items() if one.is_asked]

    def found_at(self, grant: IdsAllocated) -> SequencedEvent:
        """Returns what is to be committed at the granted places."""
        waiting = self._waiting.get(grant.request)
        return SequencedEvent(grant.id, grant.last_id, waiting.finding if waiting is not None else None, grant.agent)

    def committed(self, request: int) -> LocalEvent | None:
        """Takes note that a finding is committed; returns it."""
        waiting = self._waiting.pop(request, None)
        if waiting is None:
            return None
        self._bytes -= _weight(waiting.finding)
        self._responses -= isinstance(waiting.finding, ResponseLeft)
        return waiting.finding

    def put_off(self, request: int, now_sec: float) -> None:
        """Takes note that a finding could not be committed: its places are void, and it asks again a little later."""
        waiting = self._waiting.get(request)
        if waiting is not None:
            waiting.is_asked, waiting.due_sec = False, now_sec + AGAIN_SEC


def _request(number: int, finding: LocalEvent) -> AllocateIds:
    return AllocateIds(number, finding.places, finding.session if isinstance(finding, ResponseLeft) else "")


def _weight(finding: LocalEvent) -> int:
    return len(finding.body) if isinstance(finding, ResponseLeft) else 0


def _parts(finding: LocalEvent) -> list[LocalEvent]:
    if isinstance(finding, ResponseLeft) or finding.places <= PLACES_MOST:
        return [finding]
    ids = finding.message_ids
    slices = [ids[at : at + PLACES_MOST] for at in range(0, len(ids), PLACES_MOST)]
    match finding:
        case FilesTaken(mailbox, _):
            return [FilesTaken(mailbox, part) for part in slices]
        case MailExpired():
            return [MailExpired(part) for part in slices]
        case MailFiled():
            return [MailFiled(part) for part in slices]
