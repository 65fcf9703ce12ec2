"""RequestGuard — the checks that every call passes: who makes it, whether it may, and whether it asks too much.

Owns the order of the three, the refusal of new work while the daemon stops, and the repeated check of a caller whose
call has waited. The row of an RPC says what is checked (`rpcs`). Above: `interceptor`, which lets no call by; below:
`authentication`, `access`, `client_limits`. Invariant: a request that the guard refuses has had no effect.
"""

__all__ = ["RequestGuard"]

import time
from asyncio import Semaphore
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from mailroomd.auth.access import check_access, may_see_message
from mailroomd.auth.authentication import Authenticator
from mailroomd.auth.caller import Caller, Context, Role
from mailroomd.gateway.call import Call, Write
from mailroomd.gateway.client_limits import CallUsage, ClientLimits
from mailroomd.gateway.rpc import Rpc
from mailroomd.model.errors import MailroomError, stopping
from mailroomd.observability.log import log

LOG_INTERVAL_SEC = 1.0

_NOTHING_HELD = nullcontext()


class RequestGuard:
    """Admits calls or refuses them.

    Args:
        authenticator: identifies callers.
        limits: how much one client may use.
        agent_of: returns the agent behind a name.
        has_strangers: whether callers without a token can reach the gateway and must be refused.
        clock: monotonic seconds.

    Attributes:
        is_stopping: the daemon stops: new work is refused.
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
        self.is_stopping = False
        self._authenticator = authenticator
        self._limits = limits
        self._agent_of = agent_of
        self._clock = clock
        self._unlogged_refusals = 0
        self._next_log_at = 0.0

    def authenticate(self, rpc: Rpc, context: Context) -> Caller:
        """Returns who makes a call, before its request is read.

        Raises:
            MailroomError: the caller may not make this call, whatever the request says.
        """
        try:
            caller = self._authenticator.authenticate(context)
            check_access(rpc.name, rpc.rule, caller, None, self._agent_of)
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

    def admit(self, rpc: Rpc, caller: Caller, request: object, size_bytes: int) -> AbstractContextManager[None]:
        """Returns the context in which a request is handled.

        Raises:
            MailroomError: the daemon stops, the caller may not make this request, or asks too much.
        """
        if self.is_stopping and rpc.is_refused_at_stop:
            raise stopping()
        waits = rpc.waits is not None and rpc.waits(request)
        if caller.role is Role.OWNER:
            return self._limits.hold_stream(caller) if waits else _NOTHING_HELD
        try:
            check_access(rpc.name, rpc.rule, caller, request, self._agent_of)
        except MailroomError as error:
            self._log_refusal(rpc, caller.client, error)
            raise
        if rpc.cost is not None:
            self._limits.charge_messages(caller, rpc.cost(request, size_bytes))
        return self._hold(caller, size_bytes, waits=waits)

    def admit_stream(self, caller: Caller) -> AbstractContextManager[None]:
        """Returns the context that counts a stream while it lasts.

        Raises:
            MailroomError: the caller has too many streams.
        """
        return self._limits.hold_stream(caller)

    def admit_request_stream(self, caller: Caller) -> AbstractContextManager[None]:
        """Returns the context that counts a stream of requests while it lasts.

        Raises:
            MailroomError: the caller has too many of them, or too many streams.
        """
        return self._limits.hold_request_stream(caller)

    def call(self, rpc: Rpc, caller: Caller, request: object, context: Context) -> Call:
        """Returns an admitted call as its method sees it; `request` is None for a stream of requests."""
        check_still_allowed = partial(self.check_still_allowed, rpc, caller, request)
        may_see = partial(may_see_message, caller, agent_of=self._agent_of)
        work = self._limits.work(caller)
        if not rpc.contract.server_streaming:
            return Call(caller, context, check_still_allowed, may_see, work)
        write = _checked_write(check_still_allowed, context.write) if caller.token else context.write
        return Call(caller, context, check_still_allowed, may_see, work, write)

    def check_still_allowed(self, rpc: Rpc, caller: Caller, request: object) -> None:
        """Checks an admitted caller again: its token, and that the names in its request, if any, still belong to it.

        Raises:
            MailroomError: the token has been revoked or has expired, or an alias has moved or ended.
        """
        self._authenticator.check_token_still_valid(caller)
        check_access(rpc.name, rpc.rule, caller, request, self._agent_of)

    def check_response(self, rpc: Rpc, caller: Caller, request: object) -> None:
        """Checks that a caller may still see the response to its request.

        Raises:
            MailroomError: it may not any more.
        """
        if rpc.rule.is_rechecked:
            self.check_still_allowed(rpc, caller, request)

    def _log_refusal(self, rpc: Rpc, client: str, error: MailroomError) -> None:
        """Logs refusals, which may be break-in attempts; at intervals, so that they cannot flood the log."""
        self._unlogged_refusals += 1
        now = self._clock()
        if now >= self._next_log_at:
            refusals = self._unlogged_refusals
            log.warning("call refused", rpc=rpc.name, client=client, reason=error.reason, refusals=refusals)
            self._unlogged_refusals, self._next_log_at = 0, now + LOG_INTERVAL_SEC

    @contextmanager
    def _hold(self, caller: Caller, size_bytes: int, *, waits: bool) -> Generator[None]:
        with self._limits.hold_bytes(caller, size_bytes):
            if not waits:
                yield
                return
            with self._limits.hold_stream(caller):
                yield


def _checked_write(check_still_allowed: Callable[[], None], write: Write) -> Write:
    """Returns `write`, with a check before each response that the caller is still allowed to see it."""

    async def checked_write(response: object) -> None:
        check_still_allowed()
        await write(response)

    return checked_write
