"""Storing — a message store on a real database, with a stand-in for the table: a dict of letters by id.

Owns the numbers: each command gets those that are its own, like the mailbox gives them. `counted` is what a commit
says of the mailboxes, `recounted` what their rows say.
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
    MailboxCounted,
    Outcome,
    WriteClear,
    WriteMessage,
    WriteOffered,
    WriteRead,
)
from mailroomd.protocol.local_events import LocalEvent
from mailroomd.storage.database.message_store import Committed, MessageStore, SequencedEvent, StoredMail

NOW_MS = 1_800_000_000_000
FIRST_ID = NOW_MS << MS_SHIFT
Counts = dict[str, tuple[int, int, int]]  # total, unread, oldest unread id


class Desk:
    """Writes letters into a table and has a store commit them.

    Attributes:
        table: the letters.
        last_id: the last number that was given out.
        now_ms: when commits happen.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.table: dict[int, StoredMail] = {}
        self.last_id = FIRST_ID
        self.now_ms = NOW_MS
        self.store = MessageStore(state_dir, self.mail_at)

    @property
    def connection(self) -> sqlite3.Connection:
        return self.store.transactions.connection

    def mail_at(self, command: WriteMessage) -> StoredMail:
        return self.table[command.id]

    def issue(self, count: int = 1) -> int:
        """Gives out numbers; returns the first."""
        first = self.last_id + 1
        self.last_id += count
        return first

    def pass_to(self, now_ms: int) -> None:
        """Lets time pass, for the commits and for the ids that are given out from now on."""
        self.now_ms = now_ms
        self.last_id = max(self.last_id, now_ms << MS_SHIFT)

    # -- commands -------------------------------------------------------------------------------------------------

    def letter(
        self, draft: Draft, key: str = "", *, client_key: bool = False, resubmitted: bool = False
    ) -> WriteMessage:
        """Appends a letter to the table and returns the command that has it stored."""
        number = self.issue(2)
        self.table[number] = StoredMail(number, self.now_ms + 5, draft)
        return WriteMessage(number, 0, key or f"own-{number}", client_key, resubmitted)

    def reading(self, agent: str, *message_ids: int) -> WriteRead:
        return WriteRead(self.issue(max(1, len(message_ids))), agent, list(message_ids))

    def offering(self, agent: str, *message_ids: int) -> WriteOffered:
        return WriteOffered(self.issue(max(1, len(message_ids))), agent, list(message_ids), self.now_ms)

    def clearing(self, agent: str, through_id: int, limit: int = 500) -> WriteClear:
        return WriteClear(self.issue(), agent, through_id, limit)

    def found(self, finding: LocalEvent, agent: str = "") -> SequencedEvent:
        """Gives a finding its places."""
        first = self.issue(finding.id_count)
        return SequencedEvent(first, self.last_id, finding, agent)

    # -- commits --------------------------------------------------------------------------------------------------

    def commit(self, *commands: Command | SequencedEvent) -> list[Outcome]:
        """Commits and returns the outcomes."""
        return self.done(*commands).outcomes

    def done(self, *commands: Command | SequencedEvent) -> Committed:
        return self.store.commit(commands, self.now_ms)

    def lazily(self, *commands: Command) -> list[Outcome]:
        return self.store.commit(commands, self.now_ms, lazily=True).outcomes

    def send(self, *drafts: Draft) -> list[int]:
        """Commits letters together; returns their ids."""
        letters = [self.letter(one) for one in drafts]
        self.commit(*letters)
        return [one.id for one in letters]

    def reopen(self) -> None:
        """Ends the store as a crash would (nothing is folded in) and opens it again."""
        self.connection.close()
        self.store = MessageStore(self.state_dir, self.mail_at)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, values).fetchall()


def draft(recipient: str = "abc", content: str = "go", sender: str = "dashboard", ttl_ms: int = 0) -> Draft:
    return Draft(recipient, sender, content, ttl_ms=ttl_ms)


def answers(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Returns the outcomes without the counts."""
    return [one for one in outcomes if not isinstance(one, MailboxCounted)]


def counted(outcomes: Sequence[Outcome]) -> Counts:
    return {
        one.name: (one.total, one.unread, one.oldest_unread_id) for one in outcomes if isinstance(one, MailboxCounted)
    }


def recounted(desk: Desk) -> Counts:
    return {
        name: (total, unread, oldest or 0)
        for name, total, unread, oldest in desk.rows(
            "SELECT recipient, count(*), sum(state < 4), min(CASE WHEN state < 4 THEN id END) FROM messages GROUP BY 1"
        )
    }


def fill_up(desk: Desk) -> None:
    """Lets the database grow no further: a real SQLITE_FULL."""
    pages = desk.rows("PRAGMA page_count")[0][0]
    desk.rows(f"PRAGMA max_page_count = {pages}")


def make_room(desk: Desk) -> None:
    desk.rows("PRAGMA max_page_count = 1000000")
