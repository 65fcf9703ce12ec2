"""Storing — a message store on a real database, with a stand-in for the mailbox table: a dict of messages by id.

Owns the sequence ids: it allocates those of each command, as the mailbox does. `counted` returns the counts that a
commit reports, `recounted` those that its rows show.
"""

__all__ = ["FIRST_ID", "NOW_MS", "Desk", "answers", "counted", "draft", "fill_up", "make_room", "recounted"]

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailroomd.model.ids import MS_SHIFT
from mailroomd.model.message import Draft
from mailroomd.protocol.commands import (
    Command,
    IdsAllocated,
    MailboxCounted,
    Outcome,
    WriteClear,
    WriteMessage,
    WriteOffered,
    WriteRead,
)
from mailroomd.protocol.local_events import LocalEvent
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


class Desk:
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

    def resolve(self, command: Command | SequencedEvent) -> Write:
        """Returns what the store is to write for a command, as the command-queue's `Resolver` does."""
        if isinstance(command, WriteMessage):
            return NewMail(command, self.table.get(command.id))
        assert not isinstance(command, IdsAllocated)
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

    def message(
        self, draft: Draft, key: str = "", *, client_key: bool = False, resubmitted: bool = False
    ) -> WriteMessage:
        """Appends a message to the table and returns the command that stores it."""
        message_id = self.issue(2)
        self.table[message_id] = StoredMail(message_id, self.now_ms + 5, draft)
        return WriteMessage(message_id, 0, key or f"own-{message_id}", client_key, resubmitted)

    def reading(self, agent: str, *message_ids: int) -> WriteRead:
        return WriteRead(self.issue(max(1, len(message_ids))), agent, list(message_ids))

    def offering(self, agent: str, *message_ids: int) -> WriteOffered:
        return WriteOffered(self.issue(max(1, len(message_ids))), agent, list(message_ids), self.now_ms)

    def clearing(self, agent: str, through_id: int, limit: int = 500) -> WriteClear:
        return WriteClear(self.issue(), agent, through_id, limit)

    def sequenced(self, event: LocalEvent, agent: str = "") -> SequencedEvent:
        """Gives an event its ids."""
        first = self.issue(event.id_count)
        return SequencedEvent(first, self.last_id, event, agent)

    # -- commits --------------------------------------------------------------------------------------------------

    def commit(self, *commands: Command | SequencedEvent) -> list[Outcome]:
        """Commits and returns the outcomes."""
        return self.result(*commands).outcomes

    def result(self, *commands: Command | SequencedEvent) -> CommitResult:
        return self.store.commit(list(map(self.resolve, commands)), self.now_ms)

    def lazily(self, *commands: Command) -> list[Outcome]:
        return self.store.commit(list(map(self.resolve, commands)), self.now_ms, lazily=True).outcomes

    def send(self, *drafts: Draft) -> list[int]:
        """Commits messages together; returns their ids."""
        commands = [self.message(draft) for draft in drafts]
        self.commit(*commands)
        return [command.id for command in commands]

    def reopen(self) -> None:
        """Ends the store as a crash would (the log is not folded in) and opens it again."""
        self.connection.close()
        self.store = MessageStore(self.state_dir)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, values).fetchall()


def draft(recipient: str = "abc", content: str = "go", sender: str = "dashboard", ttl_ms: int = 0) -> Draft:
    return Draft(recipient, sender, content, ttl_ms=ttl_ms)


def answers(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Returns the outcomes without the counts."""
    return [outcome for outcome in outcomes if not isinstance(outcome, MailboxCounted)]


def counted(outcomes: Sequence[Outcome]) -> Counts:
    return {
        outcome.name: (outcome.total, outcome.unread, outcome.oldest_unread_id)
        for outcome in outcomes
        if isinstance(outcome, MailboxCounted)
    }


def recounted(desk: Desk) -> Counts:
    return {
        name: (total, unread, oldest or 0)
        for name, total, unread, oldest in desk.rows(
            f"SELECT recipient, count(*), sum({UNREAD}), min(CASE WHEN {UNREAD} THEN id END) FROM messages GROUP BY 1"
        )
    }


def fill_up(desk: Desk) -> None:
    """Stops the growth of the database: a real SQLITE_FULL."""
    pages = desk.rows("PRAGMA page_count")[0][0]
    desk.rows(f"PRAGMA max_page_count = {pages}")


def make_room(desk: Desk) -> None:
    desk.rows("PRAGMA max_page_count = 1000000")
