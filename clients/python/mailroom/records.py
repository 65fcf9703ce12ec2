"""Record — the base of all values that the SDK returns; converts them to JSON-ready values.

Invariant: records are frozen dataclasses with slots; times are aware and UTC.
"""

__all__ = ["Page", "Record", "iso_utc"]

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, TypeVar, cast

Item = TypeVar("Item")


def iso_utc(moment: datetime) -> str:
    """Returns a moment as ISO 8601 in UTC with milliseconds, for example "2026-11-22T23:06:50.123Z"."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Record:
    """The base of all returned values."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values: enums as strings, times as ISO 8601 UTC, absent values as None."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a longer list; `next_token` is "" on the last page."""

    items: tuple[Item, ...]
    next_token: str


def _plain(value: object) -> object:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, datetime):
        return iso_utc(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    return value
