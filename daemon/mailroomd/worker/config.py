"""config — the one frozen argument of each role: the queues and the shared memory that it works with.

A queue is named for what it carries. The mailbox has one pair of queues per gateway, indexed by the gateway's number,
and behind these one for the relay, if there is one; a gateway has its own pair, and a queue of answers that the
command-queue writes. Created by `supervisor.children` and passed on at each start; settings come with the context.
"""

__all__ = ["CommandQueueConfig", "GatewayConfig", "MailboxConfig", "MetricsConfig", "RelayConfig", "TlsCredentials"]

from dataclasses import dataclass, field
from typing import Any

from mailroomd.ipc.queue import PacketQueue
from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.worker.inherited import InheritedDescriptor


@dataclass(frozen=True, slots=True)
class CommandQueueConfig:
    """Reads `writes`, writes `outcomes` and each gateway's `answers`, reads the table and says how far it answered."""

    writes: PacketQueue[Any]
    outcomes: PacketQueue[Any]
    answers: tuple[PacketQueue[Any], ...]
    table: SharedMemory


@dataclass(frozen=True, slots=True)
class MailboxConfig:
    """Reads `requests` and `outcomes`, writes `events` and `writes`, writes the table."""

    requests: tuple[PacketQueue[Any], ...]
    events: tuple[PacketQueue[Any], ...]
    writes: PacketQueue[Any]
    outcomes: PacketQueue[Any]
    table: SharedMemory


@dataclass(frozen=True, slots=True)
class TlsCredentials:
    """The content of the TLS files (PEM), validated by the supervisor; no `client_authority` without mutual TLS."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_authority: bytes


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Writes `requests`, reads `events` and `answers`, reads the table; listens on its addresses.

    At the first start `listen` holds the addresses from the settings; at a restart, those that were bound, so that a
    port chosen by the system stays the same. Only gateway 0 listens on Unix sockets. `tls` is None without TLS.
    """

    gateway: int
    requests: PacketQueue[Any]
    events: PacketQueue[Any]
    answers: PacketQueue[Any]
    table: SharedMemory
    listen: tuple[str, ...]
    tls: TlsCredentials | None = None


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Writes `requests`, reads `events`, reads the table, as a gateway does; connects to the hub."""

    requests: PacketQueue[Any]
    events: PacketQueue[Any]
    table: SharedMemory


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Serves on a socket that is already listening: the supervisor holds it, so the port outlives the worker."""

    listener: InheritedDescriptor
