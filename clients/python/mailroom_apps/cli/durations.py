"""Durations — as people type them: 500ms, 30s, 10m, 1h30m, 2d. A bare number means seconds."""

__all__ = ["format_age", "format_ago", "parse_duration"]

import re
from datetime import UTC, datetime

import typer

from mailroom_apps.ages import format_age

_UNITS_SEC = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")


def parse_duration(text: str) -> float:
    """Returns a duration in seconds.

    Raises:
        BadParameter: the text is not a duration.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    if re.fullmatch(rf"({_PART.pattern})+", text):
        return sum(float(number) * _UNITS_SEC[unit] for number, unit in _PART.findall(text))
    raise typer.BadParameter(f"{text!r} is not a duration; use 500ms, 30s, 10m, 1h30m or 2d")


def format_ago(time: datetime | None) -> str:
    """Returns how long ago a time was, for example "3m ago"; "never" for None."""
    return f"{format_age(max(0.0, (datetime.now(UTC) - time).total_seconds()))} ago" if time else "never"
