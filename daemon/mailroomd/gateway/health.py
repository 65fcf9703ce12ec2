"""Health — says SERVING exactly when a send would work.

Owns the judgement: the mailbox and the command-queue run and beat, the mailbox answers this gateway, the database takes
messages, and the daemon is not stopping. Source: the standard service grpc.health.v1.
"""

__all__ = ["Health"]

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from grpc_health.v1 import health, health_pb2

from mailroomd.auth.caller import Context
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.status import refuse
from mailroomd.ipc.control_page import ControlPage, WorkerState
from mailroomd.model.errors import MailroomError

LOOK_EVERY_SEC = 0.5  # at the workers' states, which change without an event that reaches the gateway
NEEDED = ("command-queue", "mailbox")


class Health:
    """Keeps the health service up to date.

    Args:
        control: where the workers' states and heartbeats are.
        stuck_after_sec: a worker that is silent for so long is not trusted with a send.
        services: the names of the services that share this health.
        tell: called with each change: empty while mail is taken, else why it is not.
        guard: what each call passes.
    """

    def __init__(
        self,
        control: ControlPage,
        stuck_after_sec: float,
        services: tuple[str, ...],
        tell: Callable[[str], None],
        guard: RequestGuard,
    ) -> None:
        self.servicer: Any = cast("Any", health).aio.HealthServicer()
        self.servicer.Watch = _counted(self.servicer.Watch, guard)
        self.is_writable = True
        self.is_connected = False
        self.is_stopping = False
        self._control = control
        self._stuck_after_ns = int(stuck_after_sec * 1e9)
        self._services = ("", *services)
        self._tell = tell
        self._said: str | None = None

    async def watch(self) -> None:
        """Looks again and again; runs until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_SEC)

    async def look(self) -> None:
        """Says what is so now."""
        trouble = self._trouble()
        if trouble == self._said:
            return
        self._said = trouble
        status = health_pb2.HealthCheckResponse.NOT_SERVING if trouble else health_pb2.HealthCheckResponse.SERVING
        for service in self._services:
            await self.servicer.set(service, status)
        self._tell(trouble)

    def _trouble(self) -> str:
        """Returns why no mail is taken, empty if it is."""
        if self.is_stopping:
            return "the daemon stops"
        if not self.is_connected:
            return "the mailbox has not answered yet"
        if not self.is_writable:
            return "the database cannot be written (a full disk?)"
        now = time.monotonic_ns()
        running = {
            status.name
            for index, status in enumerate(self._control.statuses())
            if status.state is WorkerState.RUNNING and now - self._control.last_beat(index) < self._stuck_after_ns
        }
        return " and ".join(f"{name} does not work" for name in NEEDED if name not in running)


def _counted(
    watch: Callable[[Any, Context], Awaitable[None]], guard: RequestGuard
) -> Callable[[Any, Context], Awaitable[None]]:
    """Returns the servicer's Watch, of which nobody may hold more streams than of others."""

    async def counted(request: Any, context: Context) -> None:
        try:
            with guard.streaming(guard.authenticate("Watch", context)):
                await watch(request, context)
        except MailroomError as error:
            await refuse(context, error)

    return counted
