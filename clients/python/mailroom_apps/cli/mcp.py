"""`mailroom mcp` — serves Mailroom to an agent by the Model Context Protocol, on stdio or over HTTP on loopback."""

__all__ = ["mcp"]

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.addresses import state_directory
from mailroom.errors import MailroomError

from mailroom_apps.cli.connection import chosen_address, quiet_grpc, require_own_name
from mailroom_apps.cli.options import Address, require_name
from mailroom_apps.cli.output import emit_note

if TYPE_CHECKING:
    from mailroom_apps.mcp.server import McpConfig

TOKEN_VARIABLE = "MAILROOM_MCP_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FILE = "mcp-token"  # noqa: S105 - the name of a file


_AgentOption = Annotated[
    str | None,
    typer.Option(
        envvar="MAILROOM_AGENT",
        help="The agent to serve. Without it each call must name the agent.",
        callback=require_name,
    ),
]
_Http = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Serve streamable HTTP on a loopback address instead of stdio.")
]
_TokenFile = Annotated[
    Path | None,
    typer.Option(
        help=f"File with the token for --http unless {TOKEN_VARIABLE} is set; created if it is missing.",
        show_default=f"{TOKEN_FILE} in the state directory",
    ),
]
_Channel = Annotated[
    bool,
    typer.Option("--channel", envvar="MAILROOM_CHANNEL", help="Also notify Claude Code as a channel (experimental)."),
]
_Root = Annotated[
    Path | None,
    typer.Option(
        envvar="MAILROOM_ROOT",
        help="Directory with inbox/, which is read while the daemon is down.",
        show_default="~/.claude",
    ),
]


def mcp(
    agent: _AgentOption = None,
    http: _Http = None,
    token_file: _TokenFile = None,
    channel: _Channel = False,
    root: _Root = None,
    address: Address = None,
) -> None:
    """Serve an agent's messages by the Model Context Protocol on stdin and stdout."""
    if agent is None and "MAILROOM_AGENT" in os.environ:  # typer takes an empty variable for a missing one
        require_own_name(os.environ["MAILROOM_AGENT"])
    if channel and not agent:
        raise typer.BadParameter("--channel requires --agent or MAILROOM_AGENT", param_hint="--channel")
    if channel and http:
        raise typer.BadParameter("--channel works on stdio only, not with --http", param_hint="--channel")
    quiet_grpc()
    try:
        from mailroom_apps.mcp.inbox_directory import check_name, default_root
        from mailroom_apps.mcp.over_stdio import serve_stdio
        from mailroom_apps.mcp.server import McpConfig
    except ModuleNotFoundError as error:
        raise _missing_extra(error) from error
    config = McpConfig(
        root=root.expanduser() if root else default_root(),
        agent=check_name(agent, "--agent") if agent else None,
        address=chosen_address(address),
        channel=channel,
    )
    if http is None:
        serve_stdio(config)
    else:
        _serve_http(config, http, token_file or state_directory(os.environ) / TOKEN_FILE)


def _serve_http(config: "McpConfig", endpoint: str, token_file: Path) -> None:
    from mailroom_apps.mcp.bearer_token import given_or_kept
    from mailroom_apps.mcp.over_http import HttpConfig, parse_endpoint, serve_http

    host, port = parse_endpoint(endpoint)
    given = os.environ.get(TOKEN_VARIABLE)
    token = given_or_kept(given, token_file)
    source = TOKEN_VARIABLE if given else token_file
    emit_note(f"clients must send `Authorization: Bearer TOKEN` with the token in {source}")
    serve_http(config, HttpConfig(host, port, token))


def _missing_extra(error: ModuleNotFoundError) -> MailroomError:
    return MailroomError(
        f"`mailroom mcp` requires an extra: pip install 'mailroomd[mcp]' (the module {error.name} is missing)",
        reason="EXTRA_MISSING",
    )
