"""GatewayPort — the mailbox worker's connection to one gateway.

Owns the link to it, its subscriber counts as last reported, and what is to be announced to it: a set of names, so that
a gateway that does not read costs no more memory than that. Not here: processing requests (`RequestHandler`).
"""

__all__ = ["GatewayPort", "Received"]

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from mailroomd.ipc.link import Link
from mailroomd.ipc.queue import PacketQueue
from mailroomd.ipc.readiness import Readiness
from mailroomd.protocol.packets import (
    AliasChanged,
    AliasesSent,
    Answer,
    CountSubscribers,
    Event,
    Hello,
    HighWaterMarkAdvanced,
    NoteSeen,
    Request,
)
from mailroomd.protocol.reports import StorageStateChanged

MAX_BACKLOG = 20_000  # answers that wait for a gateway; above it, no further requests are read from it
MAX_NAMES = 1000  # in one announcement; a larger one names nobody, and the gateway checks all of its streams


Received = Request | CountSubscribers | NoteSeen | Hello


class GatewayPort:
    """Receives requests from one gateway and sends it answers and announcements.

    Args:
        index: of the gateway.
        epoch: of this mailbox worker.
        requests: the queue that the gateway writes.
        events: the queue that the gateway reads.
        live_aliases: returns the aliases to report to a gateway that restarted.
    """

    def __init__(
        self,
        index: int,
        epoch: int,
        requests: PacketQueue[Any],
        events: PacketQueue[Any],
        live_aliases: Callable[[], Iterable[AliasChanged]],
    ) -> None:
        self.index = index
        self.subscribers: dict[str, int] = {}
        self._requests_fileno = requests.reader_fileno()
        self._events = events
        self._link: Link[Request | CountSubscribers | NoteSeen, Event] = Link(
            epoch, requests, events, self._current_state
        )
        self._live_aliases = live_aliases
        self._storage_state: StorageStateChanged | None = None
        self._mailboxes: set[str] = set()
        self._receipt_senders: set[str] = set()
        self._put_back: list[Received] = []

    @property
    def backlog(self) -> int:
        """How many events wait for room in the queue."""
        return self._link.backlog

    def send_hello(self) -> None:
        """Tells the gateway that the mailbox worker has started."""
        self._link.send_hello()

    def answer_hello(self, hello: Hello) -> None:
        """Answers a gateway that restarted."""
        self.subscribers.clear()
        self._link.answer_hello(hello)

    def has_requests(self, ready: Container[int]) -> bool:
        """Returns whether `receive` has something to return, given the descriptors that are readable."""
        return self._requests_fileno in ready or bool(self._put_back)

    def receive(self) -> list[Received]:
        """Returns the gateway's requests; none while it does not read its answers."""
        if self._link.backlog > MAX_BACKLOG:
            return []
        put_back, self._put_back = self._put_back, []
        return put_back or self._link.receive()

    def put_back(self, requests: Sequence[Received]) -> None:
        """Keeps requests for the next turn of the loop, as the table has no room for them now."""
        self._put_back = list(requests)

    def announce_mail(self, mailbox: str) -> None:
        """Tells the gateway, with the next flush, that a mailbox has new mail."""
        self._mailboxes.add(mailbox)

    def announce_receipts(self, senders: Iterable[str]) -> None:
        """Tells the gateway, with the next flush, that these senders have new receipts."""
        self._receipt_senders.update(senders)

    def send_storage_state(self, storage_state: StorageStateChanged) -> None:
        """Tells the gateway, with the next flush and after each restart, whether the database accepts messages."""
        self._storage_state = storage_state
        self._link.send(storage_state)

    def send(self, event: Answer | AliasChanged) -> None:
        """Sends an answer or a change of an alias with the next flush."""
        self._link.send(event)

    def flush(self) -> None:
        """Sends everything that has gathered, announcements after answers."""
        if (self._mailboxes or self._receipt_senders) and self._link.backlog < MAX_BACKLOG:
            if len(self._mailboxes) + len(self._receipt_senders) < MAX_NAMES:
                self._link.send(HighWaterMarkAdvanced(sorted(self._mailboxes), sorted(self._receipt_senders)))
            else:
                self._link.send(HighWaterMarkAdvanced([], []))
            self._mailboxes.clear()
            self._receipt_senders.clear()
        self._link.flush()

    def watch(self, readiness: Readiness, *, reads: bool) -> None:
        """Registers what the loop is to wait for on behalf of this gateway.

        Args:
            reads: whether requests may be read now.
        """
        readiness.watch_reading(self._requests_fileno, reads and self._link.backlog <= MAX_BACKLOG)
        readiness.watch_writing(self._events.writer_fileno(), self._link.backlog > 0)

    def _current_state(self) -> list[Event]:
        """Returns what a gateway that restarted needs to know."""
        storage_state: list[Event] = [self._storage_state] if self._storage_state is not None else []
        return [*storage_state, *self._live_aliases(), AliasesSent()]
