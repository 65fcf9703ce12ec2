"""FileLedger — what the database knows of the inbox files: which should be there, and why some are not.

Owns the columns `file_error` and `team_error`, the notes that found no room yet, and the list of files that a cleared
mailbox has left to be removed. Not here: the files (`InboxFiles`), that a late file is a step (`MessageSteps`).
Invariant: a file that is known to be missing is noted before anything counts as synced, or it would be taken for read.
"""

__all__ = ["FileLedger"]

from collections.abc import Iterable, Mapping

from mailroomd.model.message import Message
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.rows import MESSAGE_COLUMNS, message_of
from mailroomd.storage.database.transactions import Transactions


class FileLedger:
    """Keeps the ledger.

    Args:
        transactions: the writer's.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._connection = transactions.connection
        self._notes: dict[int, tuple[str, bool]] = {}
        self._gone: set[int] = set()

    # -- writing --------------------------------------------------------------------------------------------------

    def note_unfiled(self, errors: Mapping[int, str], *, were_filed: bool = False) -> None:
        """Commits why files are missing, by message id.

        What can't be committed now is committed with the next note, at the latest with the next `synced_id`.

        Args:
            were_filed: the files were there once: the messages stay FILED, as no state moves back.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        self.remember_unfiled(errors, were_filed=were_filed)
        with self._transactions.durable():
            self.write_notes()
        self.forget_notes()

    def remember_unfiled(self, errors: Mapping[int, str], *, were_filed: bool = False) -> None:
        """Keeps such notes for the next commit of them, at the latest with the next `synced_id`."""
        self._notes.update({number: (error, were_filed) for number, error in errors.items()})

    @property
    def has_notes(self) -> bool:
        """Whether notes wait to be committed."""
        return bool(self._notes)

    def write_notes(self) -> None:
        """Writes the notes that wait, within the open transaction."""
        self._connection.executemany(
            "UPDATE messages SET file_error = :error, filed_ms = CASE WHEN :were_filed THEN filed_ms ELSE 0 END,"
            " filed_id = CASE WHEN :were_filed THEN filed_id ELSE 0 END,"
            " state = CASE WHEN state = 2 AND NOT :were_filed THEN 1 ELSE state END WHERE id = :id AND state < 4",
            [
                {"id": number, "error": error, "were_filed": were_filed}
                for number, (error, were_filed) in self._notes.items()
            ],
        )
        self._connection.executemany("DELETE FROM cleared_files WHERE id = ?", [(one,) for one in self._gone])

    def forget_notes(self) -> None:
        """Takes note that `write_notes` was committed."""
        self._notes.clear()
        self._gone.clear()

    def note_team_errors(self, errors: Mapping[int, str]) -> None:
        """Notes what became of team inbox entries, by message id; "" for those that are there.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        with self._transactions.lazy():
            self._connection.executemany(
                "UPDATE messages SET team_error = ? WHERE id = ? AND state < 4",
                [(error, number) for number, error in errors.items()],
            )

    def forget_cleared(self, message_ids: Iterable[int]) -> None:
        """Takes files off the list of those that are to be removed: they are gone.

        What can't be committed now is committed with the next note, at the latest with the next `synced_id`.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        self._gone.update(message_ids)
        with self._transactions.lazy():
            self.write_notes()
        self.forget_notes()

    # -- reading --------------------------------------------------------------------------------------------------

    def message(self, number: int) -> Message | None:
        """Returns one message, None if it is gone."""
        row = self._connection.execute(f"SELECT {MESSAGE_COLUMNS} FROM messages WHERE id = ?", (number,)).fetchone()  # noqa: S608
        return message_of(row) if row else None

    def unfiled(self) -> list[tuple[str, int]]:
        """Returns (mailbox, id) of the unread messages whose files could not be written."""
        return self._connection.execute(
            "SELECT recipient, id FROM messages WHERE file_error <> '' AND state < 4"
        ).fetchall()

    def not_in_team_inbox(self) -> list[int]:
        """Returns the ids of the unread messages whose entry in a team inbox is not known to be there."""
        rows = self._connection.execute("SELECT id FROM messages WHERE team_error <> '' AND state < 4 ORDER BY id")
        return [number for (number,) in rows]

    def missing_in_team_inbox(self, recipient: str, first_id: int, limit: int) -> list[int]:
        """Returns the same for one recipient, from an id on, in order."""
        rows = self._connection.execute(
            "SELECT id FROM messages WHERE team_error <> '' AND state < 4 AND recipient = ? AND id >= ?"
            " ORDER BY id LIMIT ?",
            (recipient, first_id, limit),
        )
        return [message_id for (message_id,) in rows]

    def cleared(self) -> list[tuple[str, int]]:
        """Returns (mailbox, id) of the files that a cleared mailbox has left."""
        return self._connection.execute("SELECT mailbox, id FROM cleared_files ORDER BY mailbox, id").fetchall()

    def filed_after(self, mailbox: str, number: int, limit: int) -> list[tuple[str, int]]:
        """Returns (mailbox, id) of unread messages that should have a file, in that order, from behind such a pair."""
        return self._connection.execute(
            "SELECT recipient, id FROM messages WHERE state < 4 AND file_error = '' AND (recipient, id) > (?, ?)"
            " ORDER BY recipient, id LIMIT ?",
            (mailbox, number, limit),
        ).fetchall()

    def filed_in(self, mailbox: str) -> list[int]:
        """Returns the ids of a mailbox's unread messages that should have a file."""
        rows = self._connection.execute(
            "SELECT id FROM messages WHERE recipient = ? AND state < 4 AND file_error = ''", (mailbox,)
        )
        return [number for (number,) in rows]

    def knows_mailbox(self, mailbox: str) -> bool:
        """Returns whether a mailbox has messages, or an agent that is still remembered."""
        return self._connection.execute("SELECT 1 FROM mailboxes WHERE name = ?", (mailbox,)).fetchone() is not None

    def is_read(self, number: int, mailbox: str) -> bool:
        """Returns whether a message of this mailbox is read or expired; False too where there is no such message."""
        row = self._connection.execute(
            "SELECT state FROM messages WHERE id = ? AND recipient = ?", (number, mailbox)
        ).fetchone()
        return row is not None and row[0] >= DeliveryState.READ
