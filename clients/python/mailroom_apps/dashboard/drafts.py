"""Drafts — what the operator has begun to write, so that another browser can continue: one private file each.

The page that writes a draft stores it in the browser first; this copy follows a second later. Its key is the key under
which the message will be sent, so two browsers that send the same draft send one message.
Invariant: a draft is whole under its id or absent; ids are UUIDs, so no id leads out of the directory.
"""

__all__ = ["Draft", "Drafts"]

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
from mailroom.private_file import write_private_file

from mailroom_apps.dashboard.private_files import make_private_directory
from mailroom_apps.dashboard.requests import UUID_PATTERN

MAX_DRAFTS = 100  # the one that was changed longest ago makes room
MAX_DRAFT_BYTES = 4 << 20  # content and metadata have 1 MiB and 64 KiB, before JSON escapes them
SUFFIX = ".json"
Uuid = Annotated[str, msgspec.Meta(pattern=UUID_PATTERN)]


class Draft(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One draft.

    Attributes:
        id: names it; also the key that its message will be sent with.
        at_ms: when it was changed, by the clock of its browser, in milliseconds since 1970.
        fields: what the page needs to continue it; the server does not look into it.
    """

    id: Uuid
    at_ms: Annotated[int, msgspec.Meta(ge=0)]
    fields: dict[str, Any]


class Drafts:
    """The drafts of one dashboard's operator.

    Args:
        directory: where their directory is.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "drafts"

    def save(self, draft: Draft) -> None:
        """Stores a draft in place of its earlier version; an older version than the stored one changes nothing.

        Raises:
            ValueError: it is too large.
            OSError: it cannot be written.
        """
        content = msgspec.json.encode(draft)
        if len(content) > MAX_DRAFT_BYTES:
            raise ValueError(f"the draft has {len(content):,} bytes (limit {MAX_DRAFT_BYTES:,})")
        file = self._file(draft.id)
        stored = _read(file)
        if stored is not None and stored.at_ms > draft.at_ms:
            return
        write_private_file(make_private_directory(self._directory) / file.name, content)
        for old in self.all()[MAX_DRAFTS:]:
            self.remove(old.id)

    def remove(self, draft_id: str) -> None:
        """Removes a draft, which may be absent."""
        self._file(draft_id).unlink(missing_ok=True)

    def all(self) -> list[Draft]:
        """Returns every draft, the latest first."""
        found = [draft for file in self._directory.glob(f"*{SUFFIX}") if (draft := _read(file))]
        return sorted(found, key=lambda draft: -draft.at_ms)

    def _file(self, draft_id: str) -> Path:
        return self._directory / f"{draft_id}{SUFFIX}"


def _read(file: Path) -> Draft | None:
    """Returns a stored draft; None if it is absent or not readable as one."""
    with suppress(FileNotFoundError, msgspec.DecodeError):
        return msgspec.json.decode(file.read_bytes(), type=Draft)
    return None
