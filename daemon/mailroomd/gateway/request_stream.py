"""RequestStream — answers the requests of one stream, in their order.

While a request waits for its answer, the next one is received, checked and submitted, so that nobody behind the gateway
waits for the client. Not here: what a request means (the RPC's method), what a stream counts as (`RequestGuard`).
Invariants: a request is submitted after the one before it; responses have the order of their requests; what ends the
stream comes after the responses to all earlier requests.
"""

__all__ = ["RequestStream"]

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from mailroomd.gateway.call import Call
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.rpc import Rpc

OVERLAPPING_BYTES = 256 << 10  # a larger request is handled alone: it would gain little, and two of them take memory
OVERLAPPING_MESSAGES = 250  # likewise: two in each of four streams are what may be pending of one client


class RequestStream:
    """Answers a stream of requests.

    Args:
        rpc: the RPC's row.
        method: takes a parsed request, the call, and a function to call as soon as the next request may follow; returns
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
                    is_submitted = asyncio.Event()
                    earlier, latest = latest, group.create_task(self._answer(encoded, is_submitted, latest))
                    del encoded  # a quiet stream holds neither its last request nor its last response
                    await is_submitted.wait()
                    await _ended(earlier)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _answer(self, encoded: bytes, is_submitted: asyncio.Event, earlier: "asyncio.Task[None] | None") -> None:
        """Answers one request, once the one before it is answered."""
        try:
            response = await self._respond(encoded, is_submitted, earlier)
        finally:
            await _ended(earlier)
        await self._call.context.write(response)
        is_submitted.set()

    async def _respond(self, encoded: bytes, is_submitted: asyncio.Event, earlier: "asyncio.Task[None] | None") -> Any:
        """Returns the response to one request; a large one waits until the one before it is answered."""
        rpc, call, size_bytes = self._rpc, self._call, len(encoded)
        if not (overlaps := size_bytes <= OVERLAPPING_BYTES):
            await _ended(earlier)
        self._guard.check_still_allowed(rpc, call.caller, None)
        request = await rpc.decode(encoded)
        del encoded
        if overlaps and rpc.cost is not None and rpc.cost(request, 0) > OVERLAPPING_MESSAGES:
            overlaps = False
            await _ended(earlier)
        with self._guard.admit(rpc, call.caller, request, size_bytes):
            parsed = request if rpc.parse is None else await rpc.parse(request, call)
            return await self._method(parsed, call, is_submitted.set if overlaps else _do_nothing)


async def _ended(task: "asyncio.Task[None] | None") -> None:
    if task is not None and not task.done():
        await asyncio.wait([task])


def _do_nothing() -> None:
    """Lets the next request wait for the response."""
