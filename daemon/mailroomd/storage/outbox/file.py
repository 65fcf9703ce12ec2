"""Outbox file — one response that an agent left as `{root}/outbox/{session}/{name}.json`.

Owns what such a file may be: a regular file, its name UTF-8 without control, line-separating or bidirectional
characters, up to 3 MiB, one JSON object of at most 32 levels (no client could parse a Struct that is nested deeper).
A lone surrogate (half an emoji, which Node writes as an escape) becomes U+FFFD, as UTF-8 has no form for it. Every call
works relative to a directory's handle, follows no link and opens nothing but regular files, so a pipe or a device does
no harm.
Not here: when a file is looked at (`Outbox`). Invariant: the bytes of a response were read from the file whose identity
is returned with them, and that file had not changed by the end of reading.
"""

__all__ = [
    "MAX_RESPONSE_BYTES",
    "FileIdentity",
    "NotAResponse",
    "OutboxFile",
    "identity_of",
    "is_candidate",
    "read_response",
    "remove_if_same",
    "shown",
    "stat_file",
]

import json
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import orjson

from mailroomd.core.json_depth import is_deeper
from mailroomd.model.limits import MAX_METADATA_DEPTH
from mailroomd.storage.directories.files import READ_FILE, read_at_most

MAX_RESPONSE_BYTES = 3 << 20  # as the JSON text of an event it fits into the 4 MiB that gRPC clients take
MAX_RESPONSE_DEPTH = MAX_METADATA_DEPTH  # a response travels as a Struct, as metadata does
# Control characters, line and paragraph separators, bidirectional controls, and bytes that are not UTF-8.
_REFUSED = "\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
# Default-ignorable characters (Unicode's DerivedCoreProperties.txt), except those within emoji: U+200D and U+FE0F.
_INVISIBLE = (
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_HOSTILE = re.compile(f"[{_REFUSED}]")
_MISLEADING = re.compile(f"[{_REFUSED}{_INVISIBLE}]")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class NotAResponse(Exception):  # noqa: N818 - named for what was found
    """The file, as it is now, cannot be announced; the text says why."""


class FileIdentity(NamedTuple):
    """Which file it is, in which condition: it changes when the file is written again or replaced."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int

    @property
    def lasting(self) -> str:
        """The part that stays valid when the machine restarts: a disk may get another device number then."""
        return f"{self.inode}:{self.size_bytes}:{self.mtime_ns}"


@dataclass(frozen=True, slots=True)
class OutboxFile:
    """One response.

    Attributes:
        session: the session whose outbox it lies in.
        name: the file's name, with its .json.
        identity: what `Outbox.remove_response` compares. Store its `lasting` with the response: it tells a repeated
            file from a new one.
        body: the JSON object, encoded anew: compact UTF-8, no name twice in one object.
    """

    session: str
    name: str
    identity: FileIdentity
    body: bytes


def is_candidate(name: str) -> bool:
    """Returns whether a file of this name is looked at."""
    return name.endswith(".json") and not name.startswith(".")


def shown(name: str) -> str:
    """Returns a name for the log; in ASCII if it has characters that cannot be seen, or that mislead a reader."""
    return ascii(name) if _MISLEADING.search(name) else name


def identity_of(status: os.stat_result) -> FileIdentity:
    """Returns the identity of what was looked at; for anything but a regular file, device and inode only."""
    if not stat.S_ISREG(status.st_mode):
        return FileIdentity(status.st_dev, status.st_ino, 0, 0)
    return FileIdentity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def stat_file(directory: int, name: str) -> os.stat_result | None:
    """Returns the status of what has this name; None if nothing has.

    Raises:
        OSError: it cannot be seen.
    """
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def read_response(directory: int, name: str, status: os.stat_result) -> bytes | None:
    """Returns a file's JSON object; None if the file has changed since it was looked at, or while it was read.

    Args:
        status: from `stat_file`.

    Raises:
        NotAResponse: it is not a response, so far.
        OSError: it cannot be read now: no descriptor, no memory, a failing disk.
    """
    if _HOSTILE.search(name):
        raise NotAResponse(
            "its name is not valid UTF-8, or has control characters, line separators or bidirectional controls"
        )
    if not stat.S_ISREG(status.st_mode):
        raise NotAResponse("it is not a regular file")
    if status.st_size > MAX_RESPONSE_BYTES:
        raise NotAResponse(f"it has {status.st_size:,} bytes; at most {MAX_RESPONSE_BYTES:,} are allowed")
    try:
        raw = _read_unchanged(directory, name, identity_of(status))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise NotAResponse(f"it cannot be read: {error.strerror}") from error
    return None if raw is None else _decode(raw)


def remove_if_same(directory: int, name: str, identity: FileIdentity) -> bool:
    """Removes a file if it is still this one; returns False if another is there now.

    Raises:
        OSError: it is there and cannot be removed.
    """
    try:
        if identity_of(os.stat(name, dir_fd=directory, follow_symlinks=False)) != identity:
            return False
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    return True


def _read_unchanged(directory: int, name: str, identity: FileIdentity) -> bytes | None:
    handle = os.open(name, READ_FILE, dir_fd=directory)
    try:
        if identity_of(os.fstat(handle)) != identity:  # the same inode: so it is a regular file
            return None
        raw = read_at_most(handle, identity.size_bytes + 1, identity.size_bytes + 1)
        return raw if identity_of(os.fstat(handle)) == identity else None
    finally:
        os.close(handle)


def _decode(raw: bytes) -> bytes:
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        body = _decode_lone_surrogates(raw, error)
    if not isinstance(body, dict):
        raise NotAResponse("it is JSON, but not an object")
    encoded = orjson.dumps(body)
    if is_deeper(encoded, MAX_RESPONSE_DEPTH):
        raise NotAResponse(f"it is nested deeper than {MAX_RESPONSE_DEPTH} levels")
    return encoded


def _decode_lone_surrogates(raw: bytes, error: orjson.JSONDecodeError) -> Any:
    """Returns a JSON value that is faulty only in its lone surrogates, with U+FFFD in their place."""
    if _SURROGATE_ESCAPE.search(raw):
        with suppress(ValueError, RecursionError):
            value = json.loads(raw.decode(), parse_constant=_refuse_constant)  # accepts what orjson refuses
            return orjson.loads(_SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False)))
    raise NotAResponse(f"it is not JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
