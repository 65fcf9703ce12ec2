"""RequestStream — answers the requests of one stream, in their order.

While a request waits for its answer, the next one is received, checked and submitted, so that the gateway and the
workers behind it work at the same time. Not here: what a request means (the RPC's method), what a stream counts as
(`RequestGuard`), when more would only queue (`MailboxClient`).
Invariants: a request is submitted after the one before it; responses have the order of their requests; an error that
ends the stream follows the responses to all earlier requests.
"""

__all__ = ["RequestStream"]

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from mailroomd.gateway.call import Call
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.rpc import Rpc

OVERLAPPING_BYTES = 256 << 10  # a larger request is handled alone: overlapping it would gain little and cost memory


class RequestStream:
    """Answers a stream of requests.

    Args:
        rpc: the RPC's row.
        method: takes a parsed request, the call, and a function that it calls once the next request may follow; returns
            the response.
        guard: admits each request.
        call: the stream.
    """

    def __init__(self, rpc: Rpc, method: Callable[..., Awaitable[Any]], guard: RequestGuard, call: Call) -> None:
        self._rpc = rpc
        self._method = method
        self._guard = guard
        self._call = call

    async def run(self) -> None:
        """Answers requests until the client ends the stream.

        Raises:
            Exception: why a request failed as a whole.
        """
        latest: asyncio.Task[None] | None = None
        try:
            async with asyncio.TaskGroup() as group:
                while (encoded := await self._call.context.read()) is not grpc.aio.EOF:
                    may_proceed = asyncio.Event()
                    earlier, latest = latest, group.create_task(self._answer(encoded, may_proceed, latest))
                    del encoded  # a quiet stream holds neither its last request nor its last response
                    await may_proceed.wait()
                    await _ended(earlier)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _answer(self, encoded: bytes, may_proceed: asyncio.Event, earlier: "asyncio.Task[None] | None") -> None:
        """Answers one request, once the one before it is answered."""
        overlaps = len(encoded) <= OVERLAPPING_BYTES
        if not overlaps:
            await _ended(earlier)
        try:
            response = await self._respond(encoded, may_proceed.set if overlaps else _do_nothing)
        finally:
            await _ended(earlier)
        await self._call.context.write(response)
        may_proceed.set()

    async def _respond(self, encoded: bytes, proceed: Callable[[], None]) -> Any:
        rpc, call, size_bytes = self._rpc, self._call, len(encoded)
        self._guard.check_still_allowed(rpc, call.caller, None)
        request = await rpc.decode(encoded)
        del encoded
        with self._guard.admit(rpc, call.caller, request, size_bytes):
            parsed = request if rpc.parse is None else await rpc.parse(request, call)
            return await self._method(parsed, call, proceed)


async def _ended(task: "asyncio.Task[None] | None") -> None:
    if task is not None and not task.done():
        await asyncio.wait([task])


def _do_nothing() -> None:
    """Lets the next request wait for the response."""
