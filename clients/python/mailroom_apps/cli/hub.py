"""`mailroom hub` — sets up a hub, lets this host join it, and shows the hosts on it.

Works on files: those of the hub, and those of the daemon's state directory, whether the daemon runs or not.
"""

__all__ = ["hub"]

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from mailroom.addresses import expand_home, state_directory

from mailroom_apps.cli.command_group import CommandGroup
from mailroom_apps.cli.durations import format_ago, parse_duration
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Json, StateDir, examples
from mailroom_apps.cli.output import emit, emit_json, emit_note, emit_table
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroomd.operator.hub.hub_description import Hub
    from mailroomd.operator.hub.joining import HostRecord

REMOVAL_SEC = 60.0  # for the operator to reload the servers
_HEADERS = ("HOST", "LAST SEEN", "WAITING", "AGENTS", "PROBLEM")

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
    from mailroomd.operator.hub.setting_up import add_host, write_server_config

    if (cert is None) != (key is None):
        raise typer.BadParameter("give both --cert and --key, or neither")
    for name in host:
        _require_host(name)
    directory = expand_home(directory).absolute()
    made = _description(directory, server or [], listen)
    made.cert, made.key, made.ca = _path(cert) or made.cert, _path(key) or made.key, _path(ca) or made.ca
    write_server_config(made, directory)
    _readmit(made, host)
    invitations = [add_host(made, name, directory) for name in host]
    configs = write_server_config(made, directory)
    for path in configs + invitations:
        emit(str(path))
    if len(configs) > 1:
        emit_note(f"bring each server's machine its own of these {len(configs)} files; its paths have to exist there.")
    emit_note("start each server with `nats-server -c` and its file, or reload it; then run on each host:")
    emit_note("  mailroom hub join HOST.invitation")


@hub.command(
    epilog=examples(
        "mailroom hub join build7.invitation",
        "mailroom hub join build7.invitation --server nats://10.0.0.1:4222,10.0.0.2:4222,10.0.0.3:4222",
    )
)
def join(
    invitation: Annotated[Path, typer.Argument(metavar="INVITATION", help="A file that `mailroom hub init` wrote.")],
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="Reach the hub here, not at the addresses in the invitation. May be repeated."
        ),
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Join a hub: write the hub file of this host, with a key of its own."""
    from mailroomd.operator.hub.joining import CannotJoin
    from mailroomd.operator.hub.joining import join as join_hub

    try:
        path, joined = join_hub(expand_home(invitation), _state_dir(state_dir), server or [])
    except CannotJoin as problem:
        _refuse(str(problem))
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--server") from None
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
                    "waiting": record.waiting,
                    "waiting_bytes": record.waiting_bytes,
                    "problem": record.problem or None,
                }
            )
        return
    if directory.hosts:
        emit_table(_HEADERS, [_row(name, record) for name, record in directory.hosts.items()])
    contact = format_ago(_time(directory.contact_ms))
    state = "reached" if directory.is_connected else "NOT reached"
    emit_note(f"this host is {directory.host}; the hub was {state}, last contact {contact}")


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


@hub.command(epilog=examples("mailroom hub remove ./hub build7", "mailroom hub remove ./hub build7 --wait 10m"))
def remove(
    directory: HubDirectory,
    host: HostName,
    wait: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration, metavar="DURATION", help="Wait this long for the servers.", show_default="1m"
        ),
    ] = None,
) -> None:
    """Remove a host: no server lets it in any more, and what waits for it anywhere returns to its senders.

    The command writes the servers' configuration, and waits until you have reloaded every server. Then it deletes the
    host's mail at the hub. If a server did not refuse the host in time, run the command again.
    """
    from mailroomd.operator.hub.removing import CannotReach, finish_removal
    from mailroomd.operator.hub.setting_up import read_hub, remove_host, write_server_config

    directory = expand_home(directory).absolute()
    present = read_hub(directory)
    if present is None:
        _refuse(f"there is no hub in {directory}")
    if not remove_host(present, host, directory):
        _refuse(f"{host} is not a host of this hub")
    for path in write_server_config(present, directory):
        emit(str(path))
    emit_note("reload every server now: `nats-server --signal reload`")
    try:
        finish_removal(
            present, host, REMOVAL_SEC if wait is None else wait, lambda problem: emit_note(f"waiting: {problem}")
        )
    except CannotReach as problem:
        _refuse(f"{host} is not removed yet: {problem}. Then run this command again.")
    write_server_config(present, directory)
    emit_note(f"{host} is removed. What waits for it elsewhere returns to its senders within a minute.")


@hub.command(epilog=examples("mailroom hub spread ./hub"))
def spread(directory: HubDirectory) -> None:
    """Give each stream of a hub three copies: for a hub that has become a cluster of three servers."""
    from mailroomd.operator.hub.removing import CannotReach
    from mailroomd.operator.hub.removing import spread as spread_streams
    from mailroomd.operator.hub.setting_up import read_hub

    present = read_hub(expand_home(directory).absolute())
    if present is None:
        _refuse(f"there is no hub in {directory}")
    try:
        changed = spread_streams(present)
    except CannotReach as problem:
        _refuse(f"the hub is not reached: {problem}")
    for stream in changed:
        emit(stream)
    if not changed:
        emit_note("every stream has as many copies as this hub can hold")


def _state_dir(state_dir: str | None) -> Path:
    return expand_home(Path(state_dir)).absolute() if state_dir is not None else state_directory()


def _path(path: Path | None) -> str:
    return str(expand_home(path).absolute()) if path is not None else ""


def _description(directory: Path, servers: list[str], listen: str | None) -> "Hub":
    """Returns what is known of a hub, or a new one, with the addresses that are given."""
    from mailroomd.operator.hub.server_config import server_urls
    from mailroomd.operator.hub.setting_up import Hub, read_hub

    present = read_hub(directory)
    if present is None and not servers:
        raise typer.BadParameter("a new hub needs the address by which hosts reach it", param_hint="--server")
    described = present or Hub([], "0.0.0.0:4222")
    try:
        described.servers = server_urls(servers) or described.servers
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--server") from None
    described.listen = listen or described.listen
    return described


def _readmit(hub: "Hub", hosts: list[str]) -> None:
    """Takes back the removal of hosts, on the servers."""
    from mailroomd.operator.hub.removing import CannotReach, is_marked, readmit

    for host in hosts:
        try:
            if is_marked(hub, host):
                readmit(hub, host)
        except CannotReach as problem:
            _refuse(str(problem))


def _require_host(host: str) -> None:
    from mailroomd.operator.hub.joining import HOST_RULE, is_host

    if not is_host(host):
        raise typer.BadParameter(f"{host!r} is not a valid host: {HOST_RULE}")


def _refuse(sentence: str) -> NoReturn:
    emit_note(sentence)
    raise typer.Exit(ExitCode.REFUSED)


def _row(name: str, record: "HostRecord") -> tuple[str, ...]:
    agents = ", ".join(map(printable_line, record.agents))
    return (
        name,
        format_ago(_time(record.seen_ms)),
        f"{record.waiting:,}",
        agents or "-",
        printable_line(record.problem) or "-",
    )


def _time(time_ms: int) -> datetime | None:
    return datetime.fromtimestamp(time_ms / 1000, UTC) if time_ms else None


def _iso_time(time_ms: int) -> str | None:
    time = _time(time_ms)
    return time.isoformat() if time else None
