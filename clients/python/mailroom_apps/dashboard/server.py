"""Server — one dashboard as a process: its directory, its socket, its tasks, and the end of all.

Invariant: one server per port and user, which holds the lock of the directory of that port. `mailroom dashboard link`
finds the server by the lock.
"""

__all__ = ["build_app", "serve"]

import asyncio
import fcntl
import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import uvicorn
from mailroom.aio import AsyncMailroom
from mailroom.errors import MailroomError
from mailroom.private_file import write_private_file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from mailroom_apps.connections import BoundedServer, connection_limit
from mailroom_apps.dashboard.api import Api, Entry, Handler
from mailroom_apps.dashboard.assets import Asset, load_assets, version_of
from mailroom_apps.dashboard.audit import Audit
from mailroom_apps.dashboard.config import DashboardConfig, Site
from mailroom_apps.dashboard.draft_api import DraftApi
from mailroom_apps.dashboard.drafts import Drafts
from mailroom_apps.dashboard.guard import Guard, Rules
from mailroom_apps.dashboard.links import Links
from mailroom_apps.dashboard.private_files import make_private_directory
from mailroom_apps.dashboard.requests import failure, file_failure
from mailroom_apps.dashboard.running import LOCK_FILE, SITE_FILE, RunningDashboard
from mailroom_apps.dashboard.session_api import SessionApi
from mailroom_apps.dashboard.sessions import Sessions

STOP_TIMEOUT_SEC = 3


def serve(
    client: Callable[[], AsyncMailroom],
    config: DashboardConfig,
    listener: socket.socket,
    directory: Path,
    on_ready: Callable[[RunningDashboard], None],
) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        client: connects to the daemon; called in the event loop.
        config: the options.
        listener: the listening socket.
        directory: that of all dashboards; this one's is inside.
        on_ready: called once, when connections are accepted.

    Raises:
        OSError: the directory cannot be written, or another process has its lock.
    """
    host, port = listener.getsockname()[:2]
    site = Site.at(host, port, config.public_url, config.name)
    own = make_private_directory(directory / str(port))
    lock = os.open(own / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_private_file(own / SITE_FILE, orjson.dumps({"url": site.url, "pid": os.getpid()}))
        asyncio.run(_serve(client, config, site, listener, own, on_ready))
    finally:
        os.close(lock)


async def _serve(
    client: Callable[[], AsyncMailroom],
    config: DashboardConfig,
    site: Site,
    listener: socket.socket,
    directory: Path,
    on_ready: Callable[[RunningDashboard], None],
) -> None:
    sessions, audit, assets = Sessions(directory), Audit(directory), load_assets()
    async with client() as connected:
        api = Api(connected, config, sessions, audit, version_of(assets))
        session_api = SessionApi(site, sessions, Links(directory), audit, api.feed.wake)
        entries = [*api.entries(), *session_api.entries(), *DraftApi(Drafts(directory)).entries()]
        app = build_app(config, site, sessions, entries, assets)
        async with _running(api):
            on_ready(RunningDashboard(site.url, directory))
            await _Server(_uvicorn_config(app), listener, connection_limit(), api.stop).serve(sockets=[])


class _Server(BoundedServer):
    """Ends the streams before it waits for requests in progress: a stream never ends by itself."""

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, limit: int, on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config, listener, limit)
        self._on_stop = on_stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets)


def _uvicorn_config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=H11Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # warnings are about single requests, and anyone can send those
        access_log=False,
        server_header=False,
        proxy_headers=False,  # any local process could send them
        timeout_graceful_shutdown=STOP_TIMEOUT_SEC,
    )


@asynccontextmanager
async def _running(api: Api) -> AsyncGenerator[None]:
    """Runs feed and samples; an error in one of them ends the server with it."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(api.feed.run()), tasks.create_task(api.series.run())]
        try:
            yield
        finally:
            for task in running:
                task.cancel()


def build_app(
    config: DashboardConfig, site: Site, sessions: Sessions, entries: list[Entry], assets: dict[str, Asset]
) -> ASGIApp:
    """Returns the application: the guard, the page's files and the entries behind it."""
    routes = [Route(path, _serve_asset(asset), methods=["GET"]) for path, asset in assets.items()]
    routes += [Route(entry.path, _answering(entry.handler), methods=[entry.method]) for entry in entries]
    access = {(entry.method, entry.path): entry.access for entry in entries}
    return Guard(Starlette(routes=routes), Rules(config, site, frozenset(assets), access), sessions)


def _answering(handler: Handler) -> Handler:
    """Makes a response of an error that the daemon, or reading the request, has raised."""

    async def answer_errors(request: Request) -> Response:
        try:
            return await handler(request)
        except MailroomError as error:
            return failure(error)
        except OSError as error:  # of the dashboard's own files, such as the audit on a full disk
            return file_failure(error)

    return answer_errors


def _serve_asset(asset: Asset) -> Handler:
    async def respond(request: Request) -> Response:
        headers = {"etag": asset.etag, "vary": "accept-encoding"}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(asset.content, headers=headers, media_type=asset.media_type)
        headers["content-encoding"] = "gzip"
        return Response(asset.compressed, headers=headers, media_type=asset.media_type)

    return respond
