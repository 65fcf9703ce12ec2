"""Bearer token — the secret that a client of the MCP server over HTTP shows: kept in a file of its owner's, or given.

Invariant: a token file that others can read is refused, and a token is compared in constant time.
"""

__all__ = ["SharedToken", "given_or_kept"]

import hmac
import os
import secrets
import stat
from pathlib import Path

from mailroom.errors import PermissionDenied
from mcp.server.auth.provider import AccessToken

TOKEN_BYTES = 32  # of chance
LEAST_CHARS = 16


class SharedToken:
    """Recognises the one token, as the SDK's token verifier.

    Args:
        token: the secret.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Returns whom the token admits, None if it is not ours."""
        if not hmac.compare_digest(token.encode(errors="surrogateescape"), self._token):
            return None
        return AccessToken(token=token, client_id="mailroom", scopes=[])


def given_or_kept(given: str | None, file: Path) -> str:
    """Returns the token that was given, else the file's; a missing file is made, with a new token.

    Raises:
        PermissionDenied: TOKEN_FILE_EXPOSED, TOKEN_TOO_SHORT.
        OSError: the file can't be read or made.
    """
    if given:
        return _long_enough(given, "MAILROOM_MCP_TOKEN")
    try:
        return _read(file)
    except FileNotFoundError:
        return _make(file)


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        mode = os.fstat(opened.fileno()).st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise PermissionDenied(
                f"the token file {file} can be read by others: `chmod 600 {file}`, or remove it to get a new token",
                reason="TOKEN_FILE_EXPOSED",
            )
        return _long_enough(opened.read().decode(errors="replace").strip(), str(file))


def _make(file: Path) -> str:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    temporary = file.with_name(f"{file.name}.{secrets.token_hex(4)}.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(f"{token}\n")
    try:
        os.link(temporary, file)  # unlike a rename, it never takes the place of what another has just made
    except FileExistsError:
        return _read(file)
    finally:
        temporary.unlink()
    return token


def _long_enough(token: str, source: str) -> str:
    if len(token) < LEAST_CHARS:
        raise PermissionDenied(
            f"{source}: a token has {LEAST_CHARS} characters at least: `openssl rand -hex 32` makes one",
            reason="TOKEN_TOO_SHORT",
        )
    return token
