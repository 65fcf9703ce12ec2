"""`mailroom dashboard` — serves the page for an operator; `mailroom dashboard link` opens it in one more browser."""

__all__ = ["dashboard"]

import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from mailroom.addresses import state_directory
from mailroom.errors import MailroomError
from mailroom.inbox_directory import is_mailbox_name

from mailroom_apps.cli.command_group import CommandGroup
from mailroom_apps.cli.connection import connect_async, quiet_grpc
from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.cli.extras import extra_missing
from mailroom_apps.cli.options import Address, examples
from mailroom_apps.cli.output import emit, emit_note

if TYPE_CHECKING:
    from mailroom_apps.dashboard.server import RunningDashboard

DEFAULT_LISTEN = "127.0.0.1:8034"  # fixed: drafts and permissions of the browser belong to host and port
DIRECTORY = "dashboard"
TIMEOUT_SEC = 5.0  # of a call: the page shows an error sooner than somebody loses patience, and asks again

dashboard = typer.Typer(
    cls=CommandGroup,
    name="dashboard",
    help="Serve a web page that shows all mail live, and who needs an answer; for one operator, on this machine.",
    invoke_without_command=True,
)
Listen = Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="A loopback address to listen on.")]
Operator = Annotated[str, typer.Option("--as", metavar="NAME", help="The operator's mailbox, and the sender's name.")]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Only show: nobody can send, acknowledge or mark.")]
Manage = Annotated[
    bool, typer.Option("--manage", help="Allow operators to acknowledge for other agents, and to clear mailboxes.")
]
OpenBrowser = Annotated[bool, typer.Option("--open/--no-open", help="Open the browser, if there is a desktop.")]
PublicUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Where a proxy serves the page, e.g. https://mail.example/mailroom/.")
]
HostName = Annotated[
    Literal["127.0.0.1", "localhost", "mailroom.localhost"] | None,
    typer.Option(
        "--name",
        metavar="HOST",
        help="The host in the link: 127.0.0.1, localhost or mailroom.localhost. A browser sends the cookies of the "
        "last to no other server.",
    ),
]
StuckAfter = Annotated[
    float | None,
    typer.Option(
        metavar="TIME",
        parser=parse_duration,
        help="How long mail may be unread before it counts as stuck; two fifths of it with high priority, a fifth if "
        "it is urgent.",
        show_default="5m",
    ),
]
PrintLink = Annotated[bool, typer.Option("--link/--no-link", help="Print a link, which opens one browser.")]
Observer = Annotated[bool, typer.Option("--observer", help="The browser may only watch.")]


@dashboard.callback(
    epilog=examples(
        "mailroom dashboard",
        "mailroom dashboard --as ana --no-open",
        "mailroom dashboard --read-only --listen 127.0.0.1:8100",
        "mailroom service install --dashboard    # runs it beside the daemon, from login on",
        "ssh -L 8034:127.0.0.1:8034 build-host    # then here: the link that the dashboard there printed",
    )
)
def run(
    context: typer.Context,
    listen: Listen = DEFAULT_LISTEN,
    operator: Operator = "dashboard",
    read_only: ReadOnly = False,
    manage: Manage = False,
    open_browser: OpenBrowser = True,
    print_link: PrintLink = True,
    name: HostName = None,
    stuck_after: StuckAfter = None,
    public_url: PublicUrl = None,
    address: Address = None,
) -> None:
    """Serve a web page that shows all mail live, and who needs an answer; for one operator, on this machine."""
    context.obj = listen
    if context.invoked_subcommand is not None:
        return
    if read_only and manage:
        raise typer.BadParameter("--read-only leaves nothing to manage: give one of them", param_hint="--manage")
    quiet_grpc()
    try:
        from mailroom_apps.dashboard.config import DEFAULT_STUCK_SEC, DashboardConfig, parse_public_url
        from mailroom_apps.dashboard.server import serve
    except ModuleNotFoundError as error:
        raise extra_missing("dashboard", "dashboard", error) from error
    from mailroom_apps.loopback import parse_endpoint

    if stuck_after is not None and stuck_after <= 0:
        raise typer.BadParameter("must be more than zero", param_hint="--stuck-after")
    _check_name(operator)
    url = parse_public_url(public_url) if public_url else None
    config = DashboardConfig(operator, read_only, manage, url, name, stuck_after or DEFAULT_STUCK_SEC)
    with _listen(*parse_endpoint(listen, "--listen")) as listener:
        serve(
            lambda: connect_async(operator, address, timeout=TIMEOUT_SEC),
            config,
            listener,
            _directory(),
            lambda running: _announce(running, print_link=print_link, open_browser=open_browser, read_only=read_only),
        )


@dashboard.command(epilog=examples("mailroom dashboard link", "mailroom dashboard link --observer"))
def link(
    context: typer.Context,
    observer: Observer = False,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Which dashboard.", show_default=DEFAULT_LISTEN)
    ] = None,
) -> None:
    """Print a new link to the running dashboard. It opens one browser, within a minute."""
    from mailroom_apps.dashboard.links import Links
    from mailroom_apps.dashboard.running import find_running
    from mailroom_apps.dashboard.sessions import Role
    from mailroom_apps.loopback import parse_endpoint

    _, port = parse_endpoint(listen or context.obj or DEFAULT_LISTEN, "--listen")
    running = find_running(_directory(), port)
    if running is None:
        raise MailroomError(
            f"no dashboard of this user listens on port {port}: start one with `mailroom dashboard`",
            reason="DASHBOARD_NOT_RUNNING",
        )
    emit(running.link(Links(running.directory).create(Role.OBSERVER if observer else Role.OPERATOR)))


def _announce(running: "RunningDashboard", *, print_link: bool, open_browser: bool, read_only: bool) -> None:
    from mailroom_apps.dashboard.launch import can_open_browser, launch_browser, remove_launch_files
    from mailroom_apps.dashboard.links import Links
    from mailroom_apps.dashboard.sessions import Role

    links, role = Links(running.directory), Role.OBSERVER if read_only else Role.OPERATOR
    if print_link:
        emit(f"mailroom dashboard is ready: {running.link(links.create(role))}")
        emit_note("the link opens one browser, within a minute; `mailroom dashboard link` prints another one")
    else:
        emit(f"mailroom dashboard is ready at {running.url}; `mailroom dashboard link` prints a link")
    remove_launch_files(running.directory)
    if open_browser and can_open_browser() and sys.stdout.isatty():
        target = running.link(links.create(role))
        threading.Thread(target=launch_browser, args=(running.directory, target), daemon=True).start()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        from mailroom_apps.dashboard.running import find_running

        running = find_running(_directory(), port)
        where = "" if f"{host}:{port}" == DEFAULT_LISTEN else f" --listen {host}:{port}"
        own = f"your dashboard is running already: `mailroom dashboard link{where}` opens it"
        hint = own if running else error.strerror
        raise MailroomError(
            f"cannot listen on {host}:{port}: {hint}; --listen takes another port", reason="PORT_IN_USE"
        ) from error


def _directory() -> Path:
    return state_directory(os.environ) / DIRECTORY


def _check_name(name: str) -> None:
    if not is_mailbox_name(name) or "@" in name:
        raise typer.BadParameter(f"{name!r} is not an agent's name", param_hint="--as")
