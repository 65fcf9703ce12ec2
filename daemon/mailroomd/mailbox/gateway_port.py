"""GatewayPort — the mailbox's side of one gateway.

Owns the link to it, its subscribers as last reported, and what is to be announced to it: a set of mailboxes, so that a
gateway that does not read costs no more than that. Not here: what requests mean (`mailbox`).
"""

__all__ = ["GatewayPort", "call_failed"]

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from mailroomd.ipc.link import Link
from mailroomd.ipc.queue import PacketQueue
from mailroomd.ipc.readiness import Readiness
from mailroomd.protocol.commands import CommandRefused, StorageStateChanged
from mailroomd.protocol.packets import (
    AliasChanged,
    Answer,
    CallFailed,
    Event,
    Hello,
    HighWaterMarkAdvanced,
    Request,
)

BACKLOG_EVENTS = 20_000  # answers that wait for a gateway; beyond it its requests are not read
MANY_NAMES = 1000  # from here on an announcement says "anybody": the gateway looks at all its streams


class GatewayPort:
    """Talks with one gateway.

    Args:
        number: the gateway's.
        epoch: this mailbox's.
        requests: what the gateway writes.
        events: what it reads.
        aliases: gives those that last, for a gateway that is new.
    """

    def __init__(
        self,
        number: int,
        epoch: int,
        requests: PacketQueue[Any],
        events: PacketQueue[Any],
        aliases: Callable[[], Iterable[AliasChanged]],
    ) -> None:
        self.number = number
        self.subscribers: dict[str, int] = {}
        self._requests_fileno = requests.reader_fileno()
        self._events = events
        self._link: Link[Request, Event] = Link(epoch, requests, events, self._what_is_so)
        self._aliases = aliases
        self._condition: StorageStateChanged | None = None
        self._announced: set[str] = set()
        self._told: set[str] = set()
        self._put_back: list[Request | Hello] = []

    @property
    def backlog(self) -> int:
        """How many events wait for room in the queue."""
        return self._link.backlog

    def greet(self) -> None:
        """Says to the gateway that the mailbox is new."""
        self._link.greet()

    def welcome(self, hello: Hello) -> None:
        """Answers a gateway that is new."""
        self.subscribers.clear()
        self._link.welcome(hello)

    def asks(self, ready: Container[int]) -> bool:
        """Returns whether there is something to `receive`, of the descriptors that can be read."""
        return self._requests_fileno in ready or bool(self._put_back)

    def receive(self) -> list[Request | Hello]:
        """Returns what the gateway asks; nothing while it does not take its answers."""
        if self._link.backlog > BACKLOG_EVENTS:
            return []
        waiting, self._put_back = self._put_back, []
        return waiting or self._link.receive()

    def put_back(self, items: Sequence[Request | Hello]) -> None:
        """Keeps requests for the next turn: the table has no room for them now."""
        self._put_back = list(items)

    def announce(self, mailbox: str) -> None:
        """Tells the gateway, with the next flush, that a mailbox has something new."""
        self._announced.add(mailbox)

    def announce_receipts(self, senders: Iterable[str]) -> None:
        """Tells the gateway, with the next flush, that there are receipts for these senders."""
        self._told.update(senders)

    def tell_condition(self, condition: StorageStateChanged) -> None:
        """Tells the gateway whether sends can be accepted."""
        self._condition = condition
        self._link.send(self._condition)

    def send(self, event: Answer | AliasChanged) -> None:
        """Answers a call, or tells of an alias, with the next flush."""
        self._link.send(event)

    def flush(self) -> None:
        """Sends what has gathered: the announcement goes with, and behind, the answers."""
        if (self._announced or self._told) and self._link.backlog < BACKLOG_EVENTS:
            if len(self._announced) + len(self._told) < MANY_NAMES:
                self._link.send(HighWaterMarkAdvanced(sorted(self._announced), sorted(self._told)))
            else:
                self._link.send(HighWaterMarkAdvanced([], []))
            self._announced.clear()
            self._told.clear()
        self._link.flush()

    def watch(self, readiness: Readiness, *, reading: bool) -> None:
        """Says what the mailbox waits for on this gateway's account."""
        readiness.watch_reading(self._requests_fileno, reading and self._link.backlog <= BACKLOG_EVENTS)
        readiness.watch_writing(self._events.writer_fileno(), self._link.backlog > 0)

    def _what_is_so(self) -> list[Event]:
        """What a gateway that is new has to hear."""
        condition: list[Event] = [self._condition] if self._condition is not None else []
        return [*condition, *self._aliases()]


def call_failed(call: int, refusal: CommandRefused) -> CallFailed:
    """Returns the answer to a call that is refused."""
    return CallFailed(call, refusal.reason, refusal.sentence, refusal.field, refusal.retry_after_ms)
