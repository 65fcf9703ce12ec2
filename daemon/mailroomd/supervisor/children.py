"""mailroom_children — the mail room's own children, as data, in the order of their start.

Owns the topology: which queue goes where, the table's memory, the targets and shutdown times. The supervisor holds all
queues and memory through these specs for as long as it lives, which is why they outlive every worker.
"""

__all__ = ["mailroom_children"]

from dataclasses import replace
from functools import partial

from mailroomd.ipc.queue import PacketQueue
from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.model.quantities import is_tcp
from mailroomd.model.settings import Settings
from mailroomd.protocol.packets import EVENTS, OUTCOMES, REQUESTS, WRITES
from mailroomd.supervisor.child import ChildSpec
from mailroomd.supervisor.metrics_socket import open_metrics_socket
from mailroomd.table.layout import TableLayout
from mailroomd.worker.config import CommandQueueConfig, GatewayConfig, MailboxConfig, MetricsConfig

# seconds each. The gateway says good-bye to its streams, the mailbox has only to hand on what it took, and the
# command-queue may take what is left of the whole budget (supervisor.shutdown).
_GATEWAY_SHUTDOWN_SEC = 3.0
_MAILBOX_SHUTDOWN_SEC = 1.0
_COMMAND_QUEUE_SHUTDOWN_SEC = 5.0
_METRICS_SHUTDOWN_SEC = 0.5


def mailroom_children(settings: Settings) -> tuple[ChildSpec, ...]:
    """Makes the queues and the table, and returns the children in the order of their start.

    Raises:
        OSError: no memory or no descriptors.
        Refusal: the address of the metrics can't be listened on.
    """
    layout = TableLayout.for_ring(settings.table_bytes, settings.table_mailboxes)
    table = SharedMemory.create("mailroom-table", layout.size_bytes)
    gateways = range(settings.gateways)
    requests = tuple(PacketQueue(f"requests{_suffix(number)}", REQUESTS) for number in gateways)
    events = tuple(PacketQueue(f"events{_suffix(number)}", EVENTS) for number in gateways)
    writes = PacketQueue("writes", WRITES)
    outcomes = PacketQueue("outcomes", OUTCOMES)
    command_queue = CommandQueueConfig(writes, outcomes, table)
    mailbox = MailboxConfig(requests, events, writes, outcomes, table)
    return (
        _child("command-queue", "command_queue", command_queue, _COMMAND_QUEUE_SHUTDOWN_SEC),
        _child("mailbox", "mailbox", mailbox, _MAILBOX_SHUTDOWN_SEC),
        *(
            _gateway(GatewayConfig(number, requests[number], events[number], table, settings.listen))
            for number in gateways
        ),
        *_metrics(settings),
    )


def _child(name: str, module: str, config: object, shutdown_sec: float) -> ChildSpec:
    return ChildSpec(name, f"mailroomd.{module}.process:main", lambda _: config, shutdown_sec, name)


def _metrics(settings: Settings) -> tuple[ChildSpec, ...]:
    if not settings.metrics:
        return ()
    config = MetricsConfig(open_metrics_socket(settings.metrics))
    return (_child("metrics", "metrics", config, _METRICS_SHUTDOWN_SEC),)


def _gateway(config: GatewayConfig) -> ChildSpec:
    name = f"gateway{_suffix(config.gateway)}"
    return ChildSpec(
        name, "mailroomd.gateway.process:main", partial(_gateway_config, config), _GATEWAY_SHUTDOWN_SEC, "gateway"
    )


def _gateway_config(config: GatewayConfig, announced: tuple[str, ...]) -> GatewayConfig:
    """Listens on what has been announced, so that a port which the system chose is the same for all and for ever."""
    addresses = announced or config.listen
    if config.gateway > 0:
        addresses = tuple(filter(is_tcp, addresses))
    return replace(config, listen=addresses)


def _suffix(number: int) -> str:
    return f"-{number}" if number else ""
