"""Members — who is in a team, as Claude Code keeps it in `teams/{team}/config.json`.

Source: the files of Claude Code 2.1; the format is not documented. `members` is a list of objects with
a `name`, and `joinedAt` in milliseconds since 1970.
"""

__all__ = ["UnreadableTeam", "members_of"]

import os
from typing import Any, cast

import orjson

from mailroomd.storage.directories.files import READ_FILE, read_at_most

MAX_CONFIG_BYTES = 4 << 20
READ_BYTES = 64 << 10
_FILE = "config.json"


class UnreadableTeam(Exception):  # noqa: N818 - named for what was found
    """The file has another format, or is still being written."""


def members_of(team: int) -> dict[str, float] | None:
    """Returns the names of a team's members, and when each joined (0: unknown); None if the team has no such file.

    Args:
        team: a handle of the team's directory.

    Raises:
        UnreadableTeam: the file does not say.
        OSError: it cannot be read.
    """
    try:
        handle = os.open(_FILE, READ_FILE, dir_fd=team)
    except FileNotFoundError:
        return None
    try:
        raw = read_at_most(handle, MAX_CONFIG_BYTES, READ_BYTES)
    finally:
        os.close(handle)
    try:
        members = cast("list[dict[str, Any]]", orjson.loads(raw)["members"])
        return {str(member["name"]): float(member.get("joinedAt", 0)) / 1000 for member in members}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableTeam(f"the team's {_FILE} has an unknown format, or is being written") from error
