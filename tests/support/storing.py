"""A message store with a stand-in for the table: a dict of letters by id."""

import sqlite3
from pathlib import Path
from typing import Any, cast

from mailroomd.model.commands import Command, Outcome, WriteMessage
from mailroomd.model.ids import MS_SHIFT
from mailroomd.model.message import Draft
from mailroomd.storage.message_store import Committed, MessageStore, StoredMail

NOW_MS = 1_800_000_000_000
FIRST_ID = NOW_MS << MS_SHIFT


class Desk:
    """Writes letters into a table and has a store commit them."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.table: dict[int, StoredMail] = {}
        self.last_id = FIRST_ID
        self.store = MessageStore(state_dir, self.mail_at)

    @property
    def connection(self) -> sqlite3.Connection:
        return cast("Any", self.store)._connection

    def mail_at(self, command: WriteMessage) -> StoredMail:
        return self.table[command.id]

    def letter(
        self, draft: Draft, key: str = "", *, client_key: bool = False, resubmitted: bool = False
    ) -> WriteMessage:
        """Appends a letter to the table and returns the command that has it stored."""
        number = self.last_id = self.last_id + 1
        self.table[number] = StoredMail(number, NOW_MS + 5, draft)
        return WriteMessage(number, 0, key or f"own-{number}", client_key, resubmitted)

    def commit(self, *commands: Command) -> list[Outcome]:
        """Commits and returns the outcomes."""
        return self.done(*commands).outcomes

    def done(self, *commands: Command) -> Committed:
        return self.store.commit(commands, NOW_MS)

    def reopen(self) -> None:
        """Ends the store as a crash would (nothing is folded in) and opens it again."""
        self.connection.close()
        self.store = MessageStore(self.state_dir, self.mail_at)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, values).fetchall()


def draft(recipient: str = "abc", content: str = "go", sender: str = "dashboard") -> Draft:
    return Draft(recipient, sender, content)
