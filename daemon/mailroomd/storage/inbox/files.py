"""InboxFiles — the inbox directories: one file for every unread message, put in place by rename.

Owns `{root}/inbox` and `{root}/inbox/.tmp`, and handles of the directories used last. Every path is opened relative to
a directory handle and no link is followed, so nothing is written outside. Only the command-queue has one. Not here: the
format (`mailroom.inbox_file`), which files should exist (`recovery`), when they are durable (its caller).
Invariant: a reader of an inbox sees a whole file under its final name, or none; temporary names never end in .json.
"""

__all__ = ["InboxFiles", "sync_filesystem"]

import ctypes
import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mailroomd.model.ids import format_id, parse_id
from mailroomd.model.names import is_name
from mailroomd.storage.directories.files import CREATE_FILE, OPEN_DIRECTORY, READ_FILE, read_at_most, write_whole
from mailroomd.storage.directories.snapshot import DirectoryIdentity

OPEN_DIRECTORIES = 256  # handles kept: agents that get mail at the same time; well below the usual limit of 1024
LARGEST_FILE_BYTES = 16 << 20  # twice what a message can become as JSON; of a file made larger the rest is not read
READ_BYTES = 64 << 10  # at once: most files are whole after one
BEAT_ENTRIES = 10_000  # listed between two heartbeats: some 20 ms
_libc = ctypes.CDLL(None, use_errno=True)


class InboxFiles:
    """Writes and removes inbox files.

    Args:
        root: holds inbox/; made where it is absent.

    Raises:
        OSError: inbox/ cannot be made or opened.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "inbox"
        self._inbox = -1
        self._temporary = -1
        self.before_making: Callable[[str], None] = _ignore  # called for each directory that is to be made
        self.on_made: Callable[[str, DirectoryIdentity], None] = _ignore  # called for each directory that was made
        self._directories: OrderedDict[str, tuple[int, DirectoryIdentity]] = OrderedDict()
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open_inbox()
        self._clean_temporary()

    @property
    def inbox_fileno(self) -> int:
        """The handle of inbox/, for syncing its file system; of the former one until a replaced inbox/ is noticed."""
        return self._inbox

    def ensure_inbox(self) -> None:
        """Opens inbox/ and its .tmp again if one was replaced. Call it once for each batch of files.

        Raises:
            OSError: there is no usable inbox/.
        """
        try:
            if self._is_in_place():
                return
        except FileNotFoundError:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open_inbox()

    def _is_in_place(self) -> bool:
        inbox = self._path.stat(follow_symlinks=False)
        temporary = os.stat(".tmp", dir_fd=self._inbox, follow_symlinks=False)
        return os.path.samestat(inbox, os.fstat(self._inbox)) and os.path.samestat(temporary, os.fstat(self._temporary))

    def ensure_directory(self, mailbox: str) -> int:
        """Returns the handle of a mailbox's directory, made if it is absent, opened again if it was replaced.

        The handle is good until the next call: those that were not used lately are closed.

        Raises:
            OSError: something else is in its place, or it cannot be made or opened.
        """
        known = self._directories.get(mailbox)
        if known is not None:
            with suppress(FileNotFoundError):
                status = os.stat(mailbox, dir_fd=self._inbox, follow_symlinks=False)
                if (status.st_dev, status.st_ino) == known[1][:2]:  # its handle is open: no other gets this number
                    self._directories.move_to_end(mailbox)
                    return known[0]
            self._forget(mailbox)
        _check_name(mailbox)
        is_made = self._make_directory(mailbox)
        handle = os.open(mailbox, OPEN_DIRECTORY, dir_fd=self._inbox)
        self._directories[mailbox] = (handle, DirectoryIdentity.of(handle))
        if is_made:
            self.on_made(mailbox, self.identity_of(mailbox))
        if len(self._directories) > OPEN_DIRECTORIES:
            self._forget(next(iter(self._directories)))
        return handle

    def has_directory(self, mailbox: str) -> bool:
        """Returns whether something has the name of a mailbox's directory."""
        try:
            os.stat(mailbox, dir_fd=self._inbox, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def identity_of(self, mailbox: str) -> DirectoryIdentity:
        """Returns the identity of the directory that `ensure_directory` returned just now."""
        return self._directories[mailbox][1]

    def write(self, directory: int, message_id: int, body: bytes) -> None:
        """Writes one file: a temporary name, then the final one.

        Args:
            directory: from `ensure_directory`.

        Raises:
            OSError: it could not be written; nothing of it is visible.
        """
        name = format_id(message_id)
        handle = os.open(name, CREATE_FILE, mode=0o600, dir_fd=self._temporary)
        try:
            try:
                write_whole(handle, body)
            finally:
                os.close(handle)
            os.rename(name, f"{name}.json", src_dir_fd=self._temporary, dst_dir_fd=directory)
        except OSError:
            with suppress(OSError):
                os.unlink(name, dir_fd=self._temporary)
            raise

    def write_durably(self, mailbox: str, message_id: int, body: bytes) -> None:
        """Writes one file and syncs it with its directory: for files that come later than their message's commit.

        Raises:
            OSError: it could not be written, or may not be durable.
        """
        directory = self.ensure_directory(mailbox)
        with suppress(FileNotFoundError):
            os.unlink(format_id(message_id), dir_fd=self._temporary)
        self.write(directory, message_id, body)
        handle = os.open(f"{format_id(message_id)}.json", READ_FILE, dir_fd=directory)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        os.fsync(directory)

    def remove(self, mailbox: str, message_id: int) -> None:
        """Removes one file, if it is there.

        Raises:
            OSError: it is there and cannot be removed.
        """
        with self._existing(mailbox) as directory:
            if directory is not None:
                with suppress(FileNotFoundError):
                    os.unlink(f"{format_id(message_id)}.json", dir_fd=directory)

    def remove_directory(self, mailbox: str) -> None:
        """Removes a mailbox's directory, which is empty.

        Raises:
            OSError: it is not empty, or cannot be removed.
        """
        os.rmdir(mailbox, dir_fd=self._inbox)
        if mailbox in self._directories:
            self._forget(mailbox)

    def list_ids(self, mailbox: str, beat: Callable[[], None] = lambda: None) -> set[int] | None:
        """Returns the ids of the files in a mailbox's directory; None if there is no such directory.

        Args:
            beat: called now and then, for the heartbeat: millions of files take seconds.

        Raises:
            OSError: it is there and cannot be read.
        """
        with self._existing(mailbox) as directory:
            if directory is None:
                return None
            return set(_ids_in(directory, beat))

    def read(self, mailbox: str, message_id: int) -> bytes | None:
        """Returns a file's content; None if it is not there.

        Raises:
            OSError: it is there and cannot be read.
        """
        with self._existing(mailbox) as directory:
            if directory is None:
                return None
            try:
                handle = os.open(f"{format_id(message_id)}.json", READ_FILE, dir_fd=directory)
            except FileNotFoundError:
                return None
            try:
                return read_at_most(handle, LARGEST_FILE_BYTES, READ_BYTES)
            finally:
                os.close(handle)

    def mailboxes(self) -> list[str]:
        """Returns the names of the directories in inbox/."""
        with os.scandir(self._inbox) as entries:
            return [
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]

    def close(self) -> None:
        """Closes every handle."""
        for name in list(self._directories):
            self._forget(name)
        for handle in (self._inbox, self._temporary):
            if handle >= 0:
                os.close(handle)
        self._inbox = self._temporary = -1

    @contextmanager
    def _existing(self, mailbox: str) -> Generator[int | None, None, None]:
        """Gives the handle of an existing directory, None if it does not exist; makes none."""
        _check_name(mailbox)
        try:
            handle = os.open(mailbox, OPEN_DIRECTORY, dir_fd=self._inbox)
        except FileNotFoundError:
            yield None
            return
        try:
            yield handle
        finally:
            os.close(handle)

    def _open_inbox(self) -> None:
        """Opens inbox/ and its .tmp; keeps the present handles if one cannot be opened."""
        inbox = os.open(self._path, OPEN_DIRECTORY)
        try:
            with suppress(FileExistsError):
                os.mkdir(".tmp", mode=0o700, dir_fd=inbox)
            temporary = os.open(".tmp", OPEN_DIRECTORY, dir_fd=inbox)
        except OSError:
            os.close(inbox)
            raise
        self.close()
        self._inbox, self._temporary = inbox, temporary

    def _clean_temporary(self) -> None:
        for name in os.listdir(self._temporary):  # noqa: PTH208 - by its handle
            with suppress(OSError):
                os.unlink(name, dir_fd=self._temporary)

    def _make_directory(self, mailbox: str) -> bool:
        """Makes a mailbox's directory; returns False if it is there."""
        if self.has_directory(mailbox):
            return False
        self.before_making(mailbox)
        with suppress(FileExistsError):
            os.mkdir(mailbox, mode=0o700, dir_fd=self._inbox)
            return True
        return False

    def _forget(self, mailbox: str) -> None:
        handle, _ = self._directories.pop(mailbox)
        os.close(handle)


def _check_name(mailbox: str) -> None:
    """Refuses what could lead out of inbox/: a name from a damaged row was checked by nobody.

    Raises:
        OSError: it is not a mailbox's name.
    """
    if not is_name(mailbox):
        raise OSError(errno.EINVAL, "not the name of a mailbox", ascii(mailbox))


def _ignore(*_: object) -> None:
    """Does nothing."""


def sync_filesystem(handle: int) -> None:
    """Makes everything that was written to a handle's file system durable.

    Raises:
        OSError: something could not be written; what was written before may be lost.
    """
    if _libc.syncfs(handle) != 0:
        raise OSError(ctypes.get_errno(), "syncfs failed")


def _ids_in(directory: int, beat: Callable[[], None]) -> Iterator[int]:
    with os.scandir(directory) as entries:
        for count, entry in enumerate(entries, 1):
            if count % BEAT_ENTRIES == 0:
                beat()
            if entry.name.endswith(".json"):
                with suppress(ValueError):
                    yield parse_id(entry.name.removesuffix(".json"))
