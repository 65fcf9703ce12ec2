"""Tokens — creates, lists and revokes the tokens in a state directory, whether its daemon runs or not.

Not here: the file itself and its checks (`auth.token_file`), the command and its output (`mailroom token`).
"""

__all__ = ["Token", "TokenFile", "create_token", "has_expired", "open_token_file"]

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mailroom.errors import MailroomError

from mailroomd.auth.token_file import TokenFile, TokensUnreadable
from mailroomd.auth.tokens import Token
from mailroomd.model.clock import now_ms


@contextmanager
def open_token_file(state_dir: Path) -> Generator[TokenFile]:
    """Yields the token file of a state directory.

    Raises:
        MailroomError: the file cannot be used; the sentence says why.
    """
    try:
        yield TokenFile(state_dir)
    except TokensUnreadable as error:
        raise MailroomError(str(error)) from error


def create_token(file: TokenFile, agent: str | None, ttl_sec: float | None) -> tuple[str, Token]:
    """Adds a token for an agent, or an administrator's if `agent` is None; returns its text, which is not kept.

    Raises:
        ValueError: the name is not valid.
    """
    return file.create(agent, now_ms(), int((ttl_sec or 0) * 1000))


def has_expired(token: Token) -> bool:
    """Returns whether the daemon refuses this token now because its lifetime is over."""
    return token.has_expired(now_ms())
