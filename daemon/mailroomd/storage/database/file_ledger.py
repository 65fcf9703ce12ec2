"""FileLedger — what the database knows of the inbox files: which should exist, and why some do not.

Owns the columns `file_error` and `team_error`, the errors that could not be written yet, and the list of files that a
cleared mailbox still has to lose. Not here: the files (`InboxFiles`); that a delayed file is a step (`MessageSteps`).
Invariant: the error of a missing file is recorded before anything counts as synced; otherwise it would count as read.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["FileLedger"]

from collections.abc import Iterable, Iterator, Mapping

from mailroomd.model.message import Message
from mailroomd.storage.database.connection import DamagedRow
from mailroomd.storage.database.damaged_rows import has_ended, is_known_state, set_aside
from mailroomd.storage.database.rows import MESSAGE_COLUMNS, message_of
from mailroomd.storage.database.state_conditions import FILED, KNOWN_UNREAD, STORED, UNREAD
from mailroomd.storage.database.transactions import Transactions

_SET_FILE_ERROR = (
    "UPDATE messages SET file_error = :error, filed_ms = CASE WHEN :were_filed THEN filed_ms ELSE 0 END,"
    " filed_id = CASE WHEN :were_filed THEN filed_id ELSE 0 END,"
    f" state = CASE WHEN state = {FILED} AND NOT :were_filed THEN {STORED} ELSE state END"
    f" WHERE id = :id AND {UNREAD}"
)
_IS_FILEABLE = f"{KNOWN_UNREAD} AND typeof(recipient) = 'text' AND instr(recipient, ':') = 0"  # not for another host


class FileLedger:
    """Keeps the ledger.

    Args:
        transactions: the writer's.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._connection = transactions.connection
        self._queued_errors: dict[int, tuple[str, bool]] = {}
        self._removed: set[int] = set()

    # -- writing --------------------------------------------------------------------------------------------------

    def record_unfiled(self, errors: Mapping[int, str], *, were_filed: bool = False) -> None:
        """Commits why files are missing, by message id.

        What cannot be committed now is committed with the next call, at the latest with the next `synced_id`.

        Args:
            were_filed: the files existed once: the messages stay FILED, as no state moves back.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        self.queue_unfiled(errors, were_filed=were_filed)
        with self._transactions.durable():
            self.write_queued()
        self.clear_queued()

    def record_filed_again(self, message_ids: Iterable[int]) -> None:
        """Commits that files which were recorded as missing are there again, and durable.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        with self._transactions.durable():
            self._connection.executemany(
                f"UPDATE messages SET file_error = '' WHERE id = ? AND {UNREAD}",
                [(message_id,) for message_id in message_ids],
            )

    def queue_unfiled(self, errors: Mapping[int, str], *, were_filed: bool = False) -> None:
        """Keeps such errors for the next commit of them, at the latest with the next `synced_id`."""
        self._queued_errors.update({message_id: (error, were_filed) for message_id, error in errors.items()})

    @property
    def has_queued_errors(self) -> bool:
        """Whether errors wait to be committed."""
        return bool(self._queued_errors)

    def write_queued(self) -> None:
        """Writes what is queued, within the open transaction."""
        self._connection.executemany(
            _SET_FILE_ERROR,
            [
                {"id": message_id, "error": error, "were_filed": were_filed}
                for message_id, (error, were_filed) in self._queued_errors.items()
            ],
        )
        self._connection.executemany(
            "DELETE FROM cleared_files WHERE id = ?", [(message_id,) for message_id in self._removed]
        )

    def clear_queued(self) -> None:
        """Empties the queue after the commit of `write_queued`."""
        self._queued_errors.clear()
        self._removed.clear()

    def record_team_errors(self, errors: Mapping[int, str]) -> None:
        """Records the results of team inbox entries, by message id; "" for those that are written.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        with self._transactions.lazy():
            self._connection.executemany(
                f"UPDATE messages SET team_error = ? WHERE id = ? AND {UNREAD}",
                [(error, message_id) for message_id, error in errors.items()],
            )

    def forget_cleared(self, message_ids: Iterable[int]) -> None:
        """Takes files off the list of those that are to be removed: they are gone.

        What cannot be committed now is committed with the next call, at the latest with the next `synced_id`.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        self._removed.update(message_ids)
        with self._transactions.lazy():
            self.write_queued()
        self.clear_queued()

    # -- reading --------------------------------------------------------------------------------------------------

    def message(self, message_id: int) -> Message | None:
        """Returns one message; None if it is deleted.

        Raises:
            DamagedRow: its row cannot be used.
        """
        row = self._connection.execute(f"SELECT {MESSAGE_COLUMNS} FROM messages WHERE id = ?", (message_id,)).fetchone()
        return message_of(row) if row else None

    def messages(self, message_ids: Iterable[int]) -> Iterator[Message]:
        """Yields those of these messages that are not deleted; damaged rows are set aside."""
        for message_id in message_ids:
            try:
                message = self.message(message_id)
            except DamagedRow as error:
                set_aside(message_id, error)
                continue
            if message is not None:
                yield message

    def unfiled(self) -> list[tuple[str, int]]:
        """Returns (mailbox, id) of the unread messages whose files could not be written."""
        return self._connection.execute(
            f"SELECT recipient, id FROM messages WHERE file_error <> '' AND {UNREAD} AND {_IS_FILEABLE}"
        ).fetchall()

    def not_in_team_inbox(self) -> list[int]:
        """Returns the ids of the unread messages whose entry in a team inbox is not known to be written."""
        rows = self._connection.execute(f"SELECT id FROM messages WHERE team_error <> '' AND {UNREAD} ORDER BY id")
        return [message_id for (message_id,) in rows]

    def missing_in_team_inbox(self, recipient: str, first_id: int, limit: int) -> list[int]:
        """Returns the same for one recipient, from an id on, in order."""
        rows = self._connection.execute(
            f"SELECT id FROM messages WHERE team_error <> '' AND {UNREAD} AND recipient = ? AND id >= ?"
            " ORDER BY id LIMIT ?",
            (recipient, first_id, limit),
        )
        return [message_id for (message_id,) in rows]

    def cleared(self) -> list[tuple[str, int]]:
        """Returns (mailbox, id) of the files that cleared mailboxes still have to lose."""
        return self._connection.execute("SELECT mailbox, id FROM cleared_files ORDER BY mailbox, id").fetchall()

    def filed_after(self, mailbox: str, message_id: int, limit: int) -> list[tuple[str, int]]:
        """Returns (mailbox, id) of unread messages that should have a file, in that order, after such a pair.

        Rows with a state that does not exist are left out.
        """
        return self._connection.execute(
            f"SELECT recipient, id FROM messages WHERE {UNREAD} AND {_IS_FILEABLE} AND file_error = ''"
            " AND (recipient, id) > (?, ?)"
            " ORDER BY recipient, id LIMIT ?",
            (mailbox, message_id, limit),
        ).fetchall()

    def filed_in(self, mailbox: str) -> list[int]:
        """Returns the ids of a mailbox's unread messages that should have a file."""
        rows = self._connection.execute(
            f"SELECT id FROM messages WHERE recipient = ? AND {UNREAD} AND file_error = ''", (mailbox,)
        )
        return [message_id for (message_id,) in rows]

    def knows_mailbox(self, mailbox: str) -> bool:
        """Returns whether a mailbox has messages, or an agent that is still remembered."""
        return self._connection.execute("SELECT 1 FROM mailboxes WHERE name = ?", (mailbox,)).fetchone() is not None

    def knows_message(self, message_id: int) -> bool:
        """Returns whether there is a row of this message, damaged or not."""
        return self._connection.execute("SELECT 1 FROM messages WHERE id = ?", (message_id,)).fetchone() is not None

    def is_deserted(self, mailbox: str) -> bool:
        """Returns whether a mailbox has no unread mail, and its agent has never made a call, or was forgotten."""
        row = self._connection.execute(
            "SELECT 1 FROM mailboxes WHERE name = ? AND (unread > 0 OR last_seen_ms > 0)", (mailbox,)
        ).fetchone()
        return row is None

    def is_read(self, message_id: int, mailbox: str) -> bool:
        """Returns whether a message of this mailbox is read or expired; False if there is no such message.

        False also if its row does not say when, or has a state that does not exist: then it is set aside.
        """
        row = self._connection.execute(
            "SELECT state, read_ms FROM messages WHERE id = ? AND recipient = ?", (message_id, mailbox)
        ).fetchone()
        if row is None:
            return False
        state, read_ms = row
        if not is_known_state(state):
            set_aside(message_id, DamagedRow(f"the row of message {message_id} has the state {state!r:.20}"))
        return has_ended(state) and read_ms != 0
