"""FairScheduler — decides whose request goes to the mailbox next, so that one agent's flood does not delay others.

Owns how many requests of one flow may be in flight: many while it is alone (a large commit is a cheap one); one, or 64
of a batch, while others are active too. Its other requests are queued here, in order. Pure: the caller passes the
clock. Not here: how many requests may be pending in all, and for how long (`MailboxClient`).
Invariant: a flow that makes one request at a time is never queued.
"""

__all__ = [
    "MAX_BATCH_IN_FLIGHT_CONTENDED",
    "MAX_IN_FLIGHT_ALONE",
    "MAX_IN_FLIGHT_CONTENDED",
    "FairScheduler",
    "FlowKey",
]

from collections.abc import Callable
from typing import NamedTuple

MAX_IN_FLIGHT_ALONE = 256  # more make no larger commits, and a newcomer waits for all of them: some 30 ms
# Low enough that requests are stored more slowly than the gateway could accept calls. Otherwise calls queue up in front
# of the gateway, where nothing can overtake them. Already with 2 the others' p99 is six times that of an idle daemon.
MAX_IN_FLIGHT_CONTENDED = 1
MAX_BATCH_IN_FLIGHT_CONTENDED = 64  # a batch is a single call, so nothing queues up in front of the gateway
ALONE_AFTER_SEC = 1.0  # without a request of any other flow


class FlowKey(NamedTuple):
    """The flow that a request belongs to: its agent's, with a separate one for the agent's batches."""

    agent: str
    in_batch: bool = False


class _Flow:
    """The requests of one flow: those queued, in order, and the number in flight."""

    __slots__ = ("in_flight", "queued")

    def __init__(self) -> None:
        self.in_flight = 0
        self.queued: dict[int, None] = {}


class FairScheduler:
    """Schedules requests by their flows.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._flows: dict[FlowKey, _Flow] = {}
        self._last_active: dict[FlowKey, float] = {}  # the two flows that were active last, and when

    def submit(self, key: FlowKey, call_id: int) -> bool:
        """Adds a request; returns whether it may be sent now. If not, a later `complete` returns its call id."""
        flow = self._flows.setdefault(key, _Flow())
        self._record_activity(key)
        if flow.queued or flow.in_flight >= self._max_in_flight(key):
            flow.queued[call_id] = None
            return False
        flow.in_flight += 1
        return True

    def complete(self, key: FlowKey, call_id: int) -> list[int]:
        """Removes a request, whether queued or in flight; returns the call ids that may be sent now."""
        flow = self._flows[key]
        if call_id in flow.queued:
            del flow.queued[call_id]
        else:
            flow.in_flight -= 1
        room = self._max_in_flight(key) - flow.in_flight
        released = [queued_id for queued_id, _ in zip(flow.queued, range(room), strict=False)]
        for released_id in released:
            del flow.queued[released_id]
        flow.in_flight += len(released)
        if not flow.in_flight:
            del self._flows[key]
        self._record_activity(key)
        return released

    def is_queued(self, key: FlowKey, call_id: int) -> bool:
        """Returns whether a request has not been sent yet."""
        flow = self._flows.get(key)
        return flow is not None and call_id in flow.queued

    def _is_alone(self, key: FlowKey) -> bool:
        """Returns whether no other flow has a request now or had one a moment ago."""
        since = self._clock() - ALONE_AFTER_SEC
        others_active = len(self._flows) > (key in self._flows)
        return not others_active and all(when < since for other, when in self._last_active.items() if other != key)

    def _record_activity(self, key: FlowKey) -> None:
        self._last_active.pop(key, None)
        self._last_active[key] = self._clock()
        if len(self._last_active) > 2:
            del self._last_active[next(iter(self._last_active))]

    def _max_in_flight(self, key: FlowKey) -> int:
        if self._is_alone(key):
            return MAX_IN_FLIGHT_ALONE
        return MAX_BATCH_IN_FLIGHT_CONTENDED if key.in_batch else MAX_IN_FLIGHT_CONTENDED
