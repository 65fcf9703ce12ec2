"""Draft — one message to be sent in bulk."""

__all__ = ["Draft"]

from typing import Unpack

from mailroom.options import SendOptions


class Draft:
    """A message before it has an id.

    Args:
        to: an agent's name, a session id, or `agent@team`.
        content: up to 1 MiB of UTF-8.
        options: see `SendOptions`. Set an `idempotency_key` if the bulk send must be repeatable after a crash of its
            own program; resuming a broken stream does not need one.
    """

    __slots__ = ("content", "options", "to")

    def __init__(self, to: str, content: str, **options: Unpack[SendOptions]) -> None:
        self.to = to
        self.content = content
        self.options = options

    def __repr__(self) -> str:
        return f"Draft({self.to!r}, {self.content[:40]!r})"
