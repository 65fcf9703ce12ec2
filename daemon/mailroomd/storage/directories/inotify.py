"""Inotify — the kernel's reports of what happens in directories, through ctypes.

Owns one inotify instance. Not a general watcher: those (watchfiles, watchdog) watch trees, in a thread, for every kind
of event; they report the daemon's own creates and renames, and filter them afterwards.
Here the mask limits what costs anything, and the caller's poll loop does the waiting.
Not here: what an event means (`DirectoryWatcher` and its users). What happens without a watch is not reported, and the
kernel's queue is bounded (fs.inotify.max_queued_events): pair it with a rescan.
Invariant: events come in the order in which things happened, over all watches; an overflow means that some were lost.
"""

__all__ = ["Event", "Inotify", "Mask"]

import ctypes
import errno
import os
from enum import IntFlag
from pathlib import Path
from struct import Struct
from typing import NamedTuple

READ_BYTES = 64 << 10  # at once: some 1,300 events of inbox files
_HEAD = Struct("iIII")  # struct inotify_event: wd, mask, cookie, length of the name with its padding


class Mask(IntFlag):
    """What to report, and what was reported; see inotify(7)."""

    CLOSE_WRITE = 0x8
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    UNMOUNT = 0x2000  # reported only: the watch is gone
    OVERFLOW = 0x4000  # reported only: events were lost, of any watch
    IGNORED = 0x8000  # reported only: the watch is gone
    ONLY_DIRECTORY = 0x0100_0000  # asked only
    IS_DIRECTORY = 0x4000_0000  # reported only: what the name names


_OVERFLOW, _IGNORED, _IS_DIRECTORY = int(Mask.OVERFLOW), int(Mask.IGNORED), int(Mask.IS_DIRECTORY)


class Event(NamedTuple):
    """One report.

    Attributes:
        wd: the watch; -1 for an overflow.
        mask: bits of `Mask`, as a plain int because an IntFlag costs a microsecond each.
        name: of the entry in the directory, as os.fsdecode returns it; empty if it is about the directory itself.
    """

    wd: int
    mask: int
    name: str

    @property
    def is_overflow(self) -> bool:
        """Whether events were lost before this one."""
        return bool(self.mask & _OVERFLOW)

    @property
    def is_ignored(self) -> bool:
        """Whether the watch is gone: removed, or its directory deleted or unmounted."""
        return bool(self.mask & _IGNORED)

    @property
    def is_about_directory(self) -> bool:
        """Whether the name is, or was, a directory's."""
        return bool(self.mask & _IS_DIRECTORY)


class Inotify:
    """One inotify instance; it never blocks.

    Raises:
        OSError: EMFILE or ENFILE if there is no instance or no descriptor left; its text names the limit.
    """

    def __init__(self) -> None:
        self._fileno = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")

    def fileno(self) -> int:
        """Returns the descriptor: readable when there is something to read; -1 once closed."""
        return self._fileno

    def add(self, source: Path | str | int, mask: int) -> int:
        """Watches a directory or file; returns the number of the watch (wd).

        An inode has one watch in an instance: adding it again returns the same number, with the new mask. Numbers are
        never reused, so the same number proves that it is the same inode, watched without a break.

        Args:
            source: a path, or the handle of an open directory, which is free of races (it needs /proc).
            mask: bits of `Mask`.

        Raises:
            ValueError: the path holds a NUL.
            OSError: ENOSPC if the limit of watches is reached (its text names the limit); or the path cannot be used.
        """
        path = f"/proc/self/fd/{source}" if isinstance(source, int) else source
        raw = os.fsencode(path)
        if b"\0" in raw:
            raise ValueError("embedded null byte")
        return _checked(_libc.inotify_add_watch(self._fileno, raw, mask), "inotify_add_watch", os.fspath(path))

    def remove(self, wd: int) -> bool:
        """Ends a watch; returns False if it was gone already. Its last event is IGNORED."""
        return _libc.inotify_rm_watch(self._fileno, wd) == 0

    def read(self) -> list[Event]:
        """Returns what was reported, up to some 1,300 events; an empty list if there is nothing."""
        try:
            raw = os.read(self._fileno, READ_BYTES)
        except BlockingIOError:
            return []
        events: list[Event] = []
        offset = 0
        while offset < len(raw):
            wd, mask, _, length = _HEAD.unpack_from(raw, offset)
            offset += _HEAD.size
            events.append(Event(wd, mask, os.fsdecode(raw[offset : offset + length].rstrip(b"\0"))))
            offset += length
        return events

    def close(self) -> None:
        """Ends every watch."""
        if self._fileno >= 0:
            os.close(self._fileno)
            self._fileno = -1


_SENTENCES = {
    ("inotify_init1", errno.EMFILE): "no inotify instance left: raise fs.inotify.max_user_instances or LimitNOFILE",
    ("inotify_init1", errno.ENFILE): "no descriptor left on this machine: raise fs.file-max",
    ("inotify_add_watch", errno.ENOSPC): "no inotify watch left: raise fs.inotify.max_user_watches",
}


def _checked(result: int, call: str, path: str | None = None) -> int:
    if result >= 0:
        return result
    code = ctypes.get_errno()
    raise OSError(code, _SENTENCES.get((call, code), f"{call}: {os.strerror(code)}"), path)


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.inotify_init1.argtypes = [ctypes.c_int]
    library.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
    library.inotify_rm_watch.argtypes = [ctypes.c_int, ctypes.c_int]
    return library


_libc = _load()
