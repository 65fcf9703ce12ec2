"""Authentication — finds out who makes a call, from its socket and its token.

Owns the parsing of `authorization: Bearer …`, and the error sentences for missing, unknown and expired tokens. A token
is checked on the Unix socket too, so that an agent can prove its name there and a wrong token is noticed.
Not here: what the caller may do (`auth.access`). Invariant: no token is ever logged or put into an error.
"""

__all__ = ["Authenticator", "token_missing"]

from collections.abc import Callable
from datetime import UTC, datetime

from mailroomd.auth.caller import OWNER, Caller, Context, Role
from mailroomd.auth.token_file import TokenCache, TokensUnreadable
from mailroomd.auth.tokens import parse_token_id
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.observability.log import log

_CREATE_ONE = (
    "create one with `mailroom token create` where the daemon runs, and set MAILROOM_TOKEN_FILE or MAILROOM_TOKEN"
)
_RETRY_AFTER_MS = 1000


class Authenticator:
    """Identifies callers.

    Args:
        tokens: the tokens that are accepted.
        is_required: whether TCP callers need a token; if not, anyone who reaches a loopback port counts as the owner.
        clock: returns milliseconds since 1970.
    """

    def __init__(self, tokens: TokenCache, *, is_required: bool, clock: Callable[[], int] = now_ms) -> None:
        self._tokens = tokens
        self._is_required = is_required
        self._now_ms = clock

    def authenticate(self, context: Context) -> Caller:
        """Returns who makes a call.

        Raises:
            MailroomError: the call presents a token that is not valid.
        """
        for name, value in context.invocation_metadata() or ():
            if name == "authorization":
                return self._authenticate_header(str(value))
        peer: str = context.peer()
        if peer.startswith("unix:") or not self._is_required:
            return OWNER
        return Caller(Role.ANONYMOUS, peer.rpartition(":")[0])

    def check_token_still_valid(self, caller: Caller) -> None:
        """Checks that the caller's token has not been revoked and has not expired since it was presented.

        Raises:
            MailroomError: as for a new call.
        """
        if caller.token:
            self._authenticate_token(caller.token)

    def _authenticate_header(self, authorization: str) -> Caller:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            sentence = "unsupported authorization scheme: send `authorization: Bearer TOKEN`"
            raise MailroomError(Reason.TOKEN_INVALID, sentence)
        return self._authenticate_token(text.strip())

    def _authenticate_token(self, text: str) -> Caller:
        try:
            token = self._tokens.get(parse_token_id(text))
        except TokensUnreadable as error:
            log.error("token file not readable", error=str(error))
            sentence = "the daemon cannot read its token file: see its log"
            raise MailroomError(Reason.STORAGE_FAILED, sentence, retry_after_ms=_RETRY_AFTER_MS) from error
        if token is None or not token.matches(text):
            sentence = "unknown token: it was revoked, is mistyped, or belongs to another daemon"
            raise MailroomError(Reason.TOKEN_INVALID, f"{sentence}; {_CREATE_ONE}")
        if token.has_expired(self._now_ms()):
            expiry = datetime.fromtimestamp(token.expires_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
            raise MailroomError(Reason.TOKEN_EXPIRED, f"token {token.id} expired on {expiry}: {_CREATE_ONE}")
        if not token.has_holder:
            sentence = f"token {token.id} names neither an agent nor an administrator"
            raise MailroomError(Reason.TOKEN_INVALID, f"{sentence}: revoke it, and {_CREATE_ONE}")
        role = Role.ADMIN if token.admin else Role.AGENT
        return Caller(role, f"token {token.id}", token.agent, text)


def token_missing() -> MailroomError:
    """Returns the error for a call that needs a token and presents none."""
    return MailroomError(Reason.TOKEN_MISSING, f"this call needs a token: {_CREATE_ONE}")
