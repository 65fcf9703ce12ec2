"""Call — one call as its method sees it: who makes it, its deadline and trace, and its share of the gateway's work."""

__all__ = ["Call"]

from collections.abc import Callable
from dataclasses import dataclass

from mailroomd.auth.caller import Caller, Context
from mailroomd.gateway.cooperation import WorkSlots
from mailroomd.observability.tracing import tracing


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
    """

    caller: Caller
    context: Context
    check_still_allowed: Callable[[], None]
    may_see: Callable[[tuple[str, ...]], bool]
    work: WorkSlots

    def time_left_sec(self) -> float | None:
        """Returns the seconds until the call's deadline; None if it has none."""
        return self.context.time_remaining()

    def traceparent(self) -> str:
        """Returns the call's `traceparent`; "" if it has none or tracing is off."""
        if not tracing.is_on:
            return ""
        metadata = self.context.invocation_metadata() or ()
        return next((value for name, value in metadata if name == "traceparent"), "")
