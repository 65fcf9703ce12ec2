"""Over HTTP — serves several clients by streamable HTTP: on the loopback only, to who shows the token.

Against pages in a browser that reach for the loopback there are three guards: the token, and the SDK's checks of Host
and Origin.
"""

__all__ = ["HttpConfig", "parse_endpoint", "serve_http"]

import asyncio
import ipaddress
import socket
from dataclasses import dataclass

import uvicorn
from mailroom.errors import InvalidArgument
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl

from mailroom_apps.mcp.bearer_token import SharedToken
from mailroom_apps.mcp.server import McpConfig, opened

PATH = "/mcp"
STOP_SEC = 2  # for requests that are under way; event streams would last for ever


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Where and to whom it is served.

    Attributes:
        host: an address of the loopback.
        port: 0 lets the system choose.
        token: what clients have to show.
    """

    host: str
    port: int
    token: str


def parse_endpoint(text: str) -> tuple[str, int]:
    """Returns host and port of `HOST:PORT`.

    Raises:
        InvalidArgument: it is none, or not of the loopback.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidArgument(f"--http: {text!r} is no HOST:PORT, e.g. 127.0.0.1:8030", reason="ENDPOINT_INVALID")
    if not _is_loopback(host):
        raise InvalidArgument(
            f"--http: {host} is not of the loopback: use 127.0.0.1:{port}, and a tunnel to reach it from elsewhere",
            reason="ENDPOINT_INVALID",
        )
    return "127.0.0.1" if host == "localhost" else host, int(port)


def serve_http(config: McpConfig, http: HttpConfig) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises:
        OSError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    with socket.create_server((http.host, http.port), family=family) as listener:
        asyncio.run(_serve(config, http, listener))


async def _serve(config: McpConfig, http: HttpConfig, listener: socket.socket) -> None:
    shown_host = f"[{http.host}]" if ":" in http.host else http.host
    origin = f"http://{shown_host}:{listener.getsockname()[1]}"
    local = [origin, origin.replace(shown_host, "localhost")]
    async with opened(config) as server:
        app = server.sdk.streamable_http_app(
            streamable_http_path=PATH,
            transport_security=TransportSecuritySettings(
                allowed_hosts=[one.removeprefix("http://") for one in local], allowed_origins=local
            ),
            # There is no authorization server: the token is agreed upon beforehand. The settings ask for a name anyway.
            auth=AuthSettings(issuer_url=AnyHttpUrl(origin), resource_server_url=None),
            token_verifier=SharedToken(http.token),
        )
        running = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=STOP_SEC)
        )
        print(f"mailroom mcp is ready: {origin}{PATH}", flush=True)
        await running.serve(sockets=[listener])


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
