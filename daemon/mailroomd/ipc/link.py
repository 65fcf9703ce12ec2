"""Link — one process's end of a pair of queues, with the handshake that settles restarts.

Owns the backlog towards the peer and the epochs. A process that starts says Hello(epoch) and hears nothing until its
peer answers Reset(epoch); the peer answers once all that it had read before is settled, then repeats what is
unanswered. (The architecture's Fence is this same Hello on `writes`: the command-queue answers it after committing what
it had read.) Where both have restarted a Hello may be needed twice; the owner hears of each start of its peer once.
Not here: what the items mean, and what "unanswered" is: the owner gives a function.
Invariant: no packet of a predecessor's conversation is ever taken for one of this conversation.
"""

__all__ = ["Link"]

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Generic, TypeVar

from mailroomd.ipc.queue import PacketQueue
from mailroomd.protocol.packets import Hello, Reset

Received = TypeVar("Received")
Sent = TypeVar("Sent")

FLUSH_ITEMS = 512  # items handed to the queue at once: a few full packets


class Link(Generic[Received, Sent]):
    """Sends and receives items; call `greet` first.

    Args:
        epoch: which start of this process it is.
        inbound: the queue that this process reads.
        outbound: the queue that this process writes.
        unanswered: gives what must be said again to a peer that restarted, in order.
    """

    def __init__(
        self,
        epoch: int,
        inbound: PacketQueue[Any],
        outbound: PacketQueue[Any],
        unanswered: Callable[[], Iterable[Sent]],
    ) -> None:
        self._epoch = epoch
        self._inbound = inbound
        self._outbound = outbound
        self._unanswered = unanswered
        self._backlog: deque[Sent | Hello | Reset] = deque()
        self._peer_epoch = 0
        self.is_hearing = False
        """Whether the peer has answered this process's Hello."""

    @property
    def backlog(self) -> int:
        """How many items wait for room in the outbound queue."""
        return len(self._backlog)

    def greet(self) -> None:
        """Says that this process is new. Needed once, before anything is received."""
        self._backlog.append(Hello(self._epoch))
        self.flush()

    def receive(self) -> list[Received | Hello]:
        """Returns what has come: items once the peer has answered, and the Hello of each start of it, for `welcome`."""
        heard: list[Received | Hello] = []
        for item in self._inbound.get_many_nowait():
            if type(item) is Reset:
                self.is_hearing = self.is_hearing or item.epoch == self._epoch
            elif type(item) is Hello:
                if item.epoch != self._peer_epoch:  # else this process has answered it, or is about to
                    self._peer_epoch = item.epoch
                    heard.append(item)
            elif self.is_hearing:
                heard.append(item)
        return heard

    def welcome(self, hello: Hello) -> None:
        """Answers a peer that restarted. Call it when all that was received before is settled."""
        self._backlog.clear()
        self._backlog.append(Reset(hello.epoch))
        if not self.is_hearing:
            self._backlog.append(Hello(self._epoch))
        self._backlog.extend(self._unanswered())
        self.flush()

    def send(self, item: Sent) -> None:
        """Takes an item for the peer; `flush` sends it."""
        self._backlog.append(item)

    def drop(self, is_gone: Callable[[Sent], bool]) -> None:
        """Takes items back that nobody waits for any more and that were not sent yet."""
        kept = [item for item in self._backlog if isinstance(item, Hello | Reset) or not is_gone(item)]
        self._backlog = deque(kept)

    def flush(self) -> bool:
        """Sends what the queue has room for; returns whether all is sent.

        No descriptor or memory for a large item is like no room: the next call tries again.
        """
        while self._backlog:
            waiting = list(islice(self._backlog, FLUSH_ITEMS))
            try:
                sent = self._outbound.put_many_nowait(waiting)
            except OSError:
                return False
            for _ in range(sent):
                self._backlog.popleft()
            if sent < len(waiting):
                return False
        return True
