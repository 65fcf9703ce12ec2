"""Links — one-time links, by which a browser gets a session.

A link is a file whose name is the digest of its key, so that another process (`mailroom dashboard link`) can make one
for a running server. Listing the directory reveals no key.
Invariant: a link opens one session at most, within its time; taking it means to remove its file.
"""

__all__ = ["LINK_LIFETIME_SEC", "Links"]

import hashlib
import secrets
import time
from contextlib import suppress
from pathlib import Path

import orjson
from mailroom.private_file import write_private_file

from mailroom_apps.dashboard.private_files import make_private_directory
from mailroom_apps.dashboard.sessions import Role

LINK_LIFETIME_SEC = 60
KEY_BYTES = 32


class Links:
    """The one-time links of one dashboard.

    Args:
        directory: where their files are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "links"

    def create(self, role: Role) -> str:
        """Returns the key of a new link, 43 characters of base64url."""
        self._remove_old()
        key = secrets.token_urlsafe(KEY_BYTES)
        content = orjson.dumps({"role": role.value, "expires_at": time.time() + LINK_LIFETIME_SEC})
        write_private_file(make_private_directory(self._directory) / _digest(key), content)
        return key

    def take(self, key: str) -> Role | None:
        """Uses a link up and returns its role; None if there is no such link, or its time is over."""
        file = self._directory / _digest(key)
        try:
            content = orjson.loads(file.read_bytes())
            file.unlink()  # of several that try, one succeeds
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        return Role(content["role"]) if time.time() <= content["expires_at"] else None

    def _remove_old(self) -> None:
        for file in self._directory.glob("*") if self._directory.exists() else ():
            with suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > LINK_LIFETIME_SEC:
                    file.unlink()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
