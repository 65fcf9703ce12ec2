"""Local events — what the command-queue learns by itself, and commits under ids that the mailbox allocates.

Owns their shapes. A local event becomes a row or a step in the global sequence, so it first needs ids
(`protocol.commands`: AllocateIds, IdsAllocated). Not here: how they are found and kept (`command_queue.local_events`).
"""

__all__ = ["FilesTaken", "LocalEvent", "MailExpired", "MailFiled", "ResponseLeft"]

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FilesTaken:
    """An agent took inbox files away: it has read these messages of its mailbox."""

    mailbox: str
    message_ids: tuple[int, ...]

    @property
    def id_count(self) -> int:
        """How many sequence ids it needs."""
        return len(self.message_ids)


@dataclass(frozen=True, slots=True)
class MailExpired:
    """The time to live of these messages ran out."""

    message_ids: tuple[int, ...]

    @property
    def id_count(self) -> int:
        """How many sequence ids it needs."""
        return len(self.message_ids)


@dataclass(frozen=True, slots=True)
class MailFiled:
    """Inbox files that could not be written at first are there now, and durable."""

    message_ids: tuple[int, ...]

    @property
    def id_count(self) -> int:
        """How many sequence ids it needs."""
        return len(self.message_ids)


@dataclass(frozen=True, slots=True)
class ResponseLeft:
    """An agent left a response in its outbox.

    Attributes:
        session: whose outbox.
        file_name: of the file.
        identity: of the file, as text: tells a repeated file from a new one.
        body: a JSON object.
    """

    session: str
    file_name: str
    identity: str
    body: bytes

    @property
    def id_count(self) -> int:
        """How many sequence ids it needs."""
        return 1


LocalEvent = FilesTaken | MailExpired | MailFiled | ResponseLeft
