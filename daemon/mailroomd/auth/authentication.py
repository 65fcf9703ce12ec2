"""Authentication — finds out who makes a call: by the socket it came through, and by its token.

Owns reading `authorization: Bearer …`, and the sentences for tokens that are missing, unknown or expired. A token that
was given always counts, on the Unix socket too: so an agent there can prove its name, and a wrong one is seen.
Not here: what the caller may do (`auth.access`). Invariant: no token is ever logged or put into an error.
"""

__all__ = ["Authentication"]

from collections.abc import Callable
from datetime import UTC, datetime

from mailroomd.auth.caller import OWNER, Caller, Context, Role
from mailroomd.auth.token_file import KnownTokens, TokensUnreadable
from mailroomd.auth.tokens import id_in
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.observability.log import log

_MAKE_ONE = "make one with `mailroom token create` where the daemon runs, and set MAILROOM_TOKEN_FILE or MAILROOM_TOKEN"
_RETRY_AFTER_MS = 1000


class Authentication:
    """Knows its callers.

    Args:
        tokens: the tokens that are believed.
        is_required: whether TCP wants a token; without, whoever reaches a loopback port is taken for the owner.
        clock: returns milliseconds since 1970.
    """

    def __init__(self, tokens: KnownTokens, *, is_required: bool, clock: Callable[[], int] = now_ms) -> None:
        self._tokens = tokens
        self._is_required = is_required
        self._now_ms = clock

    def caller(self, context: Context) -> Caller:
        """Returns who makes a call.

        Raises:
            MailroomError: it shows a token that is not good.
        """
        for name, value in context.invocation_metadata() or ():
            if name == "authorization":
                return self._holder(str(value))
        peer: str = context.peer()
        if peer.startswith("unix:") or not self._is_required:
            return OWNER
        return Caller(Role.NOBODY, peer.rpartition(":")[0])

    def check_still_good(self, caller: Caller) -> None:
        """Passes a caller whose token has been neither revoked nor run out since.

        Raises:
            MailroomError: as for a new call.
        """
        if caller.token:
            self._check(caller.token)

    @staticmethod
    def missing() -> MailroomError:
        """Returns the error for a call that needs a token and has none."""
        return MailroomError(Reason.TOKEN_MISSING, f"this needs a token: {_MAKE_ONE}")

    def _holder(self, authorization: str) -> Caller:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            sentence = "`authorization` has to be `Bearer` and a token: other schemes are not known here"
            raise MailroomError(Reason.TOKEN_INVALID, sentence)
        return self._check(text.strip())

    def _check(self, text: str) -> Caller:
        number = id_in(text)
        try:
            token = self._tokens.get(number)
        except TokensUnreadable as error:
            log.error("tokens not read", error=str(error))
            sentence = "the mail room cannot read its tokens now: its log says why"
            raise MailroomError(Reason.STORAGE_FAILED, sentence, retry_after_ms=_RETRY_AFTER_MS) from error
        if token is None or not token.matches(text):
            sentence = "this token is not known: it was revoked, is mistyped, or is for another mail room"
            raise MailroomError(Reason.TOKEN_INVALID, f"{sentence}; {_MAKE_ONE}")
        if token.has_expired(self._now_ms()):
            when = datetime.fromtimestamp(token.expires_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
            raise MailroomError(Reason.TOKEN_EXPIRED, f"token {token.id} ran out on {when}: {_MAKE_ONE}")
        role = Role.ADMIN if token.is_admin else Role.AGENT
        return Caller(role, f"token {token.id}", token.agent, text)
