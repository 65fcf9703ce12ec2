"""Dialect — how each agent program takes what a hook answers: in which form, and how much of it.

Source: measured with the programs of November 2026 (docs/agents.md names the versions). A program that gets more cuts
the text, some in the middle, and its model never sees what was cut. So the bound is the largest that each was seen to
pass on whole; where none was measured, it is the smallest of those that were.
Loaded only when there is mail to show.
"""

__all__ = ["DEFAULT", "Dialect", "dialect_of"]

from mailroom_apps.hooks.event import STOP, HookEvent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UTF_8, UTF_16 = ("utf-8", 1), ("utf-16-le", 2)  # how a program counts: the encoding, and the bytes of one unit


class Dialect:
    """One program's form of an answer.

    Attributes:
        limit: the longest text that reaches the model whole, in the program's units.
        stops_quietly: a stop takes context and goes on; otherwise it takes a reason why it is blocked, which some
            programs show as an error.
    """

    __slots__ = ("_encoding", "_unit_bytes", "limit", "stops_quietly")

    def __init__(self, limit: int, counting: tuple[str, int], *, stops_quietly: bool = False) -> None:
        self.limit = limit
        self._encoding, self._unit_bytes = counting
        self.stops_quietly = stops_quietly

    def size(self, text: str) -> int:
        """Returns the length of a text, in the program's units."""
        return len(text.encode(self._encoding, "surrogatepass")) // self._unit_bytes

    def beginning(self, text: str, units: int) -> str:
        """Returns as much of a text as fits."""
        encoded = text.encode(self._encoding, "surrogatepass")[: self._unit_bytes * max(0, units)]
        return encoded.decode(self._encoding, "ignore")

    def answer(self, event: HookEvent, text: str) -> "dict[str, Any]":
        """Returns the hook's answer to an event, ready for JSON."""
        if event.name == STOP and not self.stops_quietly:
            return {"decision": "block", "reason": text}
        return {"hookSpecificOutput": {"hookEventName": event.given_name, "additionalContext": text}}


DEFAULT = Dialect(9_000, UTF_8)
_DIALECTS = {
    "claude-code": Dialect(10_000, UTF_16, stops_quietly=True),
    "codex": DEFAULT,  # keeps 10,000 bytes, and cuts in the middle
    "gemini": DEFAULT,
    "opencode": DEFAULT,
    "qwen": Dialect(5_000, UTF_8),
}
_GEMINI_EVENTS = ("BeforeAgent", "AfterTool", "AfterAgent")


def dialect_of(event: HookEvent, name: str | None) -> Dialect:
    """Returns the dialect with a name; without one, that of the event."""
    if name is None:
        name = "gemini" if event.given_name in _GEMINI_EVENTS else "claude-code"
    return _DIALECTS[name]
