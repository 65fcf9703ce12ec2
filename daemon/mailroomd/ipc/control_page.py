"""ControlPage — heartbeats, statuses and metrics of all processes, in shared memory.

Owns the layout of the page: per worker a heartbeat word on its own cache line, a block of metrics and a cell with its
status, plus one cell with the daemon's status. Each field has one writer: a worker writes its own heartbeat and counts
in its own block; the supervisor writes all cells. The gateway reads them for GetStatus, even while the supervisor is
stopped. Not here: deciding which worker is stuck (`core.liveness`).
"""

__all__ = ["ControlPage", "DaemonStatus", "WorkerState", "WorkerStatus"]

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

import msgspec

from mailroomd.memory.double_cell import DoubleCell
from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.observability.metrics import BLOCK_WORDS
from mailroomd.observability.metrics_block import MetricsBlock

_LINE_BYTES = 64  # a cache line: the heartbeats of two workers never compete for one
_LINE_WORDS = _LINE_BYTES // 8
_CELL_BYTES = 512  # a status as JSON is below 300 bytes; `last_exit` is cut to fit
_LAST_EXIT_CHARACTERS = 120
_BLOCK_BYTES = -(-BLOCK_WORDS * 8 // _LINE_BYTES) * _LINE_BYTES  # no two workers write to the same cache line


class WorkerState(StrEnum):
    """Where a worker is in its life cycle."""

    STARTING = "starting"
    """Started for the first time, not ready yet."""
    RUNNING = "running"
    """It reported that it is ready."""
    RESTARTING = "restarting"
    """It died or was killed, and its successor is not ready yet."""
    STOPPING = "stopping"
    """It was asked to stop."""
    STOPPED = "stopped"
    """It has exited and will not be restarted."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What the supervisor knows about one worker."""

    name: str
    pid: int
    state: WorkerState
    restarts: int
    started_at_ms: int
    last_exit: str


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """What the supervisor knows about the daemon; `pid` is its own."""

    version: str
    started_at_ms: int
    pid: int


class ControlPage:
    """The page; pass it to a child as an argument of a `spawn`ed process. Workers are identified by their index."""

    def __init__(self, memory: SharedMemory, workers: int) -> None:
        self._memory = memory
        self._workers = workers
        beats = workers * _LINE_BYTES
        blocks = workers * _BLOCK_BYTES
        self._beats = memory.buffer[:beats].cast("Q")
        self._blocks = tuple(
            MetricsBlock(memory.buffer[start : start + BLOCK_WORDS * 8].cast("Q"))
            for start in range(beats, beats + blocks, _BLOCK_BYTES)
        )
        cell = DoubleCell.size_bytes(_CELL_BYTES)
        self._daemon, *self._statuses = (
            DoubleCell(memory.buffer, beats + blocks + index * cell, _CELL_BYTES) for index in range(workers + 1)
        )

    @classmethod
    def create(cls, workers: int) -> Self:
        """Creates an empty page for this number of workers."""
        size = workers * (_LINE_BYTES + _BLOCK_BYTES) + (workers + 1) * DoubleCell.size_bytes(_CELL_BYTES)
        return cls(SharedMemory.create("mailroom-control", size), workers)

    def __reduce__(self) -> tuple[Any, ...]:
        return ControlPage, (self._memory, self._workers)

    def beat(self, index: int) -> None:
        """Writes a worker's heartbeat: one aligned 8-byte store of CLOCK_MONOTONIC, which all processes share."""
        self._beats[index * _LINE_WORDS] = time.monotonic_ns()

    def last_beat(self, index: int) -> int:
        """Returns a worker's last heartbeat in monotonic nanoseconds, 0 if there was none."""
        return self._beats[index * _LINE_WORDS]

    def metrics(self, index: int) -> MetricsBlock:
        """Returns a worker's metrics block: the worker counts in it, others read it."""
        return self._blocks[index]

    def write_status(self, index: int, status: WorkerStatus) -> None:
        """Publishes a worker's status; only the supervisor may."""
        if len(status.last_exit) > _LAST_EXIT_CHARACTERS:
            status = replace(status, last_exit=status.last_exit[:_LAST_EXIT_CHARACTERS])
        self._statuses[index].write(msgspec.json.encode(status))

    def write_daemon(self, status: DaemonStatus) -> None:
        """Publishes the daemon's status; only the supervisor may."""
        self._daemon.write(msgspec.json.encode(status))

    def statuses(self) -> tuple[WorkerStatus, ...]:
        """Returns the status of every worker that has one, by index."""
        written = filter(None, (cell.read() for cell in self._statuses))
        return tuple(msgspec.json.decode(status, type=WorkerStatus) for status in written)

    def daemon(self) -> DaemonStatus:
        """Returns the daemon's status, which is written before the first worker starts."""
        return msgspec.json.decode(self._daemon.read(), type=DaemonStatus)

    def close(self) -> None:
        """Releases the page."""
        self._beats.release()
        for block in self._blocks:
            block.release()
        self._memory.close()
