"""Connections — the HTTP server's connections: accepted within the file descriptors that the process may have.

Every local user can connect to the loopback interface, and needs no token for that. So the connections are bounded, the
idle ones are closed, and a flood of them costs one line of the log a minute. At the bound an idle connection makes room
for a new one, those without any request first; while every connection has a request in progress, new ones wait.
"""

__all__ = ["BoundedServer", "connection_limit"]

import asyncio
import logging
import socket
import time
from dataclasses import dataclass
from typing import cast

import uvicorn
from mailroom.descriptors import raise_descriptor_limit
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MAX_CONNECTIONS = 1000  # about 50 MB; a client needs one or two
RESERVED = 96  # descriptors for everything else: the connection to the daemon, inbox files, modules
IDLE_TIMEOUT_SEC = 10.0  # without a complete request; uvicorn closes used connections earlier
SWEEP_SEC = 1.0
PAUSE_SEC = 1.0  # of accepting, while there are no descriptors
WAIT_SEC = 0.1  # while all connections have requests in progress
LOG_INTERVAL_SEC = 60.0

log = logging.getLogger(__name__)


def connection_limit() -> int:
    """Returns how many connections the process may have, after raising its limit of descriptors."""
    descriptors = raise_descriptor_limit()
    return max(1, min(MAX_CONNECTIONS, descriptors - min(RESERVED, descriptors // 2)))


@dataclass(frozen=True, slots=True)
class _Idle:
    """Since when a connection is idle (monotonic seconds), and after which request; None: it never had one."""

    after: RequestResponseCycle | None
    since: float


class BoundedServer(uvicorn.Server):
    """Serves one listening socket with a bounded number of connections.

    Args:
        config: uvicorn's; the protocol is HTTP/1.1 as h11 implements it.
        listener: the listening socket.
        limit: the maximum number of connections.
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket, limit: int) -> None:
        super().__init__(config)
        self._listener = listener
        self._limit = limit
        self._idle: dict[H11Protocol, _Idle] = {}
        self._next_log_at = 0.0

    async def main_loop(self) -> None:
        """Accepts connections until the server is told to stop."""
        self._listener.setblocking(False)  # noqa: FBT003 - a function of the standard library
        async with asyncio.TaskGroup() as tasks:
            accepting = [tasks.create_task(self._accept_forever()), tasks.create_task(self._sweep_forever())]
            await super().main_loop()
            for task in accepting:
                task.cancel()

    async def _accept_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # mostly EMFILE or ENFILE
                self._warn(f"no connection can be accepted: {error.strerror}")
                self._close_an_idle_one()
                await asyncio.sleep(PAUSE_SEC)
                continue
            await self._make_room()
            try:
                await loop.connect_accepted_socket(self._new_protocol, connection)
            except OSError:  # the client has gone
                connection.close()

    async def _make_room(self) -> None:
        """Waits until there is room for one connection more."""
        while len(self.server_state.connections) >= self._limit:
            if self._close_an_idle_one():
                self._warn(f"reached the limit of {self._limit} connections; closing idle ones")
                await asyncio.sleep(0)  # the loop takes a closed one off the list
            else:
                self._warn(f"reached the limit of {self._limit} connections; new ones wait")
                await asyncio.sleep(WAIT_SEC)

    def _close_an_idle_one(self) -> bool:
        """Closes one that never had a request, otherwise another idle one; returns False if there is none."""
        idle = self._find_idle()
        if not idle:
            return False
        min(idle, key=lambda each: (idle[each].after is not None, idle[each].since)).transport.abort()
        return True

    async def _sweep_forever(self) -> None:
        """Closes connections that were idle for too long."""
        while True:
            await asyncio.sleep(SWEEP_SEC)
            oldest = time.monotonic() - IDLE_TIMEOUT_SEC
            for connection, idle in self._find_idle().items():
                if idle.since <= oldest:
                    connection.transport.abort()  # a polite end would wait for a client that reads nothing

    def _find_idle(self) -> dict[H11Protocol, _Idle]:
        """Returns the connections without a request in progress. Since when is as exact as the calls are frequent."""
        now = time.monotonic()
        found: dict[H11Protocol, _Idle] = {}
        for connection in self.server_state.connections:
            if isinstance(connection, H11Protocol) and _is_idle(connection):
                known, cycle = self._idle.get(connection), _cycle(connection)
                found[connection] = known if known and known.after is cycle else _Idle(cycle, now)
        self._idle = found
        return found

    def _new_protocol(self) -> H11Protocol:
        return H11Protocol(self.config, self.server_state, self.lifespan.state)

    def _warn(self, sentence: str) -> None:
        if (now := time.monotonic()) >= self._next_log_at:
            self._next_log_at = now + LOG_INTERVAL_SEC
            log.warning("mailroom: %s", sentence)


def _is_idle(connection: H11Protocol) -> bool:
    """Returns whether a connection has no request in progress, or has one whose client does not read the answer."""
    return (cycle := _cycle(connection)) is None or cycle.response_complete or connection.flow.write_paused


def _cycle(connection: H11Protocol) -> RequestResponseCycle | None:
    """Returns the last request of a connection; uvicorn's annotation leaves out None."""
    return cast("RequestResponseCycle | None", connection.cycle)  # pyright: ignore[reportUnknownMemberType]
