"""RequestGuard — what every call passes before it is answered: who it is, whether it may, and whether it asks too much.

Owns the order of the three, and who the running task answers (`auth.caller.calling`). Above: `handlers`, which lets no
request by; below: `authentication`, `access`, `client_limits`.
Invariant: nothing of a request has been carried out when the guard refuses it.
"""

__all__ = ["RequestGuard", "Write"]

import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from mailroomd.auth.access import check_access, check_answer
from mailroomd.auth.authentication import Authentication
from mailroomd.auth.caller import Caller, Context, Role, calling
from mailroomd.gateway.client_limits import ClientLimits
from mailroomd.model.errors import MailroomError
from mailroomd.observability.log import log

Write = Callable[[bytes], Awaitable[None]]  # takes one serialized response of a stream

LOG_EVERY_SEC = 1.0

_MESSAGES: dict[str, Callable[[Any], int]] = {  # how many messages a request sends
    "SendMessage": lambda _: 1,
    "BroadcastMessage": lambda request: len(request.recipients),
    "SendMessages": lambda request: len(request.messages),
}
_WAITS: dict[str, Callable[[Any], bool]] = {  # whether a unary request waits as a stream does
    "CheckInbox": lambda request: request.HasField("wait"),
}
_NOTHING_HELD = nullcontext()


class RequestGuard:
    """Lets calls pass, or not.

    Args:
        authentication: who calls.
        limits: how much a client may ask.
        agent_of: returns whose mailbox is behind a name.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        authentication: Authentication,
        limits: ClientLimits,
        agent_of: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authentication = authentication
        self._limits = limits
        self._agent_of = agent_of
        self._clock = clock
        self._unlogged = 0
        self._log_again_at = 0.0

    def authenticate(self, rpc: str, context: Context) -> Caller:
        """Returns who makes a call, before its request is read.

        Raises:
            MailroomError: whatever it asks, it may not.
        """
        try:
            caller = self._authentication.caller(context)
            check_access(rpc, caller, None, self._agent_of)
        except MailroomError as error:
            self._log_refusal(rpc, context.peer(), error)
            raise
        calling.set(caller)
        return caller

    def passing(self, caller: Caller, write: Write) -> Write:
        """Returns a stream's `write`, which checks before each response that the caller's token is still good."""
        if not caller.token:
            return write

        async def write_if_good(response: bytes) -> None:
            self.check_still_good(caller)
            await write(response)

        return write_if_good

    def check_still_good(self, caller: Caller) -> None:
        """Passes a caller, in the course of its stream, whose token is still good.

        Raises:
            MailroomError: it is not.
        """
        self._authentication.check_still_good(caller)

    def admit(self, rpc: str, caller: Caller, request: object, size_bytes: int) -> AbstractContextManager[None]:
        """Returns the context in which a request is answered.

        Raises:
            MailroomError: the caller may not ask this, or asks too much.
        """
        waits = rpc in _WAITS and _WAITS[rpc](request)
        if caller.role is Role.OWNER:
            return self._limits.stream(caller) if waits else _NOTHING_HELD
        try:
            check_access(rpc, caller, request, self._agent_of)
        except MailroomError as error:
            self._log_refusal(rpc, caller.client, error)
            raise
        if rpc in _MESSAGES:
            self._limits.take_messages(caller, _MESSAGES[rpc](request))
        return self._held(caller, size_bytes, waits=waits)

    def streaming(self, caller: Caller) -> AbstractContextManager[None]:
        """Returns the context in which a stream lasts.

        Raises:
            MailroomError: the caller has too many.
        """
        return self._limits.stream(caller)

    def check_answer(self, rpc: str, caller: Caller, request: object, answer: object) -> None:
        """Passes an answer that its caller may see.

        Raises:
            MailroomError: it may not.
        """
        check_answer(rpc, caller, request, answer, self._agent_of)

    def _log_refusal(self, rpc: str, client: str, error: MailroomError) -> None:
        """Logs a refusal, so that an operator sees who tries doors; not each one, so that nobody can flood the log."""
        self._unlogged += 1
        now = self._clock()
        if now >= self._log_again_at:
            log.warning("call refused", rpc=rpc, client=client, reason=error.reason, refusals=self._unlogged)
            self._unlogged, self._log_again_at = 0, now + LOG_EVERY_SEC

    @contextmanager
    def _held(self, caller: Caller, size_bytes: int, *, waits: bool) -> Generator[None]:
        with self._limits.bytes(caller, size_bytes):
            if not waits:
                yield
                return
            with self._limits.stream(caller):
                yield
