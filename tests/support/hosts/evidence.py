"""HostsEvidence — what the checker of several hosts judges: what was accepted, and what every host has afterwards.

Owns reading it: the notes of the senders, databases and inbox files. It is plain data, so that a test of the checker
can tamper with it. Not here: judging (`hosts_checker`).
"""

__all__ = ["Arrival", "Departure", "HostEvidence", "HostsEvidence", "Row", "Sent", "read_host"]

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mailroomd.model.ids import parse_id


@dataclass
class Sent:
    """A message that a host accepted for an agent on another.

    Attributes:
        host: the sender's.
        to: the recipient's.
        mailbox: the recipient, without its host.
        number: counts the messages of this host for that one, in the order of sending.
        id: at the sender's host.
        is_undone: a backup was restored that does not know the message any more at one of its ends, or that it was
            returned. It may be gone.
        is_rewound: a backup was restored after it was sent, at one of its ends. That end may know an earlier state.
    """

    host: str
    to: str
    mailbox: str
    content: str
    number: int
    id: int
    is_undone: bool = False
    is_rewound: bool = False


@dataclass
class Row:
    """A message in a database."""

    recipient: str
    sender: str
    content: str
    state: int


class Departure(NamedTuple):
    """What a host knows of a message for another: that host, and the run that stored it."""

    host: str
    run: int


class Arrival(NamedTuple):
    """Where a message came from: its position at its own host."""

    host: str
    run: int
    id: int


@dataclass
class HostEvidence:
    """What one host has.

    Attributes:
        messages: by id.
        departures, origins: by the id of their message.
        queue: how many items wait, by host.
        receipts: (id of the message, state), in order.
        files: (mailbox, id, content) of each inbox file.
        damage: what the database finds wrong with itself.
    """

    messages: dict[int, Row] = field(default_factory=dict[int, Row])
    departures: dict[int, Departure] = field(default_factory=dict[int, Departure])
    origins: dict[int, Arrival] = field(default_factory=dict[int, Arrival])
    queue: Counter[str] = field(default_factory=Counter[str])
    receipts: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    files: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])
    damage: list[str] = field(default_factory=list[str])


@dataclass
class HostsEvidence:
    """All that is judged.

    Attributes:
        sent: every accepted message for another host.
        hosts: by name.
        local_failures: sends to an agent of the own host that failed although nothing was done to that host.
        at_hub: how many batches the hub still holds.
    """

    sent: list[Sent] = field(default_factory=list[Sent])
    hosts: dict[str, HostEvidence] = field(default_factory=dict[str, HostEvidence])
    local_failures: list[str] = field(default_factory=list[str])
    at_hub: int = 0


def read_host(database: Path, inbox: Path) -> HostEvidence:
    """Returns what a host has, from one moment of its database, which is quiet."""
    evidence = HostEvidence()
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10.0)) as connection:
        connection.execute("BEGIN")
        for number, *rest in connection.execute("SELECT id, recipient, sender, content, state FROM messages"):
            evidence.messages[number] = Row(*rest)
        for number, host, run in connection.execute("SELECT id, host, run FROM departures"):
            evidence.departures[number] = Departure(host, run)
        for number, *rest in connection.execute("SELECT id, host, run, origin_id FROM origins"):
            evidence.origins[number] = Arrival(*rest)
        evidence.queue.update(dict(connection.execute("SELECT host, count(*) FROM forward_queue GROUP BY host")))
        evidence.receipts = connection.execute("SELECT message_id, state FROM receipts ORDER BY id").fetchall()
        evidence.damage = [said for (said,) in connection.execute("PRAGMA integrity_check") if said != "ok"]
    for path in inbox.glob("[!.]*/*.json"):
        content = json.loads(path.read_bytes())
        evidence.files.append((path.parent.name, parse_id(path.stem), content["content"]))
    return evidence
