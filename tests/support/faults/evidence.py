"""Evidence — what the checker judges: what everybody noted, and what is there afterwards.

Plain data, so that a test of the checker can tamper with it. Not here: collecting it (`gathering`), judging it
(`checker`, `checker_steps`).
"""

__all__ = ["Evidence", "Response", "Sent", "Step", "Stored", "Stream"]

from dataclasses import dataclass, field
from typing import NamedTuple

from support.faults.load_plan import CLEARED_MAILBOX, CLEARING_SENDER, EXPIRING_MAILBOX


@dataclass
class Sent:
    """One acknowledged send, as its sender noted it.

    Attributes:
        to: what the sender wrote, where an alias led it elsewhere.
        ended: when the answer came, in seconds since 1970.
        has_deadline: whether an answer to it was wanted by some time, which has passed since.
    """

    key: str
    id: int
    sender: str
    recipient: str
    digest: str
    answered_digest: str
    state: int
    to: str = ""
    has_ttl: bool = False
    begun: float = 0.0
    ended: float = 0.0
    has_deadline: bool = False


@dataclass
class Stored:
    """One message in the database.

    Attributes:
        filed_id: see the schema.
        expires_ms: 0 for never.
        ended_ms: when it was read or expired.
    """

    recipient: str
    sender: str
    digest: str
    state: int
    file_error: str = ""
    team_error: str = ""
    filed_id: int = 0
    expires_ms: int = 0
    ended_ms: int = 0


class Step(NamedTuple):
    """One receipt: its place, and what it says."""

    id: int
    message_id: int
    state: int


class Response(NamedTuple):
    """One response: its place, whose it is, its file's name, and the number in it."""

    id: int
    session: str
    name: str
    number: int


@dataclass
class Stream:
    """What one subscriber saw.

    Attributes:
        mailbox: whose; None for all mailboxes.
        start: where it began.
        messages: (id, recipient, digest) of each.
        events: the ids of all events, in the order in which they came.
        receipts_of: whose receipts it asked for; None for nobody's, "" for everybody's.
    """

    mailbox: str | None
    start: int
    messages: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])
    events: list[int] = field(default_factory=list[int])
    receipts: list[Step] = field(default_factory=list[Step])
    responses: list[Response] = field(default_factory=list[Response])
    receipts_of: str | None = None


@dataclass
class Evidence:
    """All that is judged.

    Attributes:
        broadcasts: digests of contents that are stored once for each recipient.
        troubles: errors that a client must not see.
        handed: (mailbox, id, digest) that CheckInbox gave out.
        asked: ids whose reading was asked for, answered or not: by an acknowledgement, or by taking the file.
        took: ids of files that their agent has taken.
        acknowledged: (mailbox, id) whose acknowledgement was answered.
        clearings: when each clearing was asked for, and whether it was answered; in seconds since 1970.
        aliases_asked, aliases_set: (session, agent) in the order of asking, and of the answers; "" ends an alias.
        leaving, left: (session, file name, number) of responses: about to be written, written and synced.
        keys: message id by (sender, idempotency key), from the database.
        last_id: the database's mark.
        counters, stats: (total, unread) by mailbox, from the database and from the table.
        first_unread: ids of the oldest unread messages by mailbox, from the table.
        files: raw content by (mailbox, file name).
        outbox: (session, file name) of what lies there.
        team_entries: ids in the native team inboxes, by recipient.
        receipts: the database's, with whose they are.
        responses: the database's.
        aliases: agent by session, from the database.
        cleared_files: ids of the files that still have to be removed.
        index_faults: what is wrong with the full-text index and the database's own structure.
        commits: ids in the order in which they appeared in the database.
        watched: the watcher's findings.
        is_swept: whether what was read may be deleted meanwhile.
        had_power_cuts: whether what is not durable may have been seen, and come again.
    """

    sends: list[Sent] = field(default_factory=list[Sent])
    broadcasts: set[str] = field(default_factory=set[str])
    troubles: list[str] = field(default_factory=list[str])
    streams: list[Stream] = field(default_factory=list[Stream])
    handed: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])
    asked: set[int] = field(default_factory=set[int])
    took: set[int] = field(default_factory=set[int])
    acknowledged: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    clearings: list[tuple[float, bool]] = field(default_factory=list[tuple[float, bool]])
    aliases_asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    aliases_set: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    leaving: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    left: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    messages: dict[int, Stored] = field(default_factory=dict[int, Stored])
    keys: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    last_id: int = 0
    counters: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    stats: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    first_unread: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    files: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    outbox: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    team_entries: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    receipts: list[tuple[Step, str]] = field(default_factory=list[tuple[Step, str]])
    responses: list[Response] = field(default_factory=list[Response])
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    cleared_files: list[int] = field(default_factory=list[int])
    index_faults: list[str] = field(default_factory=list[str])
    commits: list[int] = field(default_factory=list[int])
    watched: list[str] = field(default_factory=list[str])
    is_swept: bool = False
    had_power_cuts: bool = False

    def may_be_gone(self, number: int, recipient: str, sender: str) -> bool:
        """Returns whether a message may be deleted by now: swept after it was read or expired, or cleared away."""
        if recipient == CLEARED_MAILBOX or sender == CLEARING_SENDER:
            return bool(self.clearings)
        return self.is_swept and (number in self.asked or recipient == EXPIRING_MAILBOX)
