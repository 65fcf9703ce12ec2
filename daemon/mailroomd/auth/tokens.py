"""Token — proves who a client is: a text for the client, a record for the daemon.

Owns the text's form (`mr_ID_SECRET`; the id is public, for lists and logs) and the record, which holds a hash and never
the secret. Not here: the file (`auth.token_file`), what a token allows (`auth.access`).
Invariant: neither a record nor its repr reveals the text.
"""

__all__ = ["Token", "new_token", "parse_token_id"]

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection

import msgspec

from mailroomd.model.names import NAME_RULE, is_name

_SECRET_BYTES = 32
_TEXT = re.compile(r"mr_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The daemon's record of a token.

    Attributes:
        id: eight hex digits, public.
        sha256: of the whole text, as hex.
        agent: the agent that the token belongs to; "" for an administrator's.
        admin: whether it is an administrator's, which may act for every agent.
        created_ms: when it was created, milliseconds since 1970, UTC.
        expires_ms: when it expires; 0 for never.
    """

    id: str
    sha256: str
    agent: str = ""
    admin: bool = False
    created_ms: int
    expires_ms: int = 0

    @property
    def has_holder(self) -> bool:
        """Whether the record names exactly one holder: an agent or an administrator.

        Earlier versions wrote administrators' records without `admin`, and the same for an agent whose name was left
        empty by mistake. Which of the two a record was cannot be told, so it grants nothing.
        """
        return bool(self.agent) != self.admin

    def has_expired(self, now_ms: int) -> bool:
        """Returns whether the token has expired."""
        return bool(self.expires_ms) and now_ms >= self.expires_ms

    def matches(self, text: str) -> bool:
        """Returns whether a client's text is this token; takes the same time however much of the text is right."""
        return hmac.compare_digest(self.sha256, _sha256(text))


def new_token(agent: str | None, now_ms: int, ttl_ms: int = 0, taken: Collection[str] = ()) -> tuple[str, Token]:
    """Creates a token.

    Args:
        agent: the agent that the token belongs to; None for an administrator's.
        now_ms: milliseconds since 1970.
        ttl_ms: how long it is valid; 0 for no expiry.
        taken: ids that are in use.

    Returns:
        Its text, to be shown once, and its record.

    Raises:
        ValueError: the agent's name is not valid.
    """
    if agent is not None and not is_name(agent):
        problem = f"{agent!r} is not a valid name" if agent else "the agent's name is missing"
        raise ValueError(f"{problem}: {NAME_RULE}")
    token_id = secrets.token_hex(4)
    while token_id in taken:
        token_id = secrets.token_hex(4)
    text = f"mr_{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    expires_ms = now_ms + ttl_ms if ttl_ms else 0
    token = Token(
        id=token_id,
        sha256=_sha256(text),
        agent=agent or "",
        admin=agent is None,
        created_ms=now_ms,
        expires_ms=expires_ms,
    )
    return text, token


def parse_token_id(text: str) -> str:
    """Returns the id in a token's text; "" if the text is not a token."""
    match = _TEXT.fullmatch(text)
    return match[1] if match else ""


def _sha256(text: str) -> str:
    # A slow, salted hash protects secrets that people choose. This one has 256 random bits: it cannot be guessed at any
    # speed, no two are equal, and every call pays for one SHA-256, a microsecond.
    return hashlib.sha256(text.encode()).hexdigest()
