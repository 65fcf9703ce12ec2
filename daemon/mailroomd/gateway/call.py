"""Call — one call as its method sees it: who makes it, its deadline and trace, and its share of the gateway's work.

Methods get it in the place of gRPC's context. Standard servicers (health, reflection) know only `write` and `abort` of
it, which do what the context's do.
"""

__all__ = ["Call", "Write"]

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from mailroomd.auth.caller import Caller, Context
from mailroomd.gateway.cooperation import WorkSlots
from mailroomd.observability.tracing import tracing

Write = Callable[[Any], Awaitable[None]]  # writes one response of a stream; those of this daemon are serialized


async def _cannot_write(_: object) -> None:
    raise TypeError("a call that is answered once has no stream to write to")


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        caller: who makes it.
        context: gRPC's.
        check_still_allowed: raises `MailroomError` if the caller's token is no longer valid, or a name in the request
            no longer belongs to the caller. A method that has waited calls it before it reads or returns mail.
        may_see: returns whether the caller may see a message with these parties, its sender and its recipient.
        work: the slots of the call's client; the call holds one while it reads or encodes a lot of mail.
        write: writes a response of a stream, and returns when gRPC has room for the next one; raises `MailroomError` if
            the caller may not see it any more.
    """

    caller: Caller
    context: Context
    check_still_allowed: Callable[[], None]
    may_see: Callable[[tuple[str, ...]], bool]
    work: WorkSlots
    write: Write = _cannot_write

    def time_left_sec(self) -> float | None:
        """Returns the seconds until the call's deadline; None if it has none."""
        return self.context.time_remaining()

    def traceparent(self) -> str:
        """Returns the call's `traceparent`; "" if it has none or tracing is off."""
        if not tracing.is_on:
            return ""
        metadata = self.context.invocation_metadata() or ()
        return next((value for name, value in metadata if name == "traceparent"), "")

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        """Ends the call with a status that has no reason; for standard servicers, whose statuses are standard too."""
        await self.context.abort(code, details)
