"""MailboxState — the state of the mailbox worker: mailbox table, aliases, in-flight commands, gateways, gauges.

Owns which mailboxes' counts have changed and are not published yet. `RequestHandler` processes requests on it and
`OutcomeHandler` outcomes; the mailbox's loop calls the two in turn, and neither knows the other.
"""

__all__ = ["MailboxState"]

from collections.abc import Iterable, Sequence

from mailroomd.core.aliases import Aliases, PendingAliases
from mailroomd.mailbox.gateway_port import GatewayPort
from mailroomd.mailbox.in_flight import InFlightCommands
from mailroomd.model.clock import now_ms
from mailroomd.observability.metrics import MAILBOX_QUEUES, ORDERS_PENDING, TABLE_EVICTED, TABLE_MAILBOXES, TABLE_RING
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.table.entry import MailboxEntry
from mailroomd.table.writer import TableWriter

GAUGES_EVERY_SEC = 0.25  # rarely enough to cost nothing, often enough for any scraper


class MailboxState:
    """The mailbox worker's state.

    Attributes:
        table: the mailbox table.
        in_flight: commands that the command-queue has not answered.
        aliases: the agent of each session that is an alias.
        pending_aliases: those whose commands are in flight.
        metrics: the mailbox worker's metrics.
        ports: the gateways, by index.
    """

    def __init__(self, table: TableWriter, in_flight: InFlightCommands, metrics: MetricsBlock) -> None:
        self.table = table
        self.in_flight = in_flight
        self.metrics = metrics
        self.aliases = Aliases()
        self.pending_aliases = PendingAliases()
        self.ports: Sequence[GatewayPort] = ()
        self._changed: dict[str, MailboxEntry] = {}
        self._gauges_due_sec = 0.0
        self._evicted_bytes = 0

    def agent_of(self, name: str) -> str:
        """Returns the agent behind a session, or the name itself if it is not an alias."""
        return self.aliases.agent_of(name, now_ms())

    def record_changed(self, entry: MailboxEntry) -> None:
        """Remembers to publish a mailbox's counts."""
        self._changed[entry.name] = entry

    def publish_changed(self) -> None:
        """Publishes the counts that have changed to the readers of the table."""
        for entry in self._changed.values():
            entry.publish()
        self._changed.clear()

    def announce_mail(self, mailbox: str) -> None:
        """Tells every gateway, with its next flush, that a mailbox has new mail."""
        for port in self.ports:
            port.announce_mail(mailbox)

    def announce_receipts(self, senders: Iterable[str]) -> None:
        """Tells every gateway, with its next flush, that these senders have new receipts."""
        for port in self.ports:
            port.announce_receipts(senders)

    def publish_gauges(self, now_sec: float, writes_backlog: int) -> None:
        """Updates the gauges if they are due.

        Args:
            now_sec: monotonic seconds.
            writes_backlog: how many commands wait for room in the queue to the command-queue.
        """
        if now_sec < self._gauges_due_sec:
            return
        self._gauges_due_sec = now_sec + GAUGES_EVERY_SEC
        metrics, usage = self.metrics, self.table.usage()
        metrics.set(ORDERS_PENDING.at, len(self.in_flight))
        metrics.set(MAILBOX_QUEUES.word("writes"), writes_backlog)
        metrics.set(MAILBOX_QUEUES.word("events"), sum(port.backlog for port in self.ports))
        metrics.set(TABLE_RING.word("size"), usage.ring_bytes)
        metrics.set(TABLE_RING.word("used"), usage.ring_used_bytes)
        metrics.set(TABLE_MAILBOXES.word("size"), usage.slots)
        metrics.set(TABLE_MAILBOXES.word("used"), usage.slots_used)
        metrics.count(TABLE_EVICTED.at, usage.evicted_bytes - self._evicted_bytes)
        self._evicted_bytes = usage.evicted_bytes
