"""`mailroom queues` — the number of pending inbox files by session."""

__all__ = ["queues"]

from mailroom.stats import QueueStats

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import format_age
from mailroom_apps.cli.options import Address, Json, MaybeAgent
from mailroom_apps.cli.output import emit_records
from mailroom_apps.printable import printable_line

_HEADERS = ("SESSION", "PENDING", "OLDEST")


def queues(session: MaybeAgent = None, json: Json = False, address: Address = None) -> None:
    """Count the pending inbox files of each session that has any."""
    with connect(address) as client:
        pending = client.queue_stats(session)
    empty_note = f"no pending files for {session}" if session else "no pending files"
    emit_records(pending, _HEADERS, _row, json=json, empty_note=empty_note)


def _row(queue: QueueStats) -> tuple[str, ...]:
    return (printable_line(queue.session_id), str(queue.pending_count), format_age(queue.oldest_age_sec))
