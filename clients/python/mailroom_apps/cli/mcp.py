"""`mailroom mcp` — serves an agent's mail by the Model Context Protocol, on stdio or the loopback interface."""

__all__ = ["mcp"]

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.addresses import state_directory
from mailroom.errors import InvalidArgument
from mailroom.inbox_directory import NoHomeDirectoryError, default_root, expand_home, is_mailbox_name

from mailroom_apps.cli.connection import chosen_address, quiet_grpc
from mailroom_apps.cli.extras import extra_missing
from mailroom_apps.cli.options import Address
from mailroom_apps.cli.output import emit_note

if TYPE_CHECKING:
    from mailroom_apps.mcp.server import McpConfig

TOKEN_VARIABLE = "MAILROOM_MCP_TOKEN"  # noqa: S105 - a name, no secret
TOKEN_FILE = "mcp-token"  # noqa: S105
TEAM_CHARS = 8  # of a session's id, in the name of its team


Agent = Annotated[
    str | None, typer.Option(envvar="MAILROOM_AGENT", help="The agent to serve; without it, each call names the agent.")
]
Http = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Serve streamable HTTP on a loopback address instead of stdio.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        help=f"The token file for --http, created if missing; {TOKEN_VARIABLE} takes precedence.",
        show_default=f"{TOKEN_FILE} in the state directory",
    ),
]
AsChannel = Annotated[
    bool,
    typer.Option(
        "--channel", envvar="MAILROOM_CHANNEL", help="Also announce mail as a Claude Code channel (unofficial)."
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        envvar="MAILROOM_ROOT",
        help="The directory that holds inbox/, read while the daemon is down.",
        show_default="CLAUDE_CONFIG_DIR, otherwise ~/.claude",
    ),
]


def mcp(
    agent: Agent = None,
    http: Http = None,
    token_file: TokenFile = None,
    channel: AsChannel = False,
    root: Root = None,
    address: Address = None,
) -> None:
    """Serve an agent's mail over MCP, on stdin and stdout."""
    _check_options(agent, http, channel=channel)
    if agent is None and http is None:
        agent = _session_of_host()
    quiet_grpc()
    try:
        from mailroom_apps.mcp.offline_inbox import check_name
        from mailroom_apps.mcp.server import McpConfig
        from mailroom_apps.mcp.stdio_server import serve_stdio
    except ModuleNotFoundError as error:
        raise extra_missing("mcp", "mcp", error) from error
    config = McpConfig(
        root=_root(root),
        agent=check_name(agent, "--agent") if agent else None,
        address=chosen_address(address),
        channel=channel,
        team=_team_of_host(),
    )
    if http is None:
        serve_stdio(config)
    else:
        _serve_http(config, http, token_file or state_directory(os.environ) / TOKEN_FILE)


def _session_of_host() -> str | None:
    """Returns the session of Claude Code that starts this server: its name where it has no other."""
    session = os.environ.get("CLAUDE_CODE_SESSION_ID", "")
    return session if is_mailbox_name(session) else None


def _team_of_host() -> str | None:
    """Returns the team that a session of Claude Code forms with its teammates, who share its MCP servers."""
    session = os.environ.get("CLAUDE_CODE_SESSION_ID", "")
    return f"session-{session[:TEAM_CHARS]}" if is_mailbox_name(session) else None


def _check_options(agent: str | None, http: str | None, *, channel: bool) -> None:
    if agent == "" or (agent is None and os.environ.get("MAILROOM_AGENT") == ""):
        raise typer.BadParameter(
            "the agent's name is empty; to serve all agents, set neither --agent nor MAILROOM_AGENT",
            param_hint="--agent",
        )
    if channel and not agent:
        raise typer.BadParameter(
            "a channel serves one agent: give --agent, or set MAILROOM_AGENT", param_hint="--channel"
        )
    if channel and http:
        raise typer.BadParameter(
            "a channel works over stdio only: give either --channel or --http", param_hint="--channel"
        )


def _root(given: Path | None) -> Path:
    try:
        return Path(expand_home(str(given), "--root") if given else default_root())
    except NoHomeDirectoryError as error:
        raise InvalidArgument(str(error), reason="ROOT_UNKNOWN", field="root") from error


def _serve_http(config: "McpConfig", endpoint: str, token_file: Path) -> None:
    from mailroom_apps.loopback import parse_endpoint
    from mailroom_apps.mcp.bearer_token import load_token
    from mailroom_apps.mcp.http_server import HttpConfig, serve_http

    host, port = parse_endpoint(endpoint, "--http")
    given = os.environ.get(TOKEN_VARIABLE)
    token = load_token(given, token_file)
    emit_note(f"clients send `Authorization: Bearer TOKEN` with the token in {TOKEN_VARIABLE if given else token_file}")
    serve_http(config, HttpConfig(host, port, token))
