"""Link — one process's end of a pair of queues, with the handshake that handles restarts.

Owns the backlog towards the peer and the epochs. A process that starts sends Hello(epoch) and ignores everything until
its peer answers Reset(epoch). The peer answers once everything that it received earlier is processed, and then repeats
what is unanswered. If both have restarted a Hello may have to be sent twice; the owner receives each start of its peer
once. Not here: what items mean, and which of them are unanswered (the owner passes a function).
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

FLUSH_ITEMS = 4096  # items passed to the queue at once: some milliseconds of work


class Link(Generic[Received, Sent]):
    """Sends and receives items; call `send_hello` first.

    Args:
        epoch: number of this start of this process.
        inbound: the queue that this process reads.
        outbound: the queue that this process writes.
        unanswered: returns what must be repeated to a peer that restarted, in order.
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
        self.is_established = False
        """Whether the peer has answered this process's Hello."""

    @property
    def backlog(self) -> int:
        """How many items wait for room in the outbound queue."""
        return len(self._backlog)

    def send_hello(self) -> None:
        """Tells the peer that this process has started. Needed once, before anything is received."""
        self._backlog.append(Hello(self._epoch))
        self.flush()

    def receive(self) -> list[Received | Hello]:
        """Returns what has arrived: items once the peer has answered, and one Hello per start of the peer.

        Pass each Hello to `answer_hello` when everything before it is processed.
        """
        received: list[Received | Hello] = []
        for item in self._inbound.receive_items():
            if type(item) is Reset:
                self.is_established = self.is_established or item.epoch == self._epoch
            elif type(item) is Hello:
                if item.epoch != self._peer_epoch:  # otherwise it is answered already, or about to be
                    self._peer_epoch = item.epoch
                    received.append(item)
            elif self.is_established:
                received.append(item)
        return received

    def answer_hello(self, hello: Hello) -> None:
        """Answers a peer that restarted. Call it when everything received earlier is processed."""
        self._backlog.clear()
        self._backlog.append(Reset(hello.epoch))
        if not self.is_established:
            self._backlog.append(Hello(self._epoch))
        self._backlog.extend(self._unanswered())
        self.flush()

    def send(self, item: Sent) -> None:
        """Queues an item for the peer; `flush` sends it."""
        self._backlog.append(item)

    def drop(self, is_obsolete: Callable[[Sent], bool]) -> None:
        """Removes items from the backlog that no caller waits for any more."""
        kept = [item for item in self._backlog if isinstance(item, Hello | Reset) or not is_obsolete(item)]
        self._backlog = deque(kept)

    def flush(self) -> bool:
        """Sends as much as the queue has room for, up to its SEND_BYTES; returns whether everything was sent.

        A shortage of descriptors or memory for a large item counts as no room: the next call tries again.
        """
        if not self._backlog:
            return True
        try:
            sent = self._outbound.send_items(list(islice(self._backlog, FLUSH_ITEMS)))
        except OSError:
            return False
        for _ in range(sent):
            self._backlog.popleft()
        return not self._backlog
