"""`mailroom queues` — inbox files that nobody has taken yet, by session."""

__all__ = ["queues"]

from mailroom.stats import QueueStats

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import format_age
from mailroom_apps.cli.options import Address, Json, MaybeAgent
from mailroom_apps.cli.output import emit_records
from mailroom_apps.printable import printable_line

_HEADERS = ("SESSION", "PENDING", "OLDEST")


def queues(session: MaybeAgent = None, json: Json = False, address: Address = None) -> None:
    """Counts the inbox files that nobody has taken yet; sessions without any are left out."""
    with connect(address) as client:
        found = client.queue_stats(session)
    nothing = f"no file is pending for {session}" if session else "no file is pending"
    emit_records(found, _HEADERS, _row, json=json, nothing=nothing)


def _row(queue: QueueStats) -> tuple[str, ...]:
    return (printable_line(queue.session_id), str(queue.pending_count), format_age(queue.oldest_age_sec))
