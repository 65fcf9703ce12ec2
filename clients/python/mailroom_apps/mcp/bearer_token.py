"""BearerToken — the secret that clients of the MCP server over HTTP present: from the environment, or from a file.

Invariant: a token file that others can read is refused, and a token is compared in constant time. What root creates
belongs to the owner of the directory, who runs the server the next time.
"""

__all__ = ["SharedToken", "load_token"]

import hmac
import os
import secrets
import stat
from pathlib import Path

from mailroom.errors import PermissionDenied
from mcp.server.auth.provider import AccessToken

TOKEN_BYTES = 32
MIN_TOKEN_CHARS = 16


class SharedToken:
    """Verifies the one token, as the SDK's token verifier.

    Args:
        token: the secret.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Returns the access that the token grants; None for any other token."""
        if not hmac.compare_digest(token.encode(errors="surrogateescape"), self._token):
            return None
        return AccessToken(token=token, client_id="mailroom", scopes=[])


def load_token(given: str | None, file: Path) -> str:
    """Returns the given token, otherwise that of the file. A missing file is created with a new token.

    Raises:
        PermissionDenied: TOKEN_FILE_EXPOSED, TOKEN_TOO_SHORT.
        OSError: the file cannot be read or created.
    """
    if given:
        return _check_length(given, "MAILROOM_MCP_TOKEN")
    try:
        return _read(file)
    except FileNotFoundError:
        return _create(file)


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        mode = os.fstat(opened.fileno()).st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise PermissionDenied(
                f"others can read the token file {file}: run `chmod 600 {file}`, or remove it to get a new token",
                reason="TOKEN_FILE_EXPOSED",
            )
        return _check_length(opened.read().decode(errors="replace").strip(), str(file))


def _create(file: Path) -> str:
    _make_directory(file.parent)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    temporary = file.with_name(f"{file.name}.{secrets.token_hex(4)}.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        _give_to_owner_of(file.parent, opened.fileno())
        opened.write(f"{token}\n")
        opened.flush()
        os.fsync(opened.fileno())
    try:
        os.link(temporary, file)  # unlike a rename, it never replaces a file that another server has just created
    except FileExistsError:
        return _read(file)
    finally:
        temporary.unlink()
    return token


def _make_directory(path: Path) -> None:
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _give_to_owner_of(path.parent, descriptor)
    finally:
        os.close(descriptor)


def _give_to_owner_of(directory: Path, descriptor: int) -> None:
    """Gives a new file or directory of root to the owner of the directory that it is in."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _check_length(token: str, source: str) -> str:
    if len(token) < MIN_TOKEN_CHARS:
        raise PermissionDenied(
            f"{source}: a token needs at least {MIN_TOKEN_CHARS} characters; `openssl rand -hex 32` generates one",
            reason="TOKEN_TOO_SHORT",
        )
    return token
