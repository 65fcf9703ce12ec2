"""HttpServer — serves several clients by streamable HTTP, on the loopback interface only.

Three guards keep out pages in a browser that reach for the loopback: the token, and the SDK's checks of Host and
Origin. Not here: the bound of connections, and what a flood of them does (`connections`).
"""

__all__ = ["HttpConfig", "serve_http"]

import asyncio
import socket
from dataclasses import dataclass

import uvicorn
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from uvicorn.protocols.http.h11_impl import H11Protocol

from mailroom_apps.connections import BoundedServer, connection_limit
from mailroom_apps.mcp.bearer_token import SharedToken
from mailroom_apps.mcp.server import McpConfig, open_server

PATH = "/mcp"
STOP_TIMEOUT_SEC = 2  # for requests in progress; event streams never end by themselves


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Where the server listens, and which token its clients need.

    Attributes:
        host: a loopback address.
        port: 0 lets the system choose.
        token: the secret that clients present.
    """

    host: str
    port: int
    token: str


def serve_http(config: McpConfig, http: HttpConfig) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises:
        OSError: the port is in use.
    """
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    with socket.create_server((http.host, http.port), family=family) as listener:
        asyncio.run(_serve(config, http, listener))


async def _serve(config: McpConfig, http: HttpConfig, listener: socket.socket) -> None:
    url_host = f"[{http.host}]" if ":" in http.host else http.host
    origin = f"http://{url_host}:{listener.getsockname()[1]}"
    origins = [origin, origin.replace(url_host, "localhost")]
    async with open_server(config) as server:
        app = server.sdk.streamable_http_app(
            streamable_http_path=PATH,
            transport_security=TransportSecuritySettings(
                allowed_hosts=[url.removeprefix("http://") for url in origins], allowed_origins=origins
            ),
            # There is no authorization server: clients know the token beforehand. The settings require a URL anyway.
            auth=AuthSettings(issuer_url=AnyHttpUrl(origin), resource_server_url=None),
            token_verifier=SharedToken(http.token),
        )
        uvicorn_config = uvicorn.Config(
            app,
            http=H11Protocol,
            ws="none",
            log_config=None,
            log_level="error",  # warnings are about single requests, and anyone can send those
            access_log=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_SEC,
        )
        print(f"mailroom mcp is ready: {origin}{PATH}", flush=True)
        await BoundedServer(uvicorn_config, listener, connection_limit()).serve(sockets=[])
