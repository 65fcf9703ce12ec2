"""TeamInboxes — appends messages to Claude Code's team inboxes, `{root}/teams/{team}/inboxes/{agent}.json`.

Owns the paths, the lock and the replacement of the file. Every directory is opened relative to a handle and no link is
followed. Source: the paths that Claude Code itself uses. Not here: the format (`team_inbox.file`), the lock
(`DirectoryLock`), retries (`TeamFiling`). The file is replaced by rename under the lock, although Claude Code writes in
place: readers take no lock, and a crash in the middle must leave the old file whole. Writers that respect the lock open
the file under it, so they never hold the old one. The lock is held briefly, because Claude Code drops its own message
after 0.6 s of waiting or less: parsing, writing and fsync come before it, and are repeated under it only if the file
has changed. A team whose directory is absent, and an agent that the team does not list, get no file: Claude Code
deletes the directory when the team ends. A file that is JSON but not an array has an unknown format, and is left alone.
A file that is not JSON may be half written by a program without the lock: it is set aside only after it has been
unchanged for seconds.
Invariant: an entry written by a holder of the lock is never lost through this module.
"""

__all__ = [
    "MAILBOX_ONLY",
    "MAX_INBOX_BYTES",
    "Appended",
    "InboxTooLarge",
    "NoSuchInbox",
    "TeamInboxes",
    "UnreadableInbox",
    "component_of",
    "opened_below",
]

import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mailroomd.model.names import MAX_NAME_BYTES
from mailroomd.observability.log import log
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.directories.files import CREATE_FILE, OPEN_DIRECTORY, READ_FILE, read_at_most, write_whole
from mailroomd.storage.team_inbox.directory_lock import STALE_SEC, DirectoryLock
from mailroomd.storage.team_inbox.file import NotAnInbox, NotJson, extend_team_inbox
from mailroomd.storage.team_inbox.members import UnreadableTeam, members_of

MAILBOX_ONLY = (
    "the message is in its mailbox only"  # no fault: the end of a sentence that says which inbox there is not
)
PATIENCE_SEC = 1.0  # for the lock in one attempt; other inboxes wait behind it
JOINING_SEC = 3.0  # Claude Code empties an inbox a quarter of a second after its agent joined; longer on a busy machine
MAX_INBOX_BYTES = 64 << 20  # of a file that is read whole; far above any that an agent still reads
BROKEN_SEC = 3.0  # how long a file that is not JSON has to stay the same before it is set aside
ABANDONED_SEC = 60.0  # age from which a temporary file is left by a crash: no attempt takes as long
READ_BYTES = 256 << 10  # at once
_TEMPORARY = ".mailroom"  # suffix of temporary names; they start with a dot
_OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]")


class NoSuchInbox(ValueError):  # noqa: N818 - named for what was found
    """There is no such team or member, or a name cannot name a file; trying again will not help."""


class InboxTooLarge(Exception):  # noqa: N818 - named for what was found
    """The file is larger than any that is read: nothing can be appended until its agent shortens it."""

    def __init__(self) -> None:
        super().__init__(f"the team inbox is larger than the limit of {MAX_INBOX_BYTES >> 20} MiB")


class UnreadableInbox(Exception):  # noqa: N818 - named for what was found
    """The file has another format, or is not ready: it is left alone, and appending may work later."""


class Appended(NamedTuple):
    """What one append did.

    Attributes:
        refused: ids of the messages that were left out because the file would have become too large.
        set_aside: the name under which a file that was not JSON was set aside; usually empty.
    """

    refused: frozenset[int] = frozenset()
    set_aside: str = ""


@dataclass(frozen=True, slots=True)
class _Content:
    """An inbox as it was read; empty if it does not exist."""

    raw: bytes = b""
    status: os.stat_result | None = None


@dataclass(slots=True)
class _Replacement:
    """What replaces an inbox: a temporary file, durable already; no name if the inbox stays as it is."""

    made_from: bytes
    name: str
    refused: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Broken:
    """A file that was not JSON, and since when it has been the same."""

    digest: bytes
    since_sec: float


class TeamInboxes:
    """Appends to team inboxes.

    Args:
        root: holds teams/; links that lead to the root are followed, links in it are not.
        patience_sec: how long one call waits for an inbox's lock.
        stale_sec: see `DirectoryLock`.
        broken_sec: how long a file that is not JSON has to stay the same before it is set aside.
    """

    def __init__(
        self,
        root: Path,
        patience_sec: float = PATIENCE_SEC,
        stale_sec: float = STALE_SEC,
        broken_sec: float = BROKEN_SEC,
    ) -> None:
        self._root = root
        self._patience_sec = patience_sec
        self._stale_sec = stale_sec
        self._broken_sec = broken_sec
        self._cleaned: set[str] = set()
        self._broken: dict[tuple[str, str], _Broken] = {}  # by team and file

    def append(self, agent: str, team: str, *mail: StoredMail) -> Appended:
        """Appends the messages that are not there yet; when it returns, all but the refused are there, and durable.

        Raises:
            NoSuchInbox: there is no such team, the agent is not in it, or a name is empty or too long.
            InboxTooLarge: the file is larger than any that is read.
            UnreadableInbox: the file is not a JSON array, or the team's own file says nothing; both are left alone.
            LockBusy: another program has the lock.
            LockLost: the lock was lost: the entries may be there or not, so append them again.
            OSError: something is in the way, or the disk is full; the inbox is as it was.
        """
        file = f"{component_of(agent, 'agent')}.json"
        team = component_of(team, "team")
        with _opened_inboxes(self._root, team, agent) as directory:
            if team not in self._cleaned:
                _remove_abandoned(directory)
                self._cleaned.add(team)
            appended = self._append(directory, (team, file), mail)
            os.fsync(directory)
        return appended

    def size_bytes(self, agent: str, team: str) -> int:
        """Returns how large an inbox's file is, 0 if there is none; any thread may ask."""
        path = self._root / "teams" / component_of(team, "team") / "inboxes" / f"{component_of(agent, 'agent')}.json"
        try:
            return path.stat(follow_symlinks=False).st_size
        except OSError:
            return 0

    def _append(self, directory: int, inbox: tuple[str, str], mail: Sequence[StoredMail]) -> Appended:
        file, set_aside, refused = inbox[1], "", frozenset[int]()
        replacement = _prepare_early(directory, file, mail)
        try:
            lock = DirectoryLock(directory, file, self._stale_sec)
            with lock.held(self._patience_sec):
                content = _read(directory, file)
                if replacement is None or replacement.made_from != content.raw:
                    _discard(directory, replacement)
                    try:
                        replacement = _prepare(directory, file, content, mail)
                    except NotAnInbox as error:
                        self._expect_broken(inbox, content, error)
                        replacement = _prepare(directory, file, _Content(status=content.status), mail)
                        set_aside = f"{file}.corrupt-{_timestamp()}"
                refused = replacement.refused
                if replacement.name:
                    lock.verify()
                    if set_aside:
                        os.rename(file, set_aside, src_dir_fd=directory, dst_dir_fd=directory)
                        log.warning("team inbox is not JSON, set aside", file=file, set_aside=set_aside)
                    os.rename(replacement.name, file, src_dir_fd=directory, dst_dir_fd=directory)
                    replacement.name = ""
        finally:
            _discard(directory, replacement)
        self._broken.pop(inbox, None)
        return Appended(refused, set_aside)

    def _expect_broken(self, inbox: tuple[str, str], content: _Content, error: NotAnInbox) -> None:
        """Returns if the file is certain to be damaged.

        Raises:
            UnreadableInbox: it has another format, or may still be being written.
        """
        if not isinstance(error, NotJson):
            self._broken.pop(inbox, None)
            raise UnreadableInbox(f"the team inbox has an unknown format ({error})") from error
        now_sec = time.monotonic()
        digest = hashlib.blake2b(content.raw, digest_size=16).digest()
        broken = self._broken.get(inbox)
        if broken is None or broken.digest != digest:
            broken = self._broken[inbox] = _Broken(digest, now_sec)
        if now_sec - broken.since_sec < self._broken_sec:
            raise UnreadableInbox(f"the team inbox is not JSON, or still being written ({error})") from error


def _prepare_early(directory: int, file: str, mail: Sequence[StoredMail]) -> _Replacement | None:
    """Prepares without the lock. Its holder may be writing: then the file looks torn, which proves nothing."""
    try:
        return _prepare(directory, file, _read(directory, file), mail)
    except NotAnInbox:
        return None


def _prepare(directory: int, file: str, content: _Content, mail: Sequence[StoredMail]) -> _Replacement:
    try:
        body, refused = extend_team_inbox(content.raw, mail, MAX_INBOX_BYTES)
    except RecursionError as error:
        raise OSError(errno.ENOTSUP, "its content is nested too deeply", file) from error
    if body is content.raw:
        return _Replacement(content.raw, "", refused)
    name = f".{file}.{secrets.token_hex(8)}{_TEMPORARY}"
    replacement = _Replacement(content.raw, name, refused)
    handle = os.open(name, CREATE_FILE, mode=0o600, dir_fd=directory)
    try:
        _copy_access(handle, content.status)
        write_whole(handle, body)
        os.fsync(handle)
    except OSError:
        _discard(directory, replacement)
        raise
    finally:
        os.close(handle)
    return replacement


def _copy_access(handle: int, status: os.stat_result | None) -> None:
    """Gives the new file the owner and mode of the old one, or fails: the agent must be able to read it."""
    if status is None:
        return
    ours = os.fstat(handle)
    if (ours.st_uid, ours.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, stat.S_IMODE(status.st_mode))


def _read(directory: int, file: str) -> _Content:
    try:
        handle = os.open(file, READ_FILE, dir_fd=directory)
    except FileNotFoundError:
        return _Content()
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", file)
        raw = read_at_most(handle, MAX_INBOX_BYTES + 1, READ_BYTES)
        if len(raw) > MAX_INBOX_BYTES:
            raise InboxTooLarge
        return _Content(raw, status)
    finally:
        os.close(handle)


def _discard(directory: int, replacement: _Replacement | None) -> None:
    if replacement is not None and replacement.name:
        with suppress(OSError):
            os.unlink(replacement.name, dir_fd=directory)
        replacement.name = ""


@contextmanager
def _opened_inboxes(root: Path, team: str, agent: str) -> Generator[int, None, None]:
    """Gives the handle of a team's inboxes/; makes it for a member that the team lists."""
    try:
        with opened_below(root, "teams", team) as directory:
            members = _members(directory)
            if members is not None:
                joined_at = members.get(_OTHER_CHARACTERS.sub("-", agent))
                if joined_at is None:
                    raise NoSuchInbox(f"{agent} is not a member of the team {team}; {MAILBOX_ONLY}")
                if 0 <= time.time() - joined_at < JOINING_SEC:
                    raise UnreadableInbox(f"{agent} has just joined the team {team}, whose inbox is emptied then")
                with suppress(FileExistsError):
                    os.mkdir("inboxes", mode=0o700, dir_fd=directory)
            handle = os.open("inboxes", OPEN_DIRECTORY, dir_fd=directory)
    except FileNotFoundError as error:
        raise NoSuchInbox(f"there is no team {team}; {MAILBOX_ONLY}") from error
    try:
        yield handle
    finally:
        os.close(handle)


def _members(team: int) -> dict[str, float] | None:
    """Returns when each member joined, by the name in its file's path."""
    try:
        members = members_of(team)
    except UnreadableTeam as error:
        raise UnreadableInbox(str(error)) from error
    return None if members is None else {_OTHER_CHARACTERS.sub("-", name): at for name, at in members.items()}


@contextmanager
def opened_below(root: Path, *names: str) -> Generator[int, None, None]:
    """Gives the handle of a directory below the root; links below it are not followed.

    Raises:
        FileNotFoundError: it is absent.
        OSError: something else is in its place.
    """
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            below = os.open(name, OPEN_DIRECTORY, dir_fd=handle)
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def _remove_abandoned(directory: int) -> None:
    """Removes temporary files that crashes have left."""
    for name in os.listdir(directory):
        if name.startswith(".") and name.endswith(_TEMPORARY):
            with suppress(OSError):
                if os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime < time.time() - ABANDONED_SEC:
                    os.unlink(name, dir_fd=directory)


def component_of(name: str, what: str) -> str:
    """Returns a name as Claude Code writes it in a path: one component, never hidden, and never a way out."""
    if not name or len(name) > MAX_NAME_BYTES:
        raise NoSuchInbox(f"the {what}'s name has {len(name)} characters: 1 to {MAX_NAME_BYTES} name a team inbox")
    return _OTHER_CHARACTERS.sub("-", name)


def _timestamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
