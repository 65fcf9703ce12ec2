"""mailroom_children — Mailroom's workers as data, in the order in which they start.

Owns the topology: which queue connects which workers, the memory of the mailbox table, targets and shutdown times. The
supervisor holds all queues and memory through these specs for as long as it lives, so they outlive every worker.
"""

__all__ = ["mailroom_children"]

from dataclasses import replace
from functools import partial

from mailroomd.ipc.queue import PacketQueue
from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.model.quantities import is_tcp
from mailroomd.model.settings import Settings
from mailroomd.protocol.packets import ANSWERS, EVENTS, OUTCOMES, REQUESTS, WRITES
from mailroomd.supervisor.child import ChildSpec
from mailroomd.supervisor.metrics_socket import open_metrics_socket
from mailroomd.supervisor.tls_files import TlsFiles
from mailroomd.table.layout import TableLayout
from mailroomd.worker.config import CommandQueueConfig, GatewayConfig, MailboxConfig, MetricsConfig, RelayConfig

# Seconds that each may take to stop. The gateway ends its streams, the mailbox only passes on what it has accepted, and
# the command-queue may use what is left of the total budget (`supervisor.shutdown`).
_GATEWAY_SHUTDOWN_SEC = 3.0
_MAILBOX_SHUTDOWN_SEC = 1.0
_COMMAND_QUEUE_SHUTDOWN_SEC = 5.0
_METRICS_SHUTDOWN_SEC = 0.5
_RELAY_SHUTDOWN_SEC = 2.0


def mailroom_children(settings: Settings) -> tuple[ChildSpec, ...]:
    """Creates the queues and the mailbox table, and returns the children in the order of their start.

    Raises:
        OSError: the system is out of memory or descriptors.
        Refusal: the address for metrics cannot be bound.
    """
    layout = TableLayout.for_ring(settings.table_bytes, settings.table_mailboxes)
    table = SharedMemory.create("mailroom-table", layout.size_bytes)
    gateways = range(settings.gateways)
    requests = tuple(PacketQueue(f"requests{_suffix(gateway)}", REQUESTS) for gateway in gateways)
    events = tuple(PacketQueue(f"events{_suffix(gateway)}", EVENTS) for gateway in gateways)
    answers = tuple(PacketQueue(f"answers{_suffix(gateway)}", ANSWERS) for gateway in gateways)
    tls = TlsFiles(settings)
    writes = PacketQueue("writes", WRITES)
    outcomes = PacketQueue("outcomes", OUTCOMES)
    command_queue = CommandQueueConfig(writes, outcomes, answers, table)
    relay = _relay_config(settings, table)
    to_relay = ((relay.requests,), (relay.events,)) if relay else ((), ())
    mailbox = MailboxConfig(requests + to_relay[0], events + to_relay[1], writes, outcomes, table)
    return (
        _spec("command-queue", "command_queue", command_queue, _COMMAND_QUEUE_SHUTDOWN_SEC),
        _spec("mailbox", "mailbox", mailbox, _MAILBOX_SHUTDOWN_SEC),
        *(
            _gateway_spec(GatewayConfig(gateway, *queues, table, settings.listen), tls)
            for gateway, queues in enumerate(zip(requests, events, answers, strict=True))
        ),
        *([_spec("relay", "relay", relay, _RELAY_SHUTDOWN_SEC)] if relay else []),
        *_metrics_specs(settings),
    )


def _spec(name: str, module: str, config: object, shutdown_sec: float) -> ChildSpec:
    return ChildSpec(name, f"mailroomd.{module}.process:main", lambda _: config, shutdown_sec, name)


def _relay_config(settings: Settings, table: SharedMemory) -> RelayConfig | None:
    """Returns the relay's queues; None without a hub."""
    if settings.hub is None:
        return None
    return RelayConfig(PacketQueue("requests-relay", REQUESTS), PacketQueue("events-relay", EVENTS), table)


def _metrics_specs(settings: Settings) -> tuple[ChildSpec, ...]:
    if not settings.metrics:
        return ()
    config = MetricsConfig(open_metrics_socket(settings.metrics))
    return (_spec("metrics", "metrics", config, _METRICS_SHUTDOWN_SEC),)


def _gateway_spec(config: GatewayConfig, tls: TlsFiles) -> ChildSpec:
    name = f"gateway{_suffix(config.gateway)}"
    configure = partial(_gateway_config, config, tls)
    return ChildSpec(name, "mailroomd.gateway.process:main", configure, _GATEWAY_SHUTDOWN_SEC, "gateway")


def _gateway_config(config: GatewayConfig, tls: TlsFiles, bound: tuple[str, ...]) -> GatewayConfig:
    """Returns the config with the addresses to listen on, and the TLS files as they are now.

    Addresses that are bound already replace those from the settings, so that a port chosen by the system stays the same
    for every gateway and every restart.
    """
    addresses = bound or config.listen
    if config.gateway > 0:
        addresses = tuple(filter(is_tcp, addresses))
    return replace(config, listen=addresses, tls=tls.read())


def _suffix(gateway: int) -> str:
    return f"-{gateway}" if gateway else ""
