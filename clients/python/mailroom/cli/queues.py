"""`mailroom queues` — inbox files that nobody has taken yet, by session."""

__all__ = ["queues"]

from mailroom.cli.connection import connect
from mailroom.cli.durations import format_age
from mailroom.cli.options import Address, Json, MaybeAgent
from mailroom.cli.output import emit_json, emit_table, remark
from mailroom.cli.printable import printable_line

_HEADERS = ("SESSION", "PENDING", "OLDEST")


def queues(session: MaybeAgent = None, json: Json = False, address: Address = None) -> None:
    """Counts the inbox files that nobody has taken yet; sessions without any are left out."""
    with connect(address) as client:
        found = client.queue_stats(session)
    if json:
        for queue in found:
            emit_json(queue.to_dict())
    elif found:
        rows = [(printable_line(q.session_id), str(q.pending_count), format_age(q.oldest_age_sec)) for q in found]
        emit_table(_HEADERS, rows)
    else:
        remark(f"no file is pending for {session}" if session else "no file is pending")
