"""RequestGuard — the checks that every call passes: who makes it, whether it may, and whether it asks too much.

Owns the order of the three, and the repeated check of a caller whose call has waited. Above: `handlers`, which lets no
request by; below: `authentication`, `access`, `client_limits`.
Invariant: a request that the guard refuses has had no effect.
"""

__all__ = ["RequestGuard", "Write"]

import time
from asyncio import Semaphore
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from mailroomd.auth.access import RULES, check_access, may_see_message
from mailroomd.auth.authentication import Authenticator
from mailroomd.auth.caller import Caller, Context, Role
from mailroomd.gateway.call import Call
from mailroomd.gateway.client_limits import CallUsage, ClientLimits
from mailroomd.model.errors import MailroomError
from mailroomd.observability.log import log

Write = Callable[[bytes], Awaitable[None]]  # writes one serialized response of a stream

LOG_INTERVAL_SEC = 1.0

_MESSAGE_COUNTS: dict[str, Callable[[Any], int]] = {  # how many messages a request sends
    "SendMessage": lambda _: 1,
    "BroadcastMessage": lambda request: len(request.recipients),
    "SendMessages": lambda request: len(request.messages),
}
_WAITS: dict[str, Callable[[Any], bool]] = {  # whether a unary request waits as a stream does
    "CheckInbox": lambda request: request.HasField("wait"),
}
_NOTHING_HELD = nullcontext()


class RequestGuard:
    """Admits calls or refuses them.

    Args:
        authenticator: identifies callers.
        limits: how much one client may use.
        agent_of: returns the agent behind a name.
        has_strangers: whether callers without a token can reach the gateway and must be refused.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        limits: ClientLimits,
        agent_of: Callable[[str], str],
        *,
        has_strangers: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.has_strangers = has_strangers
        self._authenticator = authenticator
        self._limits = limits
        self._agent_of = agent_of
        self._clock = clock
        self._unlogged_refusals = 0
        self._next_log_at = 0.0

    def authenticate(self, rpc: str, context: Context) -> Caller:
        """Returns who makes a call, before its request is read.

        Raises:
            MailroomError: the caller may not make this call, whatever the request says.
        """
        try:
            caller = self._authenticator.authenticate(context)
            check_access(rpc, caller, None, self._agent_of)
        except MailroomError as error:
            self._log_refusal(rpc, context.peer(), error)
            raise
        return caller

    def begin_call(self, caller: Caller) -> CallUsage | None:
        """Counts a call that is not a stream, before its request is read; None for the owner's, which are not bounded.

        Raises:
            MailroomError: the caller has too many calls in progress, or does not read its responses.
        """
        return None if caller.role is Role.OWNER else self._limits.begin_call(caller)

    def receiving(self, caller: Caller) -> Semaphore:
        """Returns what a call holds while its request is received."""
        return self._limits.receiving(caller)

    def admit(self, rpc: str, caller: Caller, request: object, size_bytes: int) -> AbstractContextManager[None]:
        """Returns the context in which a request is handled.

        Raises:
            MailroomError: the caller may not make this request, or asks too much.
        """
        waits = rpc in _WAITS and _WAITS[rpc](request)
        if caller.role is Role.OWNER:
            return self._limits.hold_stream(caller) if waits else _NOTHING_HELD
        try:
            check_access(rpc, caller, request, self._agent_of)
        except MailroomError as error:
            self._log_refusal(rpc, caller.client, error)
            raise
        if rpc in _MESSAGE_COUNTS:
            self._limits.charge_messages(caller, _MESSAGE_COUNTS[rpc](request))
        return self._hold(caller, size_bytes, waits=waits)

    def admit_stream(self, caller: Caller) -> AbstractContextManager[None]:
        """Returns the context that counts a stream while it lasts.

        Raises:
            MailroomError: the caller has too many streams.
        """
        return self._limits.hold_stream(caller)

    def call(self, rpc: str, caller: Caller, request: object, context: Context) -> Call:
        """Returns an admitted call as its method sees it."""
        check_still_allowed = partial(self.check_still_allowed, rpc, caller, request)
        may_see = partial(may_see_message, caller, agent_of=self._agent_of)
        return Call(caller, context, check_still_allowed, may_see, self._limits.work(caller))

    def guard_writes(self, call: Call) -> Write:
        """Returns the call's `write`, with a check before each response that the caller is still allowed to see it."""
        write: Write = call.context.write
        if not call.caller.token:
            return write

        async def guarded_write(response: bytes) -> None:
            call.check_still_allowed()
            await write(response)

        return guarded_write

    def check_still_allowed(self, rpc: str, caller: Caller, request: object) -> None:
        """Checks an admitted caller again: its token, and that the names in its request, if any, still belong to it.

        Raises:
            MailroomError: the token has been revoked or has expired, or an alias has moved or ended.
        """
        self._authenticator.check_token_still_valid(caller)
        check_access(rpc, caller, request, self._agent_of)

    def check_response(self, rpc: str, caller: Caller, request: object) -> None:
        """Checks that a caller may still see the response to its request.

        Raises:
            MailroomError: it may not any more.
        """
        if RULES[rpc].is_rechecked:
            self.check_still_allowed(rpc, caller, request)

    def _log_refusal(self, rpc: str, client: str, error: MailroomError) -> None:
        """Logs refusals, which may be break-in attempts; at intervals, so that they cannot flood the log."""
        self._unlogged_refusals += 1
        now = self._clock()
        if now >= self._next_log_at:
            log.warning("call refused", rpc=rpc, client=client, reason=error.reason, refusals=self._unlogged_refusals)
            self._unlogged_refusals, self._next_log_at = 0, now + LOG_INTERVAL_SEC

    @contextmanager
    def _hold(self, caller: Caller, size_bytes: int, *, waits: bool) -> Generator[None]:
        with self._limits.hold_bytes(caller, size_bytes):
            if not waits:
                yield
                return
            with self._limits.hold_stream(caller):
                yield
