"""`mailroom hub` — sets up a hub, lets this host join it, and shows the hosts on it.

Works on files: those of the hub, and those of the daemon's state directory, whether the daemon runs or not.
"""

__all__ = ["emit_agents", "hub"]

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from mailroom.addresses import expand_home, state_directory

from mailroom_apps.cli.command_group import CommandGroup
from mailroom_apps.cli.durations import format_ago
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Json, StateDir, examples
from mailroom_apps.cli.output import emit, emit_json, emit_note, emit_table
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroomd.operator.hub.joining import HostRecord

_HEADERS = ("HOST", "LAST SEEN", "AGENTS", "PROBLEM")

hub = typer.Typer(
    cls=CommandGroup,
    help="Exchange mail with other hosts: set up a hub, join it, look at its hosts.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

HubDirectory = Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the hub's files are.")]
HostName = Annotated[str, typer.Argument(metavar="HOST", help="The name of a host.")]


@hub.command(
    epilog=examples(
        "mailroom hub init ./hub --server nats://hub.example:4222 --host laptop --host build7",
        "mailroom hub init ./hub --host build8",
        "mailroom hub init ./hub --server nats://h1:4222,h2:4222,h3:4222 --host laptop --host build7",
    )
)
def init(
    directory: HubDirectory,
    host: Annotated[list[str], typer.Option(metavar="NAME", help="A host that may join. May be repeated.")],
    server: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Address by which hosts reach the hub. Of a cluster, one for each server."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Address that the server listens on; default: 0.0.0.0:4222."),
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="Certificate (PEM) of the server: hosts then use TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="Private key (PEM) of --cert.")] = None,
    ca: Annotated[Path | None, typer.Option(help="Authority (PEM) by which hosts check --cert.")] = None,
) -> None:
    """Write the configuration of a hub's NATS servers, and an invitation for each host.

    A further call adds hosts. Then reload each server (`nats-server --signal reload`), and bring each host its
    invitation: it holds a password.
    """
    from mailroomd.operator.hub.server_config import server_urls
    from mailroomd.operator.hub.setting_up import Hub, add_host, read_hub, write_server_config

    if (cert is None) != (key is None):
        raise typer.BadParameter("give both --cert and --key, or neither")
    for name in host:
        _require_host(name)
    directory = expand_home(directory).absolute()
    present = read_hub(directory)
    if present is None and not server:
        raise typer.BadParameter("a new hub needs the address by which hosts reach it", param_hint="--server")
    made = present or Hub([], "0.0.0.0:4222")
    try:
        made.servers = server_urls(server or []) or made.servers
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--server") from None
    made.listen = listen or made.listen
    for name, path in (("cert", cert), ("key", key), ("ca", ca)):
        if path is not None:
            setattr(made, name, str(expand_home(path).absolute()))
    write_server_config(made, directory)
    invitations = [add_host(made, name, directory) for name in host]
    configs = write_server_config(made, directory)
    for path in configs + invitations:
        emit(str(path))
    if len(configs) > 1:
        emit_note(
            f"bring each server's machine its own file of these {len(configs)}; the paths in it have to exist there."
        )
    emit_note("start each server with `nats-server -c` and its file, or reload it; then run on each host:")
    emit_note("  mailroom hub join HOST.invitation")


@hub.command(epilog=examples("mailroom hub join build7.invitation"))
def join(
    invitation: Annotated[Path, typer.Argument(metavar="INVITATION", help="A file that `mailroom hub init` wrote.")],
    state_dir: StateDir = None,
) -> None:
    """Join a hub: write the hub file of this host, with a key of its own."""
    from mailroomd.operator.hub.joining import CannotJoin
    from mailroomd.operator.hub.joining import join as join_hub

    try:
        path, joined = join_hub(expand_home(invitation), _state_dir(state_dir))
    except CannotJoin as problem:
        _refuse(str(problem))
    emit(str(path))
    emit_note(f"this host is {joined.host} now. Start the daemon with --hub {path}, or set `hub` in its configuration.")
    emit_note("the machine-wide systemd unit allows loopback addresses only: `systemctl edit mailroomd`, and add")
    emit_note("  [Service]\n  IPAddressAllow=ADDRESS-OF-THE-HUB")


@hub.command(epilog=examples("mailroom hub hosts", "mailroom hub hosts --json | jq -r .host"))
def hosts(state_dir: StateDir = None, json: Json = False) -> None:
    """List the other hosts on the hub, as the daemon last heard of them."""
    from mailroomd.operator.hub.joining import known_hosts

    directory = known_hosts(_state_dir(state_dir))
    if not directory.host:
        _refuse("this host has not joined a hub, or its daemon has not run with --hub yet")
    if json:
        for name, record in directory.hosts.items():
            emit_json(
                {
                    "host": name,
                    "last_seen": _iso_time(record.seen_ms),
                    "agents": record.agents,
                    "problem": record.problem or None,
                }
            )
        return
    if directory.hosts:
        emit_table(_HEADERS, [_row(name, record) for name, record in directory.hosts.items()])
    contact = format_ago(_time(directory.contact_ms))
    state = "reached" if directory.is_connected else "NOT reached"
    emit_note(f"this host is {directory.host}; the hub was {state}, last contact {contact}")


def emit_agents(*, json: bool) -> None:
    """Prints the agents of other hosts, as the daemon of this user last heard of them."""
    from mailroomd.operator.hub.joining import known_hosts

    hosts_by_name = known_hosts(state_directory()).hosts
    found = [(f"{agent}:{name}", record) for name, record in hosts_by_name.items() for agent in record.agents]
    if json:
        for address, record in found:
            emit_json({"name": address, "host_last_seen": _iso_time(record.seen_ms)})
    elif found:
        rows = [(printable_line(address), format_ago(_time(record.seen_ms))) for address, record in found]
        emit_table(("AGENT", "HOST LAST SEEN"), rows)
    else:
        emit_note("no agent of another host is known")


@hub.command(epilog=examples("mailroom hub doctor", "mailroom hub doctor --json"))
def doctor(state_dir: StateDir = None, json: Json = False) -> None:
    """Check this host's part in the hub: file, connection, other hosts. Exits with 1 if something is wrong."""
    from mailroomd.operator.hub.checking import check

    findings = check(_state_dir(state_dir))
    for finding in findings:
        if json:
            emit_json({"subject": finding.subject, "problem": finding.problem or None})
        else:
            emit(f"{finding.subject}: {printable_line(finding.problem) or 'ok'}")
    if any(finding.problem for finding in findings):
        raise typer.Exit(ExitCode.REFUSED)


@hub.command(epilog=examples("mailroom hub trust build7"))
def trust(host: HostName, state_dir: StateDir = None) -> None:
    """Accept the next key of a host, which was set up anew. Mail for it waits until then."""
    from mailroomd.operator.hub.joining import forget_key

    _require_host(host)
    if not forget_key(_state_dir(state_dir), host):
        _refuse(f"no key of {host} is known here")
    emit(f"the key of {host} is forgotten; the one that it has now will be accepted")


@hub.command(epilog=examples("mailroom hub remove ./hub build7"))
def remove(directory: HubDirectory, host: HostName) -> None:
    """Take the rights of a host away. Reload the server afterwards."""
    from mailroomd.operator.hub.setting_up import read_hub, remove_host, write_server_config

    directory = expand_home(directory).absolute()
    present = read_hub(directory)
    if present is None:
        _refuse(f"there is no hub in {directory}")
    if not remove_host(present, host, directory):
        _refuse(f"{host} is not a host of this hub")
    for path in write_server_config(present, directory):
        emit(str(path))
    emit_note("reload the server now: `nats-server --signal reload`. Mail for the host stays where it was sent.")


def _state_dir(state_dir: str | None) -> Path:
    return expand_home(Path(state_dir)).absolute() if state_dir is not None else state_directory()


def _require_host(host: str) -> None:
    from mailroomd.operator.hub.joining import HOST_RULE, is_host

    if not is_host(host):
        raise typer.BadParameter(f"{host!r} is not a valid host: {HOST_RULE}")


def _refuse(sentence: str) -> NoReturn:
    emit_note(sentence)
    raise typer.Exit(ExitCode.REFUSED)


def _row(name: str, record: "HostRecord") -> tuple[str, ...]:
    agents = ", ".join(map(printable_line, record.agents))
    return (name, format_ago(_time(record.seen_ms)), agents or "-", printable_line(record.problem) or "-")


def _time(time_ms: int) -> datetime | None:
    return datetime.fromtimestamp(time_ms / 1000, UTC) if time_ms else None


def _iso_time(time_ms: int) -> str | None:
    time = _time(time_ms)
    return time.isoformat() if time else None
