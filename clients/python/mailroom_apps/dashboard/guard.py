"""Guard — decides about each request before anything else sees it, and puts the security headers on each response.

The order: the header Host, then where the request comes from, then the session, then the role. `judge` is the pure
decision, from which `Guard` is built. What is not listed in `PUBLIC` or `Rules.access` does not exist.
Invariant: no handler runs for a request that fails any of the checks; paths are compared whole and decoded.
"""

__all__ = ["Access", "Guard", "Refusal", "Rules", "security_headers"]

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailroom_apps.dashboard.config import DashboardConfig, Site
from mailroom_apps.dashboard.sessions import Role, Session, Sessions

TOKEN_HEADER = "x-mailroom-page-token"  # noqa: S105 - a name, no secret
SAFE_METHODS = frozenset({"GET", "HEAD"})
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


class Access(IntEnum):
    """Who may use an entry of the interface; each level includes the ones before it."""

    LINK = 0  # anyone on this site: the key of a link is the proof
    OBSERVER = 1
    OPERATOR = 2
    MANAGER = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served: a status, a stable reason, a sentence that says what to do."""

    status: int
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What is judged by.

    Attributes:
        public: the paths of the page itself, which hold no data.
        access: who may use each entry, by method and path.
    """

    config: DashboardConfig
    site: Site
    public: frozenset[str]
    access: Mapping[tuple[str, str], Access]


def judge(rules: Rules, sessions: Sessions, method: str, path: str, headers: Headers) -> "Session | Refusal | None":
    """Returns the session of a request, None for a request that needs none, or why it is refused."""
    if refusal := _judge_host(rules, headers):
        return refusal
    if path in rules.public:
        return None if method in SAFE_METHODS else Refusal(405, "METHOD_UNKNOWN", "the page can only be read")
    if refusal := _judge_source(rules, method, headers):
        return refusal
    access = rules.access.get((method, path))
    if access is Access.LINK:
        return None
    session = _find_session(rules.site, sessions, headers)
    if session is None:
        return Refusal(401, "SESSION_MISSING", "this browser has no session: run `mailroom dashboard link`")
    if access is None:
        return Refusal(404, "ENTRY_UNKNOWN", "there is nothing at this address")
    return _judge_role(rules.config, access, session) or session


def _judge_host(rules: Rules, headers: Headers) -> Refusal | None:
    hosts = headers.getlist("host")
    if len(hosts) == 1 and hosts[0].lower() in rules.site.origins:
        return None
    names = ", ".join(rules.site.origins)
    return Refusal(421, "HOST_UNKNOWN", f"the dashboard answers to {names} only; --public-url names another host")


def _judge_source(rules: Rules, method: str, headers: Headers) -> Refusal | None:
    """Refuses what another site, another port or no page at all has sent."""
    sites, origins = headers.getlist("sec-fetch-site"), headers.getlist("origin")
    own = rules.site.origins[headers["host"].lower()]
    if (sites and sites != ["same-origin"]) or (origins and origins != [own]) or not (sites or origins):
        return Refusal(403, "SOURCE_FOREIGN", "only the dashboard's own page may ask for this")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method not in SAFE_METHODS and kind != "application/json":
        return Refusal(415, "NOT_JSON", "the request must be JSON")
    return None


def _find_session(site: Site, sessions: Sessions, headers: Headers) -> Session | None:
    token = headers.get(TOKEN_HEADER)
    cookies = [value for header in headers.getlist("cookie") for value in _cookies(header, site.cookie_name)]
    if not token:
        return None
    return next((session for cookie in cookies if (session := sessions.find(cookie, token))), None)


def _cookies(header: str, name: str) -> Iterable[str]:
    """Yields the cookie's values; another port of the host may have set one of the same name."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            yield value


def _judge_role(config: DashboardConfig, access: Access, session: Session) -> Refusal | None:
    is_observer = config.read_only or session.role is Role.OBSERVER
    if access > Access.OBSERVER and is_observer:
        return Refusal(403, "OBSERVER_ONLY", "this session may only watch: run `mailroom dashboard link` for another")
    if access is Access.MANAGER and not config.manage:
        return Refusal(403, "MANAGEMENT_OFF", "start the dashboard with --manage to act on other agents' mailboxes")
    return None


def security_headers(headers: MutableHeaders, path: str) -> None:
    """Adds what every response carries."""
    headers["content-security-policy"] = CONTENT_POLICY
    headers["cross-origin-opener-policy"] = "same-origin"
    headers["cross-origin-resource-policy"] = "same-origin"
    headers["permissions-policy"] = "camera=(), geolocation=(), microphone=()"
    headers["referrer-policy"] = "no-referrer"
    headers["x-content-type-options"] = "nosniff"
    headers["x-frame-options"] = "DENY"
    headers["cache-control"] = "no-store" if path.startswith("/api/") else "no-cache"


class Guard:
    """An ASGI application in front of another one.

    Args:
        app: what serves a request that passes; it finds the session in `request.state.session`.
        rules: what is judged by.
        sessions: the known sessions.
    """

    def __init__(self, app: ASGIApp, rules: Rules, sessions: Sessions) -> None:
        self._app = app
        self._rules = rules
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection; only HTTP is served."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        path: str = scope["path"]

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                security_headers(MutableHeaders(scope=message), path)
            await send(message)

        verdict = judge(self._rules, self._sessions, scope["method"], path, Headers(scope=scope))
        if isinstance(verdict, Refusal):
            body = {"reason": verdict.reason, "message": verdict.sentence}
            await JSONResponse(body, verdict.status)(scope, receive, send_guarded)
            return
        scope.setdefault("state", {})["session"] = verdict
        await self._app(scope, receive, send_guarded)
