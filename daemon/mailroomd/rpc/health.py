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

from mailroomd.ipc.control_page import ControlPage, WorkerState
from mailroomd.model.errors import MailroomError
from mailroomd.rpc.caller import Context
from mailroomd.rpc.gate import Gate
from mailroomd.rpc.status import refuse

LOOK_EVERY_SEC = 0.2  # at the workers' states, which change without an event that reaches the gateway
NEEDED = ("command-queue", "mailbox")


class Health:
    """Keeps the health service up to date.

    Args:
        control: where the workers' states and heartbeats are.
        stuck_after_sec: a worker that is silent for so long is not trusted with a send.
        services: the names of the services that share this health.
        gate: what each call passes.
    """

    def __init__(self, control: ControlPage, stuck_after_sec: float, services: tuple[str, ...], gate: Gate) -> None:
        self.servicer: Any = cast("Any", health).aio.HealthServicer()
        self.servicer.Watch = _counted(self.servicer.Watch, gate)
        self.is_writable = True
        self.is_connected = False
        self.is_stopping = False
        self._control = control
        self._stuck_after_ns = int(stuck_after_sec * 1e9)
        self._services = ("", *services)
        self._said: bool | None = None

    async def watch(self) -> None:
        """Looks again and again; runs until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_SEC)

    async def look(self) -> None:
        """Says what is so now."""
        serving = self._is_serving()
        if serving is not self._said:
            self._said = serving
            status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
            for service in self._services:
                await self.servicer.set(service, status)

    def _is_serving(self) -> bool:
        if self.is_stopping or not (self.is_writable and self.is_connected):
            return False
        now = time.monotonic_ns()
        running = {
            status.name
            for index, status in enumerate(self._control.statuses())
            if status.state is WorkerState.RUNNING and now - self._control.last_beat(index) < self._stuck_after_ns
        }
        return running.issuperset(NEEDED)


def _counted(watch: Callable[[Any, Context], Awaitable[None]], gate: Gate) -> Callable[[Any, Context], Awaitable[None]]:
    """Returns the servicer's Watch, of which nobody may hold more streams than of others."""

    async def counted(request: Any, context: Context) -> None:
        try:
            with gate.streaming(gate.knock("Watch", context)):
                await watch(request, context)
        except MailroomError as error:
            await refuse(context, error)

    return counted
