"""MailboxState — what the mailbox's two sides work on: the table, the aliases, the orders, the gateways.

Owns which mailboxes' counts are to be shown. The intake (`RequestHandler`) brings requests in, the settlement (`OutcomeHandler`)
brings outcomes back; both are called by the mailbox's loop, one after the other, and neither knows the other.
"""

__all__ = ["MailboxState"]

from collections.abc import Iterable, Sequence

from mailroomd.core.aliases import Aliases
from mailroomd.mailbox.gateway_port import GatewayPort
from mailroomd.mailbox.in_flight import InFlightCommands
from mailroomd.model.clock import now_ms
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.table.entry import MailboxEntry
from mailroomd.table.writer import TableWriter


class MailboxState:
    """The mailbox's state.

    Attributes:
        table: the mailbox table.
        orders: what the command-queue has not answered.
        aliases: which agent is behind which session.
        metrics: the mailbox's numbers.
        ports: the gateways, by their numbers.
    """

    def __init__(self, table: TableWriter, orders: InFlightCommands, metrics: MetricsBlock) -> None:
        self.table = table
        self.orders = orders
        self.metrics = metrics
        self.aliases = Aliases()
        self.ports: Sequence[GatewayPort] = ()
        self._touched: dict[str, MailboxEntry] = {}

    def agent_of(self, name: str) -> str:
        """Returns whose mailbox is behind a name."""
        return self.aliases.agent_of(name, now_ms())

    def touch(self, entry: MailboxEntry) -> None:
        """Takes note that a mailbox's counts have changed."""
        self._touched[entry.name] = entry

    def publish_touched(self) -> None:
        """Shows the counts that have changed to the readers."""
        for entry in self._touched.values():
            entry.publish()
        self._touched.clear()

    def announce(self, mailbox: str) -> None:
        """Tells every gateway, with its next flush, that a mailbox has something new."""
        for port in self.ports:
            port.announce(mailbox)

    def announce_receipts(self, senders: Iterable[str]) -> None:
        """Tells every gateway, with its next flush, that there are receipts for these senders."""
        for port in self.ports:
            port.announce_receipts(senders)
