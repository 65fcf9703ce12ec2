"""Finding — the result of one check: its level, a summary, and what to do.

Invariant: a warning or problem says what to do; applying a fix is harmless, even while the daemon runs or starts.
"""

__all__ = ["Finding", "Level", "ok", "problem", "warning"]

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from mailroom.records import Record


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"  # Mailroom works, but something needs attention
    PROBLEM = "problem"  # messages are refused, delayed or in danger


@dataclass(frozen=True, slots=True)
class Finding(Record):
    """The result of one check.

    Attributes:
        check: what was checked, for example "database".
        summary: the result.
        advice: what to do; "" if nothing needs to be done.
        fix: follows the advice; raises OSError.
        fixed: whether the fix was applied.
    """

    check: str
    level: Level
    summary: str
    advice: str = ""
    fix: Callable[[], object] | None = field(default=None, compare=False, repr=False)
    fixed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Returns the finding as JSON-ready values."""
        return {
            "check": self.check,
            "level": self.level.value,
            "summary": self.summary,
            "advice": self.advice,
            "fixable": self.fix is not None,
            "fixed": self.fixed,
        }

    def apply_fix(self) -> "Finding":
        """Applies the fix, if there is one; returns the finding afterwards."""
        if self.fix is None:
            return self
        try:
            self.fix()
        except OSError as error:
            return replace(self, fix=None, advice=f"{self.advice} (--fix failed: {error.strerror or error})")
        return replace(self, level=Level.OK, fix=None, fixed=True)


def ok(check: str, summary: str) -> Finding:
    """Returns a good result."""
    return Finding(check, Level.OK, summary)


def warning(check: str, summary: str, advice: str, fix: Callable[[], object] | None = None) -> Finding:
    """Returns a result that needs attention."""
    return Finding(check, Level.WARNING, summary, advice, fix)


def problem(check: str, summary: str, advice: str, fix: Callable[[], object] | None = None) -> Finding:
    """Returns a result that needs a repair."""
    return Finding(check, Level.PROBLEM, summary, advice, fix)
