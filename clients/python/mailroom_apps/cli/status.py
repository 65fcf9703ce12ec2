"""`mailroom status` — whether the daemon takes mail, its version and its workers."""

__all__ = ["status"]

from datetime import UTC, datetime

from mailroom.stats import WorkerStatus

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import format_age
from mailroom_apps.cli.options import Address, Json
from mailroom_apps.cli.output import emit, emit_json, emit_table
from mailroom_apps.printable import printable_line

_HEADERS = ("WORKER", "STATE", "PID", "UP", "RESTARTS", "LAST EXIT")


def status(json: Json = False, address: Address = None) -> None:
    """Shows whether the daemon takes mail, its version and its workers."""
    with connect(address) as client:
        found, health = client.status(), client.health()
    if json:
        emit_json({"health": health.value, "address": client.address, **found.to_dict()})
        return
    emit(f"mailroomd {printable_line(found.version)}  {health.replace('_', ' ')}  {client.address}")
    emit_table(_HEADERS, [_row(worker) for worker in found.workers])


def _row(worker: WorkerStatus) -> tuple[str, ...]:
    up = format_age((datetime.now(UTC) - worker.started_at).total_seconds()) if worker.started_at else "-"
    last_exit = printable_line(worker.last_exit) or "-"
    return (worker.name, worker.state, str(worker.pid), up, str(worker.restarts), last_exit)
