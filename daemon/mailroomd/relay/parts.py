"""RelayParts — what every part of the relay works with."""

__all__ = ["RelayParts"]

from collections.abc import Callable
from dataclasses import dataclass

from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.relay.hub import Hub
from mailroomd.relay.mailbox_client import MailboxClient
from mailroomd.relay.sealing import Sealer
from mailroomd.storage.database.forward_reading import ForwardReading


@dataclass(frozen=True, slots=True)
class RelayParts:
    """The relay's connections.

    Attributes:
        hub: to the hub.
        client: to the mailbox.
        reading: to the database.
        sealer: the keys.
        durable_id: returns the high-water mark.
        metrics: the relay's.
        shard_of: returns the part of the hub that holds a host's mail.
        is_removed: returns whether the operator of the hub has removed a host.
        behind_ms: returns how far this host's clock is behind the hub's.
    """

    hub: Hub
    client: MailboxClient
    reading: ForwardReading
    sealer: Sealer
    durable_id: Callable[[], int]
    metrics: MetricsBlock
    shard_of: Callable[[str], str]
    is_removed: Callable[[str], bool]
    behind_ms: Callable[[], int]
