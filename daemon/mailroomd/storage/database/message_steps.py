"""MessageSteps — moves messages of the database from state to state, with a receipt for each step.

Owns the UPDATEs of `state` after the commit of a message, in the open transaction of `MessageStore`. Every step takes
the next of its command's numbers as its receipt's place. A step that was made before is not made again, so a command
that is heard twice does nothing the second time. Not here: the table of steps (`model.states`), which says the same.
Invariant: a state only moves forward; a message that is read or expired stays so.
"""

__all__ = ["MessageSteps"]

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

from mailroomd.model.announcement import Receipt
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.mailbox_counters import MailboxCounters
from mailroomd.storage.database.receipts import ReceiptRows
from mailroomd.storage.database.responses import ResponseRows


class _Row(NamedTuple):
    recipient: str
    sender: str
    state: int


class MessageSteps:
    """Makes steps.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
        counters: of the mailboxes.
        receipts: for the senders.
        responses: which may be offered, too.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        counters: MailboxCounters,
        receipts: ReceiptRows,
        responses: ResponseRows,
    ) -> None:
        self._connection = connection
        self._counters = counters
        self._receipts = receipts
        self._responses = responses

    def read(
        self, place: int, mailbox: str, message_ids: Sequence[int], now_ms: int
    ) -> tuple[list[int], dict[str, None]]:
        """Marks messages read; returns those of this mailbox, read before or now, and whose senders hear it."""
        rows = [(number, row) for number, row in self._rows(message_ids) if row.recipient == mailbox]
        newly = [(number, row) for number, row in rows if row.state < DeliveryState.READ]
        self._connection.executemany(
            "UPDATE messages SET state = 4, read_ms = ?, file_error = '', team_error = '' WHERE id = ?",
            [(now_ms, number) for number, _ in newly],
        )
        if rows:  # also where nothing is new: the command may be heard again because its outcomes were lost
            self._counters.take_off_unread(mailbox, len(newly))
        self._tell(place, newly, DeliveryState.READ, now_ms)
        return [number for number, _ in rows], dict.fromkeys(row.sender for _, row in rows)  # for the same reason

    def offer(self, place: int, mailbox: str, numbers: Sequence[int], offered_ms: int) -> dict[str, None]:
        """Notes that messages or responses of a mailbox were handed over; returns whose senders hear it."""
        newly: list[tuple[int, _Row]] = []
        for number in dict.fromkeys(numbers):
            row = self._row(number)
            if row is None:
                self._responses.offer(number, mailbox)
            elif row.recipient == mailbox and row.state < DeliveryState.OFFERED:
                newly.append((number, row))
        self._connection.executemany(
            "UPDATE messages SET state = 3, offered_ms = ? WHERE id = ?", [(offered_ms, number) for number, _ in newly]
        )
        return self._tell(place, newly, DeliveryState.OFFERED, offered_ms)

    def expire(
        self, place: int, message_ids: Sequence[int], now_ms: int
    ) -> tuple[dict[str, list[int]], dict[str, None]]:
        """Ends messages whose time ran out unread; returns their ids by mailbox, and whose senders hear it."""
        newly = [(number, row) for number, row in self._rows(message_ids) if row.state < DeliveryState.READ]
        self._connection.executemany(
            "UPDATE messages SET state = 5, read_ms = ?, file_error = '', team_error = '' WHERE id = ?",
            [(now_ms, number) for number, _ in newly],
        )
        expired: dict[str, list[int]] = {}
        for number, row in newly:
            expired.setdefault(row.recipient, []).append(number)
        for mailbox, numbers in expired.items():
            self._counters.take_off_unread(mailbox, len(numbers))
        return expired, self._tell(place, newly, DeliveryState.EXPIRED, now_ms)

    def file(self, place: int, message_ids: Sequence[int], now_ms: int) -> dict[str, None]:
        """Notes that files are there at last; returns whose senders hear of a step from STORED to FILED."""
        late = [(number, row) for number, row in self._rows(message_ids) if row.state < DeliveryState.READ]
        self._connection.executemany(
            "UPDATE messages SET file_error = '', filed_ms = ?, state = max(state, 2) WHERE id = ?",
            [(now_ms, number) for number, _ in late],
        )
        stored = [(number, row) for number, row in late if row.state == DeliveryState.STORED]
        self._connection.executemany(
            "UPDATE messages SET filed_id = ? WHERE id = ? AND filed_id = 0",
            [(place + step, number) for step, (number, _) in enumerate(stored)],
        )
        return self._tell(place, stored, DeliveryState.FILED, now_ms)

    def _tell(
        self, place: int, steps: Iterable[tuple[int, _Row]], state: DeliveryState, now_ms: int
    ) -> dict[str, None]:
        receipts = [
            Receipt(where, row.sender, number, row.recipient, state, now_ms)
            for where, (number, row) in zip(count(place), steps, strict=False)
        ]
        self._receipts.write(receipts)
        return dict.fromkeys(one.sender for one in receipts)

    def _row(self, number: int) -> _Row | None:
        row = self._connection.execute(
            "SELECT recipient, sender, state FROM messages WHERE id = ?", (number,)
        ).fetchone()
        return _Row(*row) if row else None

    def _rows(self, message_ids: Iterable[int]) -> list[tuple[int, _Row]]:
        """Returns the messages that exist, each once."""
        return [(number, row) for number in dict.fromkeys(message_ids) if (row := self._row(number))]
