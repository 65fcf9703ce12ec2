"""LocalEvents — what the command-queue observes itself and commits under sequence ids that the mailbox allocates.

Owns their shapes. A local event gets a row or a receipt of its own in the global sequence, so the command-queue first
requests sequence ids for it (AllocateIds, IdsAllocated). Not here: observing them, and keeping
them until their ids arrive (`command_queue`).
"""

__all__ = [
    "EntriesTaken",
    "FilesTaken",
    "LocalEvent",
    "MailExpired",
    "MailFiled",
    "MailOverdue",
    "ResponseLeft",
    "TeamEnded",
]

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FilesTaken:
    """An agent removed inbox files: it has read these messages of its mailbox."""

    mailbox: str
    message_ids: tuple[int, ...]

    @property
    def id_count(self) -> int:
        """How many sequence ids it needs."""
        return len(self.message_ids)


@dataclass(frozen=True, slots=True)
class EntriesTaken:
    """A member of a team took entries out of its inbox: these messages of its mailbox were shown to it."""

    mailbox: str
    message_ids: tuple[int, ...]

    @property
    def id_count(self) -> int:
        """How many sequence ids it needs."""
        return len(self.message_ids)


@dataclass(frozen=True, slots=True)
class TeamEnded:
    """A team has ended: its member has read these messages of its mailbox, and will never say so."""

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
class MailOverdue:
    """The senders of these messages wanted an answer by now, and there is none."""

    message_ids: tuple[int, ...]

    @property
    def id_count(self) -> int:
        """How many sequence ids it needs."""
        return len(self.message_ids)


@dataclass(frozen=True, slots=True)
class MailFiled:
    """Inbox files that could not be written at first now exist and are durable."""

    message_ids: tuple[int, ...]

    @property
    def id_count(self) -> int:
        """How many sequence ids it needs."""
        return len(self.message_ids)


@dataclass(frozen=True, slots=True)
class ResponseLeft:
    """An agent left a response in its outbox.

    Attributes:
        session: owner of the outbox.
        file_name: of the outbox file.
        identity: of the file, as text: distinguishes a repeated file from a new one.
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


LocalEvent = FilesTaken | EntriesTaken | TeamEnded | MailExpired | MailOverdue | MailFiled | ResponseLeft
