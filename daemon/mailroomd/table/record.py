"""Record — one message as the mailbox table has it; NotInTable — a question that the table cannot answer.

Owns what the readers of the table share. Below: `TableLayout`.
"""

__all__ = ["NotInTable", "Record"]

from typing import NamedTuple

import msgspec

from mailroomd.model.message import Draft, unpack_draft
from mailroomd.model.states import DeliveryState


class NotInTable(Exception):  # noqa: N818 - names the outcome of a read
    """The table cannot answer this for certain; the database can."""


class Record(NamedTuple):
    """One whole record.

    Attributes:
        position: in the ring.
        next_position: of the next record in the ring.
        previous_position: of the previous record of the same mailbox, 0 if the ring never had one.
        timestamp_ms: milliseconds since 1970.
        mailbox: where the message is.
        body: the packed draft, as its sender submitted it.
    """

    id: int
    position: int
    next_position: int
    previous_position: int
    timestamp_ms: int
    state: DeliveryState
    kind: int
    mailbox: str
    body: bytes

    def draft(self) -> Draft:
        """Returns the message's draft; its recipient is the mailbox, even if the sender named an alias of it."""
        draft = unpack_draft(self.body)
        return draft if draft.recipient == self.mailbox else msgspec.structs.replace(draft, recipient=self.mailbox)
