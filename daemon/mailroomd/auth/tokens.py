"""Token — the proof of who a client is, as text for the client and as a record for the mail room.

Owns the text's form (`mr_ID_SECRET`: the id is public, for lists and logs) and what is kept of it: a hash, never the
secret. Not here: the file (`auth.token_file`), what a token allows (`auth.access`).
Invariant: a record does not give the text away, and neither does a record's repr.
"""

__all__ = ["Token", "id_in", "new_token"]

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection

import msgspec

from mailroomd.model.names import NAME_RULE, is_name

_SECRET_BYTES = 32
_TEXT = re.compile(r"mr_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the mail room knows of a token.

    Attributes:
        id: eight hex digits, public.
        sha256: of the whole text, as hex.
        agent: whose token it is; "" for an administrator's.
        created_ms: when it was made, milliseconds since 1970, UTC.
        expires_ms: when it ends, 0 for never.
    """

    id: str
    sha256: str
    agent: str = ""
    created_ms: int
    expires_ms: int = 0

    @property
    def is_admin(self) -> bool:
        """Whether it is an administrator's: it may speak for everybody."""
        return not self.agent

    def has_expired(self, now_ms: int) -> bool:
        """Returns whether its time has run out."""
        return bool(self.expires_ms) and now_ms >= self.expires_ms

    def matches(self, text: str) -> bool:
        """Returns whether a client's text is this token, in a time that says nothing about how much of it is right."""
        return hmac.compare_digest(self.sha256, _hash(text))


def new_token(agent: str, now_ms: int, ttl_ms: int = 0, taken: Collection[str] = ()) -> tuple[str, Token]:
    """Makes a token.

    Args:
        agent: whose it is; "" for an administrator's.
        now_ms: milliseconds since 1970.
        ttl_ms: how long it lasts, 0 for ever.
        taken: ids that are in use.

    Returns:
        Its text, which is to be shown once, and its record.

    Raises:
        ValueError: the agent's name is none.
    """
    if agent and not is_name(agent):
        raise ValueError(f"{agent!r} is no name: {NAME_RULE}")
    number = secrets.token_hex(4)
    while number in taken:
        number = secrets.token_hex(4)
    text = f"mr_{number}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    expires_ms = now_ms + ttl_ms if ttl_ms else 0
    return text, Token(id=number, sha256=_hash(text), agent=agent, created_ms=now_ms, expires_ms=expires_ms)


def id_in(text: str) -> str:
    """Returns the id in a token's text, "" if the text is no token."""
    match = _TEXT.fullmatch(text)
    return match[1] if match else ""


def _hash(text: str) -> str:
    # A slow, salted hash protects secrets that people choose. This one is 256 random bits: nobody guesses it at any
    # speed, no two are equal, and one SHA-256 for each call costs a microsecond.
    return hashlib.sha256(text.encode()).hexdigest()
