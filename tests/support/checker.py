"""Checker — names the promises that were broken, from what everybody noted and what is there afterwards.

`gather` collects: the notes of the load, the database, the inbox files, the table's figures (by GetMailboxStats and
CheckInbox), the watcher's findings. `broken_promises` judges, and does no input or output, so that it can be tested
itself with evidence that was tampered with.
"""

__all__ = ["Evidence", "Sent", "Stored", "Stream", "broken_promises", "gather"]

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from mailroom.v1 import mailroom_pb2 as pb
from support.daemon import Daemon
from support.load import FIRST_MAILBOX, digest_of

MOST_EXAMPLES = 3  # of one broken promise; the rest is counted
FINAL = 4  # READ; a smaller state is unread


@dataclass
class Sent:
    """One acknowledged send, as its sender noted it."""

    key: str
    id: int
    sender: str
    recipient: str
    digest: str
    answered_digest: str
    state: int


@dataclass
class Stored:
    """One message in the database."""

    recipient: str
    sender: str
    digest: str
    state: int
    file_error: str = ""


@dataclass
class Stream:
    """What one subscriber saw: where it started, and each message (id, recipient, digest); all mailboxes if None."""

    mailbox: str | None
    start: int
    messages: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])


@dataclass
class Evidence:
    """All that is judged.

    Attributes:
        troubles: errors that a client must not see.
        handed: (mailbox, id, digest) that CheckInbox gave out.
        asked: ids whose acknowledgement was asked for, answered or not.
        acknowledged: (mailbox, id) whose acknowledgement was answered.
        keys: message id by (sender, idempotency key), from the database.
        last_id: the database's mark.
        counters, stats: (total, unread) by mailbox, from the database and from the table.
        first_unread: ids of the oldest unread messages by mailbox, from the table.
        files: raw content by (mailbox, file name).
        commits: ids in the order in which they appeared in the database.
        watched: the watcher's findings.
    """

    sends: list[Sent] = field(default_factory=list[Sent])
    troubles: list[str] = field(default_factory=list[str])
    streams: list[Stream] = field(default_factory=list[Stream])
    handed: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])
    asked: set[int] = field(default_factory=set[int])
    acknowledged: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    messages: dict[int, Stored] = field(default_factory=dict[int, Stored])
    keys: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    last_id: int = 0
    counters: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    stats: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    first_unread: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    files: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    commits: list[int] = field(default_factory=list[int])
    watched: list[str] = field(default_factory=list[str])


def broken_promises(evidence: Evidence) -> list[str]:
    """Returns a sentence for each promise that was broken, with a few examples."""
    judges = (
        _clients_saw_no_trouble,
        _watcher_saw_whole_files_only,
        _acknowledged_sends_are_stored_once,
        _keys_never_get_two_ids,
        _nothing_is_stored_twice,
        _what_was_shown_is_stored,
        _commits_are_in_order,
        _streams_are_complete_and_in_order,
        _reading_is_recorded,
        _files_are_the_unread_mail,
        _counters_are_recounts,
        _table_agrees_with_the_database,
    )
    return [sentence for judge in judges for sentence in _few(judge(evidence))]


def _few(sentences: Iterator[str]) -> list[str]:
    shown = list(islice(sentences, MOST_EXAMPLES))
    more = sum(1 for _ in sentences)
    return [*shown, f"... and {more} more of these"] if more else shown


def _clients_saw_no_trouble(evidence: Evidence) -> Iterator[str]:
    for said in evidence.troubles:
        yield f"trouble: {said}"


def _watcher_saw_whole_files_only(evidence: Evidence) -> Iterator[str]:
    for said in evidence.watched:
        yield f"inbox watcher: {said}"


def _acknowledged_sends_are_stored_once(evidence: Evidence) -> Iterator[str]:
    for sent in evidence.sends:
        stored = evidence.messages.get(sent.id)
        if stored is None:
            yield f"lost: send {sent.key or 'without key'} was acknowledged as {sent.id:016x}, which does not exist"
        elif (stored.recipient, stored.sender, stored.digest) != (sent.recipient, sent.sender, sent.digest):
            yield f"changed: {sent.id:016x} is not what {sent.sender} sent"
        if sent.answered_digest != sent.digest:
            yield f"changed: the answer for {sent.id:016x} has another content than its request"
        if sent.key and evidence.keys.get((sent.sender, sent.key)) != sent.id:
            yield f"forgotten: the key {sent.key} of {sent.id:016x} is not in the database with it"
        if sent.state == 0:
            yield f"stateless: {sent.id:016x} was acknowledged in no state"


def _keys_never_get_two_ids(evidence: Evidence) -> Iterator[str]:
    known: dict[tuple[str, str], int] = {}
    for sent in evidence.sends:
        if sent.key and known.setdefault((sent.sender, sent.key), sent.id) != sent.id:
            yield f"doubled: key {sent.key} was acknowledged with two ids, {sent.id:016x} is one"
    for key, number in evidence.keys.items():
        if number not in evidence.messages:
            yield f"half: key {key} belongs to {number:016x}, which does not exist"


def _nothing_is_stored_twice(evidence: Evidence) -> Iterator[str]:
    """Contents are unique in a load: each begins with the number of its send."""
    for digest, count in Counter(one.digest for one in evidence.messages.values()).items():
        if count > 1:
            twins = [f"{number:016x}" for number, one in evidence.messages.items() if one.digest == digest]
            yield f"doubled: one send is stored {count} times, as {', '.join(twins)}"


def _what_was_shown_is_stored(evidence: Evidence) -> Iterator[str]:
    shown = [(number, mailbox, digest) for mailbox, number, digest in evidence.handed]
    for number, mailbox, digest in [*shown, *(one for stream in evidence.streams for one in stream.messages)]:
        stored = evidence.messages.get(number)
        if stored is None or (stored.recipient, stored.digest) != (mailbox, digest):
            yield f"phantom: {number:016x} was shown to a reader of {mailbox} and is not stored so"


def _commits_are_in_order(evidence: Evidence) -> Iterator[str]:
    for before, after in pairwise(evidence.commits):
        if after <= before:
            yield f"disorder: {after:016x} was committed after {before:016x}"
    if evidence.commits:
        observed = set(evidence.commits)
        for number in sorted(evidence.messages):
            if evidence.commits[0] <= number <= evidence.commits[-1] and number not in observed:
                yield f"disorder: {number:016x} appeared in the database below an id that was there before"
    if evidence.messages and max(evidence.messages) > evidence.last_id:
        yield f"disorder: the mark last_id is {evidence.last_id:016x}, {max(evidence.messages):016x} is stored"


def _streams_are_complete_and_in_order(evidence: Evidence) -> Iterator[str]:
    for stream in evidence.streams:
        name = stream.mailbox or "all mailboxes"
        for (before, *_), (after, *_) in pairwise(stream.messages):
            if after <= before:
                yield f"stream: the subscriber of {name} saw {after:016x} after {before:016x}"
        saw = {number for number, *_ in stream.messages}
        for number, stored in evidence.messages.items():
            if number > stream.start and stream.mailbox in (None, stored.recipient) and number not in saw:
                yield f"stream: the subscriber of {name} missed {number:016x}"
        for number, mailbox, _ in stream.messages:
            if number <= stream.start or stream.mailbox not in (None, mailbox):
                yield f"stream: the subscriber of {name} saw {number:016x}, which it did not ask for"


def _reading_is_recorded(evidence: Evidence) -> Iterator[str]:
    for mailbox, number in evidence.acknowledged:
        stored = evidence.messages.get(number)
        if stored is None or stored.recipient != mailbox or stored.state < FINAL:
            yield f"unread again: {number:016x} was acknowledged by {mailbox}, and is not read in the database"
    for number, stored in evidence.messages.items():
        if stored.state >= FINAL and number not in evidence.asked:
            yield f"unread mail lost: {number:016x} of {stored.recipient} is marked read, and nobody acknowledged it"


def _files_are_the_unread_mail(evidence: Evidence) -> Iterator[str]:
    for number, stored in evidence.messages.items():
        raw = evidence.files.get((stored.recipient, f"{number:016x}.json"))
        if stored.state >= FINAL and raw is not None:
            yield f"file: {number:016x} is read and its file is still in {stored.recipient}"
        elif stored.state < FINAL and stored.file_error:
            yield f"file: {number:016x} could not be written to {stored.recipient}: {stored.file_error}"
        elif stored.state < FINAL and not _is_file_of(raw, number, stored):
            yield f"file: {number:016x} is unread and its file in {stored.recipient} is {(raw or b'missing')[:60]!r}"
    for mailbox, name in evidence.files:
        stem = name.removesuffix(".json")
        stored = evidence.messages.get(int(stem, 16)) if len(stem) == 16 else None
        if stored is None or stored.recipient != mailbox:
            yield f"file: {mailbox}/{name} belongs to no message of that mailbox"


def _is_file_of(raw: bytes | None, number: int, stored: Stored) -> bool:
    try:
        body: Any = json.loads(raw or b"")
    except ValueError:
        return False
    said = (body.get("id"), body.get("session_id"), body.get("from"), digest_of(body.get("content", "")))
    return said == (f"{number:016x}", stored.recipient, stored.sender, stored.digest)


def _counters_are_recounts(evidence: Evidence) -> Iterator[str]:
    total = Counter(one.recipient for one in evidence.messages.values())
    unread = Counter(one.recipient for one in evidence.messages.values() if one.state < FINAL)
    for name in {*evidence.counters, *total}:
        counted = (total[name], unread[name])
        if evidence.counters.get(name, (0, 0)) != counted:
            yield f"counters: {name} has (total, unread) {evidence.counters.get(name)}, a recount gives {counted}"


def _table_agrees_with_the_database(evidence: Evidence) -> Iterator[str]:
    for name in {*evidence.counters, *evidence.stats}:
        if evidence.stats.get(name, (0, 0)) != evidence.counters.get(name, (0, 0)):
            yield (
                f"table: {name} has (total, unread) {evidence.stats.get(name)} in shared memory, "
                f"{evidence.counters.get(name)} in the database"
            )
    for name, shown in evidence.first_unread.items():
        unread = sorted(
            number for number, one in evidence.messages.items() if one.recipient == name and one.state < FINAL
        )
        if shown != unread[: len(shown)] or (unread and not shown):
            yield f"table: CheckInbox for {name} gives {len(shown)} messages that are not its oldest unread ones"


# -- gathering --------------------------------------------------------------------------------------------------------


def gather(daemon: Daemon, notes: Path | None, watched: Iterable[str] = ()) -> Evidence:
    """Collects the evidence from a daemon that runs and is quiet, and the notes of a load that has ended."""
    evidence = Evidence(watched=list(watched))
    if notes is not None:
        _read_notes(evidence, notes)
    with daemon.calls() as calls:
        stats = calls.stats(pb.GetMailboxStatsRequest(), timeout=10.0, wait_for_ready=True).mailboxes
        evidence.stats = {one.agent_id: (one.total, one.unread) for one in stats}
        for name in evidence.stats:
            found = calls.check_inbox(pb.CheckInboxRequest(agent=name, limit=100, observe=True), timeout=10.0)
            evidence.first_unread[name] = [int(one.id, 16) for one in found.messages]
    _read_database(evidence, daemon.database)
    for directory in filter(Path.is_dir, daemon.inbox.iterdir()):
        for path in directory.iterdir():
            evidence.files[directory.name, path.name] = path.read_bytes()
    return evidence


def _read_database(evidence: Evidence, path: Path) -> None:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        connection.execute("BEGIN")
        columns = "id, recipient, sender, content, state, file_error"
        for number, recipient, sender, content, state, file_error in connection.execute(
            f"SELECT {columns} FROM messages"
        ):
            evidence.messages[number] = Stored(recipient, sender, digest_of(content), state, file_error)
        evidence.keys = {
            (sender, key): number
            for sender, key, number in connection.execute("SELECT sender, key, message_id FROM idempotency_keys")
        }
        evidence.counters = {
            name: (total, unread)
            for name, total, unread in connection.execute("SELECT name, total, unread FROM mailboxes")
        }
        (evidence.last_id,) = connection.execute("SELECT value FROM meta WHERE name = 'last_id'").fetchone()
    finally:
        connection.close()


def _read_notes(evidence: Evidence, notes: Path) -> None:
    for row in _rows(notes, "sends"):
        number = int(row["id"], 16)
        sent = Sent(
            row["key"], number, row["sender"], row["recipient"], row["digest"], row["answered_digest"], row["state"]
        )
        evidence.sends.append(sent)
    evidence.troubles = [f"{row['who']}: {row['said']}" for row in _rows(notes, "troubles")]
    evidence.handed = [(row["agent"], int(row["id"], 16), row["digest"]) for row in _rows(notes, "handed")]
    evidence.asked = {int(row["id"], 16) for row in _rows(notes, "asked")}
    evidence.acknowledged = [(row["agent"], int(row["id"], 16)) for row in _rows(notes, "acknowledged")]
    evidence.commits = [number for row in _rows(notes, "committed") for number in row["ids"]]
    seen = list(_rows(notes, "seen"))
    evidence.streams = [
        _stream_of([row for row in seen if row["stream"] == name], mailbox)
        for name, mailbox in (("mailbox", FIRST_MAILBOX), ("all", None))
    ]


def _stream_of(rows: list[dict[str, Any]], mailbox: str | None) -> Stream:
    starts = [int(row["id"], 16) for row in rows if row["kind"] == "caught_up"]
    stream = Stream(mailbox, starts[0])
    for row in rows:
        if row["kind"] == "message":
            stream.messages.append((int(row["id"], 16), row["recipient"], row["digest"]))
    return stream


def _rows(notes: Path, name: str) -> Iterator[dict[str, Any]]:
    path = notes / f"{name}.jsonl"
    if path.exists():
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        yield from map(json.loads, whole.splitlines())
