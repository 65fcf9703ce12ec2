"""Draft — one message that is still to be sent, for sending in bulk."""

__all__ = ["Draft"]

from typing import Unpack

from mailroom.options import SendOptions


class Draft:
    """A message before it has an id.

    Args:
        to: a session id, or agent@team.
        content: up to 1 MiB of UTF-8.
        options: see `SendOptions`. Give an `idempotency_key` where a bulk send has to be repeatable after its own
            program died; a stream that merely broke is resumed without.
    """

    __slots__ = ("content", "options", "to")

    def __init__(self, to: str, content: str, **options: Unpack[SendOptions]) -> None:
        self.to = to
        self.content = content
        self.options = options

    def __repr__(self) -> str:
        return f"Draft({self.to!r}, {self.content[:40]!r})"
