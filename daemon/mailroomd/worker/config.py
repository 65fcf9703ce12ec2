"""Configs — the one frozen argument of each role: the queues and the memory that it works with.

A queue is named for what it carries. The mailbox has one pair of queues for each gateway, by the gateway's number; a
gateway has its own pair. Made by `supervisor.children`, passed down at each start; settings come with the context.
"""

__all__ = ["CommandQueueConfig", "GatewayConfig", "MailboxConfig", "MetricsConfig"]

from dataclasses import dataclass
from typing import Any

from mailroomd.ipc.queue import PacketQueue
from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.worker.inherited import Inherited


@dataclass(frozen=True, slots=True)
class CommandQueueConfig:
    """Reads `writes`, writes `outcomes`, reads the table."""

    writes: PacketQueue[Any]
    outcomes: PacketQueue[Any]
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
class GatewayConfig:
    """Writes `requests`, reads `events`, reads the table; listens on its addresses.

    `listen` has the addresses asked for, at the first start; at a restart those that were bound, so that a port which
    the system chose stays the same. Unix sockets are gateway 0's alone.
    """

    gateway: int
    requests: PacketQueue[Any]
    events: PacketQueue[Any]
    table: SharedMemory
    listen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Serves on a socket that listens already: the supervisor holds it, so that the port outlives the worker."""

    listener: Inherited
