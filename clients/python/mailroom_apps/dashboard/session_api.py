"""SessionApi — opening and ending sessions, and the audit."""

__all__ = ["SessionApi"]

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from mailroom.records import iso_utc
from starlette.requests import Request
from starlette.responses import Response

from mailroom_apps.dashboard.api import Entry
from mailroom_apps.dashboard.audit import Audit
from mailroom_apps.dashboard.config import Site
from mailroom_apps.dashboard.guard import Access
from mailroom_apps.dashboard.links import Links
from mailroom_apps.dashboard.requests import answer, read_body, session_of
from mailroom_apps.dashboard.sessions import LIFETIME_SEC, Session, Sessions

MAX_AGENT_CHARS = 200  # of the header User-Agent
MAX_KEY_BYTES = 1_024  # of a request that anyone may make


class Key(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The key of a one-time link."""

    key: Annotated[str, msgspec.Meta(max_length=100)]


class Which(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A session to end."""

    session: Annotated[str, msgspec.Meta(max_length=100)]


class SessionApi:
    """The calls about sessions.

    Args:
        site: where the server is reached.
        sessions: the known sessions.
        links: the one-time links.
        audit: where openings and endings are recorded.
        on_ended: called after a session has ended, to end its streams.
    """

    def __init__(
        self, site: Site, sessions: Sessions, links: Links, audit: Audit, on_ended: Callable[[], None]
    ) -> None:
        self._site = site
        self._sessions = sessions
        self._links = links
        self._audit = audit
        self._on_ended = on_ended

    def entries(self) -> list[Entry]:
        """Returns every entry."""
        return [
            Entry("POST", "/api/session", Access.LINK, self._open),
            Entry("POST", "/api/session/end", Access.OBSERVER, self._end_own),
            Entry("GET", "/api/audit", Access.OPERATOR, self._read_audit),
            Entry("POST", "/api/session/revoke", Access.OPERATOR, self._revoke),
        ]

    async def _open(self, request: Request) -> Response:
        role = self._links.take((await read_body(request, Key, MAX_KEY_BYTES)).key)
        if role is None:
            refusal = {
                "reason": "LINK_USED",
                "message": "the link was used already, or is older than a minute: run `mailroom dashboard link`",
            }
            return answer(refusal, 401)
        host = request.headers["host"].lower()
        opened = self._sessions.open(role, request.headers.get("user-agent", "")[:MAX_AGENT_CHARS])
        self._audit.record(opened.session, "open session")
        response = answer({"token": opened.token, "role": role})
        response.set_cookie(
            self._site.cookie_name,
            opened.cookie,
            max_age=LIFETIME_SEC,
            path=self._site.cookie_path(host),
            secure=host in self._site.secure_hosts,
            httponly=True,
            samesite="strict",
        )
        return response

    async def _end_own(self, request: Request) -> Response:
        session = session_of(request)
        self._sessions.revoke(session.id)
        self._on_ended()
        self._audit.record(session, "end session")
        return answer({})

    async def _revoke(self, request: Request) -> Response:
        which = (await read_body(request, Which)).session
        found = self._sessions.revoke(which)
        self._on_ended()
        self._audit.record(session_of(request), "revoke session", revoked=which, found=found)
        return answer({"found": found})

    async def _read_audit(self, request: Request) -> Response:
        sessions = [_view(session) for session in self._sessions.active()]
        return answer({"entries": self._audit.latest(), "sessions": sessions, "own": session_of(request).id})


def _view(session: Session) -> dict[str, object]:
    """Returns a session without its secrets."""
    return {
        "id": session.id,
        "role": session.role,
        "agent": session.agent,
        "created_at": _moment(session.created_at),
        "used_at": _moment(session.used_at),
    }


def _moment(seconds: float) -> str:
    return iso_utc(datetime.fromtimestamp(seconds, UTC))
