"""Storing — a message store on a real database, with a stand-in for the mailbox table: a dict of messages by id.

Owns the sequence ids: it allocates those of each command, as the mailbox does. `counted` returns the counts that a
commit reports, `recounted` those that its rows show.
"""

__all__ = [
    "FIRST_ID",
    "NOW_MS",
    "StoreHarness",
    "answers",
    "counted",
    "done",
    "draft",
    "fill_up",
    "make_room",
    "recounted",
]

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailroomd.model.ids import MS_SHIFT, milliseconds_of
from mailroomd.model.message import Draft
from mailroomd.model.request_digest import digest_of
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import LocalEvent
from mailroomd.protocol.operations import Acknowledge, Clear, Done, MarkOffered, Send, Sent, SetAlias
from mailroomd.protocol.packets import Command, LazyCommand, Outcome
from mailroomd.protocol.reports import MailboxCounted, Report
from mailroomd.storage.database.message_store import (
    CommitResult,
    MessageStore,
    NewMail,
    SequencedEvent,
    StoredMail,
    Write,
)
from mailroomd.storage.database.state_conditions import UNREAD

NOW_MS = 1_800_000_000_000
FIRST_ID = NOW_MS << MS_SHIFT
Counts = dict[str, tuple[int, int, int]]  # total, unread, oldest unread id


class StoreHarness:
    """Writes messages into a table and has a store commit them.

    Attributes:
        table: the messages.
        last_id: the last id that was issued.
        now_ms: when commits happen.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.table: dict[int, StoredMail] = {}
        self.last_id = FIRST_ID
        self.now_ms = NOW_MS
        self.store = MessageStore(state_dir)

    @property
    def connection(self) -> sqlite3.Connection:
        return self.store.transactions.connection

    def resolve(self, command: Command | LazyCommand | SequencedEvent) -> Write:
        """Returns what the store is to write for a command, as the command-queue's `Resolver` does."""
        if isinstance(command, Command) and isinstance(command.op, Send):
            return NewMail(command, command.op, self.table.get(command.id))
        return command

    def issue(self, count: int = 1) -> int:
        """Issues ids; returns the first."""
        first = self.last_id + 1
        self.last_id += count
        return first

    def pass_to(self, now_ms: int) -> None:
        """Lets time pass, for the commits and for the ids that are issued from now on."""
        self.now_ms = now_ms
        self.last_id = max(self.last_id, now_ms << MS_SHIFT)

    # -- commands -------------------------------------------------------------------------------------------------

    def message(self, draft: Draft, key: str = "", *, client_key: bool = False, resubmitted: bool = False) -> Command:
        """Appends a message to the table and returns the command that stores it."""
        message_id = self.issue(2)
        self.table[message_id] = StoredMail(message_id, self.now_ms + 5, draft)
        digest = digest_of(draft) if client_key else b""
        send = Send(draft.recipient, draft.sender, draft.verified, key or f"own-{message_id}", client_key, digest)
        return Command(message_id, send, 2, draft.recipient, is_resubmitted=resubmitted)

    def reading(self, agent: str, *message_ids: int, by: str = "") -> Command:
        count = max(1, len(message_ids))
        return Command(self.issue(count), Acknowledge(agent, list(message_ids), by), count)

    def offering(self, agent: str, *message_ids: int) -> Command:
        count = max(1, len(message_ids))
        return Command(self.issue(count), MarkOffered(agent, list(message_ids), self.now_ms), count)

    def clearing(self, agent: str, through_id: int, limit: int = 500) -> Command:
        return Command(self.issue(), Clear(agent, through_id, limit))

    def aliasing(self, session: str, agent: str, expires_ms: int) -> Command:
        return Command(self.issue(), SetAlias(session, agent, expires_ms))

    def sequenced(self, event: LocalEvent, agent: str = "") -> SequencedEvent:
        """Gives an event its ids."""
        first = self.issue(event.id_count)
        return SequencedEvent(first, self.last_id, event, agent)

    # -- commits --------------------------------------------------------------------------------------------------

    def commit(self, *commands: Command | LazyCommand | SequencedEvent) -> list[Outcome | Report]:
        """Commits and returns the outcomes."""
        return self.result(*commands).outcomes

    def result(self, *commands: Command | LazyCommand | SequencedEvent) -> CommitResult:
        return self.store.commit(list(map(self.resolve, commands)), self.now_ms)

    def lazily(self, *commands: Command | LazyCommand) -> list[Outcome | Report]:
        return self.store.commit(list(map(self.resolve, commands)), self.now_ms, lazily=True).outcomes

    def send(self, *drafts: Draft) -> list[int]:
        """Commits messages together; returns their ids."""
        commands = [self.message(draft) for draft in drafts]
        self.commit(*commands)
        return [command.id for command in commands]

    def sent(self, command: Command, state: int = DeliveryState.FILED) -> Outcome:
        """Returns the outcome of a message that is stored by its own command."""
        mail = self.table[command.id]
        return Outcome(command.id, Sent(mail.id, mail.timestamp_ms, state, mail.draft.recipient))

    def repeated(
        self, command: Command, first_id: int, state: int = DeliveryState.FILED, *, is_deleted: bool = False
    ) -> Outcome:
        """Returns the outcome of a send that repeats an earlier one."""
        timestamp_ms = milliseconds_of(first_id) if is_deleted else self.table[first_id].timestamp_ms
        mailbox = self.table[first_id].draft.recipient
        verified = None if is_deleted else self.table[first_id].draft.verified
        sent = Sent(first_id, timestamp_ms, state, mailbox, is_repeated=True, first_verified=verified)
        return Outcome(command.id, sent)

    def reopen(self) -> None:
        """Ends the store as a crash would (the log is not folded in) and opens it again."""
        self.connection.close()
        self.store = MessageStore(self.state_dir)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, values).fetchall()


def draft(recipient: str = "abc", content: str = "go", sender: str = "dashboard", ttl_ms: int = 0) -> Draft:
    return Draft(recipient, sender, content, ttl_ms=ttl_ms)


def done(command_id: int, *receipt_senders: str) -> Outcome:
    """Returns the outcome of a command that has nothing to return."""
    return Outcome(command_id, Done(), list(receipt_senders))


def answers(outcomes: Sequence[Outcome | Report]) -> list[Outcome | Report]:
    """Returns the outcomes without the counts."""
    return [outcome for outcome in outcomes if not isinstance(outcome, MailboxCounted)]


def counted(outcomes: Sequence[Outcome | Report]) -> Counts:
    return {
        outcome.name: (outcome.total, outcome.unread, outcome.oldest_unread_id)
        for outcome in outcomes
        if isinstance(outcome, MailboxCounted)
    }


def recounted(harness: StoreHarness) -> Counts:
    return {
        name: (total, unread, oldest or 0)
        for name, total, unread, oldest in harness.rows(
            f"SELECT recipient, count(*), sum({UNREAD}), min(CASE WHEN {UNREAD} THEN id END) FROM messages GROUP BY 1"
        )
    }


def fill_up(harness: StoreHarness) -> None:
    """Stops the growth of the database: a real SQLITE_FULL."""
    pages = harness.rows("PRAGMA page_count")[0][0]
    harness.rows(f"PRAGMA max_page_count = {pages}")


def make_room(harness: StoreHarness) -> None:
    harness.rows("PRAGMA max_page_count = 1000000")
