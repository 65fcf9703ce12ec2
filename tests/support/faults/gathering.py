"""gathering — collects the evidence from a daemon that runs and is quiet, and from the notes of a load that has ended.

Owns the reading: notes, database, files, outbox, team inboxes, and the table by GetMailboxStats and CheckInbox. It
waits for what the daemon does behind (index, retries, removals) under one bound; what is not done then is evidence.
"""

__all__ = ["gather"]

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from mailroom.v1 import mailroom_pb2 as pb
from support.faults.evidence import Evidence, Response, Sent, Step, Stored, Stream
from support.faults.load_context import digest_of
from support.faults.load_streams import STREAMS
from support.harness.contract import BlockingStubs
from support.harness.daemon import Daemon
from support.harness.waiting import BOUND_SEC, wait_until

# Work that follows the commits; each gauge counts the part that is not done yet.
_BEHIND = (
    "SELECT count(*) FROM cleared_files",
    "SELECT count(*) FROM messages WHERE id > (SELECT value FROM meta WHERE name = 'indexed_id')",
    "SELECT count(*) FROM messages WHERE state < 4 AND (file_error <> '' OR team_error <> '')",
    # Those too whose time is up in a moment: else they expire between two looks.
    "SELECT count(*) FROM messages WHERE state < 4 AND ttl_ms > 0"
    " AND timestamp_ms + ttl_ms < 1000 * (5 + CAST(strftime('%s') AS INTEGER))",
    "SELECT count(*) FROM deadlines",
)

_ENDED = "SELECT count(*) FROM messages WHERE state >= 4"


def gather(
    daemon: Daemon, notes: Path | None, watched: Iterable[str] = (), *, settle_sec: float = BOUND_SEC
) -> Evidence:
    """Collects the evidence.

    Args:
        notes: the load's; None where there was none.
        watched: the watcher's findings.
        settle_sec: how long to wait for what the daemon does behind.
    """
    evidence = Evidence(watched=list(watched))
    if notes is not None:
        _read_notes(evidence, notes)
    with suppress(AssertionError):  # the checker says what is not done
        wait_until(lambda: _is_quiet(daemon, evidence), "all is done", settle_sec, step_sec=0.05)
    with daemon.calls() as calls:
        with suppress(AssertionError):
            wait_until(lambda: _stats(calls) == _counters(daemon.database), "the table has heard of all", settle_sec)
        evidence.stats = _stats(calls)
        evidence.aliases = _aliases(daemon.database)
        for name in evidence.stats:
            if name in evidence.aliases or name in evidence.aliases.values():
                continue  # CheckInbox shows several mailboxes as one there
            found = calls.check_inbox(pb.CheckInboxRequest(agent=name, limit=100, observe=True), timeout=10.0)
            evidence.first_unread[name] = [int(one.id, 16) for one in found.messages]
    _read_database(evidence, daemon.database)
    for directory in filter(Path.is_dir, daemon.inbox.iterdir()):
        for path in directory.iterdir():
            evidence.files[directory.name, path.name] = path.read_bytes()
    evidence.outbox = _outbox(daemon)
    evidence.team_entries = dict(_team_entries(daemon.root / "teams"))
    return evidence


def _is_quiet(daemon: Daemon, evidence: Evidence) -> bool:
    with closing(sqlite3.connect(f"file:{daemon.database}?mode=ro", uri=True)) as connection:
        if any(connection.execute(sql).fetchone()[0] for sql in _BEHIND):
            return False
        if evidence.is_swept and connection.execute(_ENDED).fetchone()[0]:
            return False  # else the sweep comes between two looks
        taken = [
            one
            for one in evidence.took
            if connection.execute("SELECT 1 FROM messages WHERE id = ? AND state < 4", (one,)).fetchone()
        ]
    there = {path.stem for path in daemon.inbox.glob("*/*.json")} if taken else set[str]()
    return not _outbox(daemon) and all(f"{one:016x}" in there for one in taken)


def _stats(calls: BlockingStubs) -> dict[str, tuple[int, int]]:
    """Returns the counts in shared memory of the mailboxes that have any mail."""
    found = calls.stats(pb.GetMailboxStatsRequest(), timeout=10.0, wait_for_ready=True).mailboxes
    return {one.agent_id: (one.total, one.unread) for one in found if one.total}


def _counters(database: Path) -> dict[str, tuple[int, int]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT name, total, unread FROM mailboxes WHERE total > 0")
        return {name: (total, unread) for name, total, unread in rows}


def _outbox(daemon: Daemon) -> list[tuple[str, str]]:
    return [(path.parent.name, path.name) for path in (daemon.root / "outbox").glob("*/*.json")]


def _aliases(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        live = "expires_ms > 1000 * CAST(strftime('%s') AS INTEGER)"
        return dict(connection.execute(f"SELECT session, agent FROM aliases WHERE {live}").fetchall())


def _team_entries(teams: Path) -> Iterator[tuple[str, list[int]]]:
    for path in teams.glob("*/inboxes/*.json"):
        entries: list[dict[str, Any]] = json.loads(path.read_bytes())
        ids = [int(str(one["mailroom_id"]), 16) for one in entries if "mailroom_id" in one]
        yield f"{path.stem}@{path.parent.parent.name}", ids


# -- the database -----------------------------------------------------------------------------------------------------


def _read_database(evidence: Evidence, path: Path) -> None:
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(":memory:")) as copy,
    ):
        live.backup(copy)  # one moment of it, in which the index can be checked as well
        _read_messages(evidence, copy)
        _read_steps(evidence, copy)
        evidence.keys = {
            (sender, key): number
            for sender, key, number in copy.execute("SELECT sender, key, message_id FROM idempotency_keys")
        }
        evidence.counters = {
            name: (total, unread) for name, total, unread in copy.execute("SELECT name, total, unread FROM mailboxes")
        }
        (evidence.last_id,) = copy.execute("SELECT value FROM meta WHERE name = 'last_id'").fetchone()
        evidence.cleared_files = [number for (number,) in copy.execute("SELECT id FROM cleared_files")]
        evidence.index_faults = list(_index_faults(copy))


def _read_messages(evidence: Evidence, connection: sqlite3.Connection) -> None:
    columns = "id, recipient, sender, content, state, file_error, team_error, filed_id, timestamp_ms, ttl_ms, read_ms"
    for row in connection.execute(f"SELECT {columns} FROM messages"):
        number, recipient, sender, content, state, file_error, team_error, filed_id, sent_ms, ttl_ms, ended_ms = row
        expires_ms = sent_ms + ttl_ms if ttl_ms else 0
        evidence.messages[number] = Stored(
            recipient, sender, digest_of(content), state, file_error, team_error, filed_id, expires_ms, ended_ms
        )


def _read_steps(evidence: Evidence, connection: sqlite3.Connection) -> None:
    evidence.receipts = [
        (Step(number, message_id, state), sender)
        for number, message_id, state, sender in connection.execute(
            "SELECT id, message_id, state, sender FROM receipts ORDER BY id"
        )
    ]
    evidence.responses = [
        Response(number, session, name, json.loads(body)["number"])
        for number, session, name, body in connection.execute(
            "SELECT id, session, file_name, body FROM responses ORDER BY id"
        )
    ]


def _index_faults(connection: sqlite3.Connection) -> Iterator[str]:
    """Checks a copy of the database that nobody else writes to."""
    for (said,) in connection.execute("PRAGMA integrity_check").fetchall():
        if said != "ok":
            yield said
    (behind,) = connection.execute(_BEHIND[1]).fetchone()
    if behind:
        yield f"{behind} messages are not in the index"
        return
    try:
        connection.execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        yield f"the index is not its content: {error}"


# -- the notes --------------------------------------------------------------------------------------------------------


def _read_notes(evidence: Evidence, notes: Path) -> None:
    plan: dict[str, Any] = json.loads((notes / "plan.json").read_text())
    evidence.is_swept, evidence.had_power_cuts = plan["retention"], plan["power_cuts"]
    evidence.sends = [*map(_sent, _rows(notes, "sends")), *map(_broadcast, _rows(notes, "broadcasts"))]
    evidence.broadcasts = {row["digest"] for row in _rows(notes, "broadcasting")}
    evidence.troubles = [f"{row['who']}: {row['said']}" for row in _rows(notes, "troubles")]
    evidence.handed = [(row["agent"], int(row["id"], 16), row["digest"]) for row in _rows(notes, "handed")]
    evidence.asked = {int(row["id"], 16) for row in _rows(notes, "asked")}
    evidence.took = {int(row["id"], 16) for row in _rows(notes, "took")}
    evidence.acknowledged = [(row["agent"], int(row["id"], 16)) for row in _rows(notes, "acknowledged")]
    answered = {row["begun"] for row in _rows(notes, "cleared")}
    evidence.clearings = [(row["begun"], row["begun"] in answered) for row in _rows(notes, "clearing")]
    evidence.aliases_asked = [(row["session"], row["agent"]) for row in _rows(notes, "aliasing")]
    evidence.aliases_set = [(row["session"], row["agent"]) for row in _rows(notes, "aliased")]
    evidence.leaving = [(row["session"], row["name"], row["number"]) for row in _rows(notes, "leaving")]
    evidence.left = [(row["session"], row["name"], row["number"]) for row in _rows(notes, "left")]
    evidence.commits = [number for row in _rows(notes, "committed") for number in row["ids"]]
    seen = list(_rows(notes, "seen"))
    evidence.streams = [_stream_of(name, [row for row in seen if row["stream"] == name]) for name in STREAMS]


def _sent(row: dict[str, Any]) -> Sent:
    return Sent(
        row["key"],
        int(row["id"], 16),
        row["sender"],
        row["recipient"],
        row["digest"],
        row["answered_digest"],
        row["state"],
        row["to"],
        row["ttl"],
        row["begun"],
        row["ended"],
        row["reply_by"],
    )


def _broadcast(row: dict[str, Any]) -> Sent:
    """Returns a copy of a broadcast, whose answers leave contents and keys of copies out."""
    digest = row["digest"]
    return Sent("", int(row["id"], 16), "b0", row["recipient"], digest, digest, 1, row["to"])


def _stream_of(name: str, rows: list[dict[str, Any]]) -> Stream:
    request = STREAMS[name]
    receipts_of = "" if request.all_agents else request.agent if request.include_receipts else None
    starts = [int(row["id"], 16) for row in rows if row["kind"] == "caught_up"]
    stream = Stream(request.agent or None, starts[0], receipts_of=receipts_of)
    for row in rows:
        number = int(row["id"], 16)
        match row["kind"]:
            case "message":
                stream.messages.append((number, row["recipient"], row["digest"]))
            case "receipt":
                stream.receipts.append(Step(number, int(row["message"], 16), row["state"]))
            case "command_response":
                stream.responses.append(Response(number, row["session"], row["name"], int(row["number"])))
            case _:
                continue
        stream.events.append(number)
    return stream


def _rows(notes: Path, name: str) -> Iterator[dict[str, Any]]:
    path = notes / f"{name}.jsonl"
    if path.exists():
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        yield from map(json.loads, whole.splitlines())
