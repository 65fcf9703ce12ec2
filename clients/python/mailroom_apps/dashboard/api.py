"""Api — the page's calls: each entry with its method, its path, who may use it, and what serves it.

Parameters are in the query or in a JSON body, never in the path, so that the guard can compare whole paths. An error of
the daemon keeps its sentence and its reason. Not here: sessions, links and the audit (`session_api`).
"""

__all__ = ["Api", "Entry", "Handler"]

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from mailroom.aio import AsyncMailroom
from mailroom.errors import PermissionDenied
from mailroom.events import Event
from mailroom.messages import Message, TrackedMessage
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mailroom_apps.dashboard.activity import Activity
from mailroom_apps.dashboard.audit import Audit
from mailroom_apps.dashboard.config import DashboardConfig
from mailroom_apps.dashboard.feed import Feed, is_event_id
from mailroom_apps.dashboard.guard import Access
from mailroom_apps.dashboard.incidents import Incidents
from mailroom_apps.dashboard.lists import Filters, export_lines, list_page
from mailroom_apps.dashboard.requests import Ids, Named, answer, invalid, read_body, session_of
from mailroom_apps.dashboard.sending import Submission, send_to_all
from mailroom_apps.dashboard.series import Series
from mailroom_apps.dashboard.sessions import Role, Session, Sessions
from mailroom_apps.dashboard.situation import Situation
from mailroom_apps.dashboard.stream import Stream, StreamLimits
from mailroom_apps.dashboard.traffic import count_traffic
from mailroom_apps.dashboard.views import tracked_view

MAX_THREAD = 200  # messages of a thread that are shown
MAX_FORMATTED_CHARS = 64 * 1024  # of a thread
MAX_PERIOD_HOURS = 24 * 31

Handler = Callable[[Request], Awaitable[Response]]


class Entry(NamedTuple):
    """One entry of the interface."""

    method: str
    path: str
    access: Access
    handler: Handler


class Api:
    """The calls about mail and about the daemon.

    Args:
        client: the connection to the daemon.
        config: the options of this dashboard.
        sessions: the known sessions.
        audit: where actions are recorded.
        page_version: of the files of the page.
    """

    def __init__(
        self, client: AsyncMailroom, config: DashboardConfig, sessions: Sessions, audit: Audit, page_version: str
    ) -> None:
        self._client = client
        self._config = config
        self._sessions = sessions
        self._audit = audit
        self._page_version = page_version
        incidents, self._activity = Incidents(), Activity()
        self._actions = 0  # of all pages
        self._situation = Situation(
            client,
            config.operator,
            config.stuck_after_sec,
            incidents,
            self._activity,
            lambda: (self.feed.position, self.feed.state, self._actions),
        )
        self._limits = StreamLimits()
        self._is_stopping = False
        self.feed = Feed(client, self._count, lambda: self.series.sample_soon())
        self.series = Series(client, lambda: self._limits.total > 0, incidents, self.feed.wake)

    def entries(self) -> list[Entry]:
        """Returns every entry."""
        return [
            Entry("GET", "/api/hello", Access.OBSERVER, self._hello),
            Entry("GET", "/api/stream", Access.OBSERVER, self._stream),
            Entry("GET", "/api/situation", Access.OBSERVER, self._get_situation),
            Entry("GET", "/api/messages", Access.OBSERVER, self._list),
            Entry("GET", "/api/export", Access.OBSERVER, self._export),
            Entry("GET", "/api/message", Access.OBSERVER, self._message),
            Entry("GET", "/api/thread", Access.OBSERVER, self._thread),
            Entry("GET", "/api/traffic", Access.OBSERVER, self._traffic),
            Entry("GET", "/api/health", Access.OBSERVER, self._health),
            Entry("POST", "/api/send", Access.OPERATOR, self._acting(self._send)),
            Entry("POST", "/api/offered", Access.OPERATOR, self._acting(self._offered)),
            Entry("POST", "/api/acknowledge", Access.OPERATOR, self._acting(self._acknowledge)),
            Entry("POST", "/api/manage/acknowledge", Access.MANAGER, self._acting(self._acknowledge_for)),
            Entry("POST", "/api/manage/clear", Access.MANAGER, self._acting(self._clear)),
        ]

    def stop(self) -> None:
        """Ends every stream."""
        self._is_stopping = True
        self.feed.wake()

    def _count(self, event: Event) -> None:
        if isinstance(event, Message):
            self._activity.record(event)

    def may_act(self, session: Session) -> bool:
        """Returns whether a session may do more than watch."""
        return session.role is Role.OPERATOR and not self._config.read_only

    def describe(self) -> dict[str, object]:
        """Returns what each heartbeat says."""
        state = self.feed.state
        return {
            "page": self._page_version,
            "live": state.live,
            "since_ms": int(state.since * 1000),
            "sentence": state.sentence,
            "reason": state.reason,
            "health": self.series.health if state.live else "unreachable",
        }

    # -- reading --------------------------------------------------------------------------------------------------

    async def _hello(self, request: Request) -> Response:
        session = session_of(request)
        about = {
            "operator": self._config.operator,
            "role": Role.OPERATOR if self.may_act(session) else Role.OBSERVER,
            "manage": self._config.manage and self.may_act(session),
            "session": session.id,
            "position": self.feed.position,
        }
        return answer(about | self.describe())

    async def _stream(self, request: Request) -> Response:
        session = session_of(request)
        position = request.headers.get("last-event-id") or None
        if position is not None and not is_event_id(position):
            raise invalid("Last-Event-ID is not the id of an event")
        if not self._limits.allows(session.id):
            return answer({"reason": "TOO_MANY_STREAMS", "message": "live in other windows of this browser"}, 429)
        stream = Stream(
            self.feed,
            position,
            self.describe,
            lambda: not self._is_stopping and self._sessions.is_active(session),
        )

        async def chunks() -> AsyncIterator[bytes]:
            with self._limits.opened(session.id):
                async for chunk in stream.chunks():
                    yield chunk

        return StreamingResponse(chunks(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def _get_situation(self, _request: Request) -> Response:
        return answer(await self._situation.current())

    async def _list(self, request: Request) -> Response:
        parameters = request.query_params
        return answer(await list_page(self._client, Filters.read(parameters), parameters.get("page", "")))

    async def _export(self, request: Request) -> Response:
        lines = export_lines(self._client, Filters.read(request.query_params))
        first = await anext(lines)  # an error before it is an answer of its own

        async def chunks() -> AsyncIterator[bytes]:
            yield first
            async for chunk in lines:
                yield chunk

        return StreamingResponse(chunks(), media_type="application/x-ndjson")

    async def _message(self, request: Request) -> Response:
        tracked = await self._client.get_message(request.query_params.get("id", ""))
        return answer(await asyncio.to_thread(tracked_view, tracked))  # Markdown takes time

    async def _thread(self, request: Request) -> Response:
        thread = request.query_params.get("id", "")
        if not thread:
            raise invalid("name the thread")
        page = await self._client.list_messages(thread_id=thread, page_size=MAX_THREAD, preview_bytes=1)
        newest_first = await asyncio.gather(*(self._client.get_message(message.id) for message in page))
        views = await asyncio.to_thread(_thread_views, newest_first)
        return answer({"messages": views[::-1], "more": bool(page.next_page_token)})

    async def _traffic(self, request: Request) -> Response:
        try:
            hours = float(request.query_params.get("hours", "1"))
        except ValueError as error:
            raise invalid("hours is not a number") from error
        if not 0 < hours <= MAX_PERIOD_HOURS:
            raise invalid(f"hours is not between 0 and {MAX_PERIOD_HOURS}")
        return answer(await count_traffic(self._client, hours * 3600))

    async def _health(self, _request: Request) -> Response:
        return answer(self.series.to_dict())

    # -- acting ---------------------------------------------------------------------------------------------------

    def _acting(self, handler: Handler) -> Handler:
        """Makes the pages look again after an action, whatever came of it."""

        async def act(request: Request) -> Response:
            try:
                return await handler(request)
            finally:
                self._actions += 1

        return act

    async def _send(self, request: Request) -> Response:
        submission = await read_body(request, Submission)
        results = await send_to_all(self._client, submission)
        short = [{name: result[name] for name in ("to", "outcome", "id") if name in result} for result in results]
        self._audit.record(session_of(request), "send", key=submission.key, results=short)
        return answer({"results": results})

    async def _offered(self, request: Request) -> Response:
        ids = (await read_body(request, Ids)).ids
        await self._client.mark_offered(self._config.operator, ids)
        return answer({})

    async def _acknowledge(self, request: Request) -> Response:
        ids = (await read_body(request, Ids)).ids
        done = await self._client.acknowledge(self._config.operator, ids)
        self._audit.record(session_of(request), "acknowledge", ids=list(done.acknowledged_ids))
        return answer(done.to_dict())

    async def _acknowledge_for(self, request: Request) -> Response:
        body = await read_body(request, Named)
        _check_typed(body)
        if not body.ids:
            raise invalid("name the messages")
        done = await self._client.acknowledge(body.agent, body.ids, by=self._config.operator)
        acknowledged = list(done.acknowledged_ids)
        self._audit.record(session_of(request), "acknowledge for another", agent=body.agent, ids=acknowledged)
        return answer(done.to_dict())

    async def _clear(self, request: Request) -> Response:
        body = await read_body(request, Named)
        _check_typed(body)
        self._audit.record(session_of(request), "clear begins", agent=body.agent)
        deleted = await self._client.clear(body.agent, by=self._config.operator)
        self._audit.record(session_of(request), "clear", agent=body.agent, deleted=deleted)
        return answer({"deleted": deleted})


def _thread_views(newest_first: Sequence[TrackedMessage]) -> list[dict[str, Any]]:
    """Returns the messages of a thread; the newest ones are formatted, within a common limit."""
    views: list[dict[str, Any]] = []
    chars = 0
    for tracked in newest_first:
        chars += len(tracked.message.content)
        views.append(tracked_view(tracked, formats=chars <= MAX_FORMATTED_CHARS))
    return views


def _check_typed(body: Named) -> None:
    if body.typed != body.agent:
        raise PermissionDenied("type the agent's name to confirm", reason="NOT_CONFIRMED")
