"""`mailroom status` — the daemon's health, version and workers."""

__all__ = ["status"]

from datetime import UTC, datetime

from mailroom.stats import HubStatus, WorkerStatus

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import format_age
from mailroom_apps.cli.options import Address, Json
from mailroom_apps.cli.output import emit, emit_json, emit_table
from mailroom_apps.printable import printable_line

_HEADERS = ("WORKER", "STATE", "PID", "UP", "RESTARTS", "LAST EXIT")


def status(json: Json = False, address: Address = None) -> None:
    """Show whether the daemon is serving, its version and its workers."""
    with connect(address) as client:
        daemon, health = client.status(), client.health()
    if json:
        emit_json({"health": health.value, "address": client.address, **daemon.to_dict()})
        return
    emit(f"mailroomd {printable_line(daemon.version)}  {health.replace('_', ' ')}  {client.address}")
    emit_table(_HEADERS, [_row(worker) for worker in daemon.workers])
    if daemon.hub is not None:
        emit(hub_line(daemon.hub))


def hub_line(hub: HubStatus) -> str:
    """Returns the exchange with other hosts in a line."""
    state = (
        "connected" if hub.connected else f"NOT connected ({printable_line(hub.problem) or 'the hub is not reached'})"
    )
    waiting = sum(host.waiting for host in hub.hosts)
    return f"hub: this host is {hub.host}, {state}; {len(hub.hosts)} other hosts, {waiting:,} messages wait for them"


def _row(worker: WorkerStatus) -> tuple[str, ...]:
    uptime = format_age((datetime.now(UTC) - worker.started_at).total_seconds()) if worker.started_at else "-"
    last_exit = printable_line(worker.last_exit) or "-"
    return (worker.name, worker.state, str(worker.pid), uptime, str(worker.restarts), last_exit)
