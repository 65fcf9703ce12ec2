"""ModelHost — a daemon, as far as forwarding is concerned: what it commits, and what a crash leaves of it.

Owns the durable state (`Database`), and a copy of it as of the last fsync, which is what a power cut leaves. The rules
are the daemon's own: `judge` admits what arrives, `Outgoing` decides what is published. The hub is the caller's.
"""

__all__ = ["Database", "Envelope", "Item", "ModelHost", "Stored"]

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple

from mailroomd.core.forwarding.outgoing import Batch, Outgoing, Report, Row
from mailroomd.core.forwarding.position import BEGINNING, Position, Verdict, judge

STORED, FILED, OFFERED, READ, EXPIRED = range(1, 6)


class Item(NamedTuple):
    """A message (its token is its content), or a receipt for the message at `origin`."""

    position: Position
    token: str = ""
    origin: Position = BEGINNING
    state: int = 0


class Envelope(NamedTuple):
    """A batch on its way."""

    sender: str
    after: Position
    items: tuple[Item, ...]


@dataclass
class Stored:
    """A message that arrived, or (with its `origin` of this host's own) one that leaves."""

    token: str
    origin: Position
    state: int


@dataclass
class Database:
    """What a host has on its disk, by other host."""

    last_id: int = 0
    queue: dict[str, list[Item]] = field(default_factory=dict[str, list[Item]])
    sent: dict[str, Position] = field(default_factory=dict[str, Position])
    stored: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    mailbox: dict[str, list[Stored]] = field(default_factory=dict[str, list[Stored]])
    outbox: dict[str, dict[int, Stored]] = field(default_factory=dict[str, dict[int, Stored]])


class ModelHost:
    """A host.

    Args:
        name: of the host.
        peers: the other hosts.
        new_run: returns a number that was never used.
    """

    def __init__(self, name: str, peers: list[str], new_run: Callable[[], int]) -> None:
        self.name = name
        self.peers = peers
        self.db = Database()
        self._synced = Database()
        self._new_run = new_run
        self.clock = 0
        self.start()

    def start(self) -> None:
        """Starts with what is in the database, under a new run."""
        self.run = self._new_run()
        self.misses: set[str] = set()
        self.outgoing = {peer: Outgoing(self._rows_of(peer), self.db.sent.get(peer, BEGINNING)) for peer in self.peers}

    def crash(self) -> None:
        """Dies and starts again: what was committed is there."""
        self.start()

    def lose_power(self) -> None:
        """Starts again with what was fsynced."""
        self.db = deepcopy(self._synced)
        self.start()

    def backup(self) -> Database:
        """Returns a copy of the database."""
        return deepcopy(self.db)

    def restore(self, backup: Database) -> None:
        """Starts again with a backup."""
        self.db = deepcopy(backup)
        self.commit()
        self.start()

    def commit(self) -> None:
        """Fsyncs what was changed."""
        self._synced = deepcopy(self.db)

    # -- the agent ------------------------------------------------------------------------------------------------

    def send(self, peer: str, token: str) -> None:
        """Accepts a message for another host."""
        position = self._next_position()
        self.db.outbox.setdefault(peer, {})[position.id] = Stored(token, position, STORED)
        self._enqueue(peer, Item(position, token))
        self.commit()

    def expire(self, peer: str) -> str | None:
        """Ends the newest message that certainly never left; returns its token, None if there is none."""
        for item in reversed(self.db.queue.get(peer, [])):
            if item.token and self.may_expire(peer, item):
                self.db.queue[peer].remove(item)
                self.db.outbox[peer][item.position.id].state = EXPIRED
                self.commit()
                return item.token
        return None

    def may_expire(self, peer: str, item: Item) -> bool:
        """Returns whether an item certainly never left: a restored database may have forgotten that it did."""
        return item.position.run == self.run and item.position.id > self.db.sent.get(peer, BEGINNING).id

    def offer(self, peer: str) -> None:
        """Shows the agent a message; committed without an fsync."""
        self._step(peer, FILED, OFFERED)

    def read(self, peer: str) -> None:
        """Reads a message."""
        self._step(peer, OFFERED, READ)
        self.commit()

    def _step(self, peer: str, before: int, after: int) -> None:
        for message in self.db.mailbox.get(peer, []):
            if message.state == before:
                message.state = after
                self._report_state(peer, message)
                return

    # -- out ------------------------------------------------------------------------------------------------------

    def intend(self, peer: str) -> Batch | None:
        """Plans a batch and makes its intent durable."""
        batch = self.outgoing[peer].next_batch()
        if batch is not None and batch.last.id > self.db.sent.get(peer, BEGINNING).id:
            self.db.sent[peer] = batch.last
            self.commit()
        return batch

    def pack(self, peer: str, batch: Batch) -> Envelope:
        """Returns the batch as it is published."""
        ids = {row.position.id for row in self.outgoing[peer].rows_of(batch)}
        items = tuple(item for item in self.db.queue.get(peer, []) if item.position.id in ids)
        return Envelope(self.name, batch.after, items)

    def on_published(self, peer: str, batch: Batch, envelope: Envelope, now_sec: float) -> None:
        """Learns that the hub accepted it."""
        last = envelope.items[-1].position if envelope.items else None
        self.outgoing[peer].on_published(batch, last, now_sec)

    def on_report(self, peer: str, report: Report, now_sec: float) -> None:
        """Learns what another host has."""
        before = self.db.queue.get(peer, [])
        kept = [item for item in before if report.stored.get(item.position.run, 0) < item.position.id]
        if kept != before:
            self.db.queue[peer] = kept
            self.commit()
        self.outgoing[peer].on_report(report, kept != before, now_sec)

    # -- in -------------------------------------------------------------------------------------------------------

    def receive(self, envelope: Envelope, limit: int = 1 << 30) -> bool:
        """Stores up to `limit` items of a batch, each in a transaction; returns whether it has all of them."""
        peer, after = envelope.sender, envelope.after
        for item in envelope.items[:limit]:
            verdict = self.judge(peer, after, item.position)
            if verdict is Verdict.GAP:
                self.misses.add(peer)
                return False
            if verdict is Verdict.NEXT:
                self.store(peer, item)
                self.misses.discard(peer)
            after = item.position
        return len(envelope.items) <= limit

    def judge(self, peer: str, after: Position, position: Position) -> Verdict:
        """Returns what becomes of an item."""
        return judge(self.db.stored.get(peer, {}), after, position)

    def store(self, peer: str, item: Item) -> None:
        """Commits an item together with its position."""
        self.db.stored.setdefault(peer, {})[item.position.run] = item.position.id
        if item.token:
            message = Stored(item.token, item.position, FILED)
            self.db.mailbox.setdefault(peer, []).append(message)
            self._report_state(peer, message)
        else:
            self.apply_receipt(peer, item)
        self.commit()

    def apply_receipt(self, peer: str, item: Item) -> None:
        """Moves a message of this host forward."""
        message = self.db.outbox.get(peer, {}).get(item.origin.id)
        if message is not None and message.origin == item.origin:
            message.state = max(message.state, item.state)

    def report(self, peer: str, runs: list[int], *, is_idle: bool) -> Report:
        """Returns what this host has of another, as it answers a question."""
        stored = self.db.stored.get(peer, {})
        return Report({run: stored.get(run, 0) for run in runs}, peer in self.misses, is_idle)

    # -- parts ----------------------------------------------------------------------------------------------------

    def _report_state(self, peer: str, message: Stored) -> None:
        self._enqueue(peer, Item(self._next_position(), "", message.origin, message.state))

    def _enqueue(self, peer: str, item: Item) -> None:
        self.db.queue.setdefault(peer, []).append(item)

    def _next_position(self) -> Position:
        self.db.last_id = max(self.db.last_id + 1, self.clock)
        return Position(self.run, self.db.last_id)

    def _rows_of(self, peer: str) -> Callable[[int, int], list[Row]]:
        def rows(after_id: int, limit: int) -> list[Row]:
            queue = self.db.queue.get(peer, [])
            return [Row(item.position, 200_000) for item in queue if item.position.id > after_id][:limit]

        return rows
