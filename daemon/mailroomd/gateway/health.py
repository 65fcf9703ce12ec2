"""Health — reports SERVING exactly when a send would succeed.

Owns the judgment: the mailbox and the command-queue run and send heartbeats, the mailbox has answered this gateway,
the database accepts messages, and the daemon is not stopping. Source: the standard service grpc.health.v1.
"""

__all__ = ["Health"]

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

from grpc_health.v1 import health, health_pb2

from mailroomd.ipc.control_page import ControlPage, WorkerState

REFRESH_INTERVAL_SEC = 0.5  # the workers' states change without an event that reaches the gateway
NEEDED_WORKERS = ("command-queue", "mailbox")


class Health:
    """Keeps the health service up to date.

    Args:
        control: holds the workers' states and heartbeats.
        stuck_after_sec: a worker without a heartbeat for this long counts as not running.
        services: names of the services that share this health.
        on_change: called with each change: "" while mail is accepted, otherwise the reason why not.

    Attributes:
        servicer: the standard servicer, for the server.
    """

    def __init__(
        self,
        control: ControlPage,
        stuck_after_sec: float,
        services: tuple[str, ...],
        on_change: Callable[[str], None],
    ) -> None:
        self.servicer: Any = cast("Any", health).aio.HealthServicer()
        self.is_writable = True
        self.is_connected = False
        self.is_stopping = False
        self._control = control
        self._stuck_after_ns = int(stuck_after_sec * 1e9)
        self._services = ("", *services)
        self._on_change = on_change
        self._reported: str | None = None

    async def run(self) -> None:
        """Refreshes the health at intervals until it is cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_INTERVAL_SEC)

    async def refresh(self) -> None:
        """Reports the health if it has changed."""
        problem = self._find_problem()
        if problem == self._reported:
            return
        self._reported = problem
        status = health_pb2.HealthCheckResponse.NOT_SERVING if problem else health_pb2.HealthCheckResponse.SERVING
        for service in self._services:
            await self.servicer.set(service, status)
        self._on_change(problem)

    def _find_problem(self) -> str:
        """Returns why mail is not accepted; "" if it is."""
        if self.is_stopping:
            return "the daemon is stopping"
        if not self.is_connected:
            return "the mailbox has not answered yet"
        if not self.is_writable:
            return "the database cannot be written (disk full?)"
        now = time.monotonic_ns()
        running = {
            status.name
            for index, status in enumerate(self._control.statuses())
            if status.state is WorkerState.RUNNING and now - self._control.last_beat(index) < self._stuck_after_ns
        }
        return " and ".join(f"{name} is not running" for name in NEEDED_WORKERS if name not in running)
