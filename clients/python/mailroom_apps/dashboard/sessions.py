"""Sessions — browsers that have opened a one-time link.

Each has two secrets: a cookie, and a token of the page, which the page keeps in the storage of its origin. A browser
sends a host's cookie to every port of that host, so the cookie alone proves nothing about who sent a request; the
page's token never leaves its origin and port.
Invariant: only digests of secrets are stored, and they are compared in constant time.
"""

__all__ = ["NewSession", "Role", "Session", "Sessions"]

import hashlib
import hmac
import secrets
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec
import orjson
from mailroom.private_file import write_private_file

from mailroom_apps.dashboard.private_files import make_private_directory

LIFETIME_SEC = 30 * 86_400  # since the last use
SAVE_INTERVAL_SEC = 3_600  # of the time of the last use
MAX_SESSIONS = 100  # the least recently used one makes room
SECRET_BYTES = 32
FILE = "sessions.json"


class Role(StrEnum):
    """What a session may do."""

    OPERATOR = "operator"
    OBSERVER = "observer"


@dataclass(slots=True)
class Session:
    """One browser.

    Attributes:
        id: names it in lists and in the audit; not a secret.
        agent: what the browser calls itself, for lists.
        cookie_digest, token_digest: SHA-256 of its secrets, in hex.
        created_at, used_at: seconds since 1970.
    """

    id: str
    role: Role
    agent: str
    cookie_digest: str = field(repr=False)
    token_digest: str = field(repr=False)
    created_at: float
    used_at: float


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session with its secrets, which are known at this moment only."""

    session: Session
    cookie: str = field(repr=False)
    token: str = field(repr=False)


class Sessions:
    """All sessions of one dashboard; they outlive the process.

    Args:
        directory: where their file is.
    """

    def __init__(self, directory: Path) -> None:
        self._file = make_private_directory(directory) / FILE
        self._sessions = _load(self._file)
        self._saved_at = time.time()

    def open(self, role: Role, agent: str) -> NewSession:
        """Opens a session. Raises OSError if it cannot be stored."""
        cookie, token = secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        now = time.time()
        session = Session(secrets.token_hex(4), role, agent, _digest(cookie), _digest(token), now, now)
        kept = sorted(self.active(), key=lambda each: each.used_at)[-(MAX_SESSIONS - 1) :]
        self._sessions = [*kept, session]
        self._save()
        return NewSession(session, cookie, token)

    def find(self, cookie: str, token: str) -> Session | None:
        """Returns the session to which both secrets belong."""
        cookie_digest, token_digest = _digest(cookie), _digest(token)
        for session in self.active():
            is_cookie = hmac.compare_digest(session.cookie_digest, cookie_digest)
            if is_cookie & hmac.compare_digest(session.token_digest, token_digest):
                session.used_at = time.time()
                if session.used_at - self._saved_at > SAVE_INTERVAL_SEC:
                    self._save()
                return session
        return None

    def revoke(self, session_id: str) -> bool:
        """Ends a session; returns whether there was one."""
        kept = [session for session in self._sessions if session.id != session_id]
        found = len(kept) < len(self._sessions)
        self._sessions = kept
        if found:
            self._save()
        return found

    def active(self) -> list[Session]:
        """Returns the sessions that are not too old."""
        oldest = time.time() - LIFETIME_SEC
        return [session for session in self._sessions if session.used_at >= oldest]

    def is_active(self, session: Session) -> bool:
        """Returns whether a session still exists."""
        return session in self._sessions

    def _save(self) -> None:
        self._saved_at = time.time()
        write_private_file(self._file, orjson.dumps([asdict(session) for session in self.active()]))


def _load(file: Path) -> list[Session]:
    """Returns the stored sessions; none if the file is absent or damaged, since a new link replaces a session."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[Session])
    except (FileNotFoundError, msgspec.DecodeError):
        return []


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()
