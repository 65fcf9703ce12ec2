"""Finding — one thing that was looked at: how it is, and what to do about it.

Invariant: a warning or problem says what to do; a fix does no harm, also when the daemon runs or starts meanwhile.
"""

__all__ = ["Finding", "Level", "ok", "problem", "warning"]

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from mailroom.records import Record


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # works, but somebody should look at it
    PROBLEM = "problem"  # mail is refused, late or in danger


@dataclass(frozen=True, slots=True)
class Finding(Record):
    """What one check found.

    Attributes:
        check: what was looked at, e.g. "database".
        summary: how it is.
        advice: what to do; "" where nothing is to be done.
        fix: does that; raises OSError.
        fixed: whether it was done.
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

    def mended(self) -> "Finding":
        """Applies the fix, if there is one; returns how it is then."""
        if self.fix is None:
            return self
        try:
            self.fix()
        except OSError as error:
            return replace(self, fix=None, advice=f"{self.advice} (--fix could not: {error.strerror or error})")
        return replace(self, level=Level.OK, fix=None, fixed=True)


def ok(check: str, summary: str) -> Finding:
    """Returns that all is well."""
    return Finding(check, Level.OK, summary)


def warning(check: str, summary: str, advice: str, fix: Callable[[], object] | None = None) -> Finding:
    """Returns something to look at."""
    return Finding(check, Level.WARNING, summary, advice, fix)


def problem(check: str, summary: str, advice: str, fix: Callable[[], object] | None = None) -> Finding:
    """Returns something that has to be mended."""
    return Finding(check, Level.PROBLEM, summary, advice, fix)
