"""`mailroom mcp` — serves the mail room to an agent by the Model Context Protocol, on stdio or the loopback."""

__all__ = ["mcp"]

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.addresses import expand_home, state_directory
from mailroom.errors import MailroomError

from mailroom_apps.cli.connection import chosen_address, quiet_grpc
from mailroom_apps.cli.options import Address
from mailroom_apps.cli.output import remark

if TYPE_CHECKING:
    from mailroom_apps.mcp.server import McpConfig

TOKEN_VARIABLE = "MAILROOM_MCP_TOKEN"  # noqa: S105 - a name, no secret
TOKEN_FILE = "mcp-token"  # noqa: S105


def mcp(
    agent: Annotated[
        str | None, typer.Option(envvar="MAILROOM_AGENT", help="Whose mail it is; else each call has to say.")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve by streamable HTTP on the loopback instead of stdio."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help=f"Holds the token for --http, unless {TOKEN_VARIABLE} is set; made where it is missing.",
            show_default=f"{TOKEN_FILE} in the state directory",
        ),
    ] = None,
    channel: Annotated[
        bool,
        typer.Option("--channel", envvar="MAILROOM_CHANNEL", help="Also ring as a Claude Code channel (unofficial)."),
    ] = False,
    root: Annotated[
        Path | None,
        typer.Option(
            envvar="MAILROOM_ROOT",
            help="Holds inbox/, which is read while the daemon is down.",
            show_default="~/.claude",
        ),
    ] = None,
    address: Address = None,
) -> None:
    """Serves mail to an agent by MCP, on stdin and stdout."""
    if channel and not agent:
        raise typer.BadParameter(
            "a channel rings for one agent: give --agent, or set MAILROOM_AGENT", param_hint="--channel"
        )
    if channel and http:
        raise typer.BadParameter("a channel works over stdio only: leave one of the two out", param_hint="--channel")
    quiet_grpc()
    try:
        from mailroom_apps.mcp.inbox_directory import check_name, default_root
        from mailroom_apps.mcp.over_stdio import serve_stdio
        from mailroom_apps.mcp.server import McpConfig
    except ModuleNotFoundError as error:
        raise _extra_missing(error) from error
    config = McpConfig(
        root=expand_home(root) if root else default_root(),
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
    remark(f"clients send `Authorization: Bearer TOKEN` with the token in {TOKEN_VARIABLE if given else token_file}")
    serve_http(config, HttpConfig(host, port, token))


def _extra_missing(error: ModuleNotFoundError) -> MailroomError:
    return MailroomError(
        f"`mailroom mcp` needs an extra of the package: pip install 'mailroomd[mcp]' ({error.name} is missing)",
        reason="EXTRA_MISSING",
    )
