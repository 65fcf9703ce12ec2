"""DirectoryLock — a lock between programs: the directory `{file}.lock`, by proper-lockfile's convention.

Source: npm's proper-lockfile 4.1.2, lib/lockfile.js. mkdir takes the lock. A lock with an mtime older than `stale_sec`
was left behind: rmdir, then mkdir once more. The holder renews the mtime every `stale_sec / 2`; if the directory is
gone, or its mtime is not the one that was set, the lock is lost ("compromised"). rmdir releases it.
Added here: the held directory stays open, so that no other directory gets its inode, which is compared too; after
taking over a stale lock the holder checks once more, because two programs may do so at once
(moxystudio/node-proper-lockfile#121).
Not here: what the lock protects. Invariant: a lock that was lost is not removed, and never passes `verify`.
"""

__all__ = ["STALE_SEC", "DirectoryLock", "LockBusy", "LockLost"]

import errno
import os
import random
import threading
import time
from _thread import start_new_thread
from collections.abc import Generator
from contextlib import contextmanager, suppress

from mailroomd.storage.directories.files import OPEN_DIRECTORY

STALE_SEC = 10.0  # proper-lockfile's default: both sides must use the same
FIRST_PAUSE_SEC = 0.002  # a holder usually needs a few milliseconds
LONGEST_PAUSE_SEC = 0.025  # below other writers' 100 ms, so that a waiter here is not starved
RENEW_AGAIN_SEC = 1.0  # after a renewal that failed; as proper-lockfile does
SETTLE_SEC = 0.05  # after a take-over: longer than another program needs from seeing the stale lock to removing it


class LockBusy(Exception):  # noqa: N818 - named for what was found
    """Another program has held the lock for as long as the caller was willing to wait."""

    def __init__(self, name: str, patience_sec: float) -> None:
        super().__init__(f"another program holds {name} (waited {patience_sec:g} s)")


class LockLost(Exception):  # noqa: N818 - named for what was found
    """Another program took or removed the lock while it was held: work done under it may have been overwritten."""

    def __init__(self, name: str) -> None:
        super().__init__(f"another program took or removed {name} while the daemon held it")


class DirectoryLock:
    """One lock. One thread holds it at a time; it can be taken again after it was released.

    Args:
        directory: handle of the directory that holds the file; it must stay open while the lock is held.
        file: name of the file that is locked; it need not exist.
        stale_sec: age of the mtime from which a lock counts as left behind.
    """

    def __init__(self, directory: int, file: str, stale_sec: float = STALE_SEC) -> None:
        self._directory = directory
        self._name = f"{file}.lock"
        self._stale_sec = stale_sec
        self._mutex = threading.Lock()  # between the holder and its keeper
        self._handle = -1
        self._mtime_ns = 0
        self._is_lost = False
        self._released = threading.Event()

    @property
    def is_lost(self) -> bool:
        """Whether the loss of the lock was noticed."""
        return self._is_lost

    def acquire(self, patience_sec: float) -> None:
        """Takes the lock, and starts a thread that keeps it fresh until `release`.

        Args:
            patience_sec: the longest wait; 0 tries once.

        Raises:
            LockBusy: another program has it.
            OSError: it cannot be made, a stale one cannot be removed (not a directory, or not empty), or no thread can
                be started.
        """
        deadline = time.monotonic() + patience_sec
        pause = FIRST_PAUSE_SEC
        while not self._try():
            left = deadline - time.monotonic()
            if left <= 0:
                raise LockBusy(self._name, patience_sec)
            time.sleep(min(left, pause * random.uniform(0.5, 1.5)))  # noqa: S311 - so that two waiters do not keep in step
            pause = min(LONGEST_PAUSE_SEC, 2 * pause)
        self._released = threading.Event()
        try:  # not threading.Thread: its `start` waits forever for a thread that has no memory to begin
            start_new_thread(self._keep, (self._released,))
        except (RuntimeError, MemoryError) as error:  # the system has no more threads, or no memory
            self.release()
            raise OSError(errno.EAGAIN, "no thread to hold its lock", self._name) from error

    def verify(self) -> None:
        """Makes sure that the lock is still held, and renews it for `stale_sec`; call it before what cannot be undone.

        Raises:
            LockLost: it is not.
            OSError: that cannot be determined.
        """
        with self._mutex:
            self._renew()

    def release(self) -> None:
        """Removes the lock if it is still held; otherwise leaves it as it is.

        Raises:
            LockLost: it was lost before.
            OSError: it cannot be removed.
        """
        self._released.set()
        with self._mutex:  # from here on the keeper does nothing any more
            try:
                self._renew()
                os.rmdir(self._name, dir_fd=self._directory)
            finally:
                self._forget()

    @contextmanager
    def held(self, patience_sec: float) -> Generator[None, None, None]:
        """Holds the lock within a `with` block; see `acquire` and `release` for the exceptions."""
        self.acquire(patience_sec)
        try:
            yield
        except BaseException:
            with suppress(LockLost, OSError):  # the first exception is the one that counts
                self.release()
            raise
        self.release()

    def _try(self) -> bool:
        """Takes the lock if that is possible now, with proper-lockfile's order of steps."""
        if self._make():
            return True
        try:
            status = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:  # released meanwhile
            return self._make()
        if status.st_mtime >= time.time() - self._stale_sec:
            return False
        with suppress(FileNotFoundError):
            os.rmdir(self._name, dir_fd=self._directory)
        return self._make() and self._outlasts_other_takers()

    def _make(self) -> bool:
        try:
            os.mkdir(self._name, mode=0o700, dir_fd=self._directory)
        except FileExistsError:
            return False
        try:
            self._handle = os.open(self._name, OPEN_DIRECTORY, dir_fd=self._directory)
            self._is_lost = False
            self._touch()
        except FileNotFoundError:  # a program that had seen the stale lock removed this one
            self._forget()
            return False
        except OSError:
            self._forget()
            with suppress(OSError):
                os.rmdir(self._name, dir_fd=self._directory)
            raise
        return True

    def _outlasts_other_takers(self) -> bool:
        time.sleep(SETTLE_SEC)
        if self._is_ours():
            return True
        self._forget()
        return False

    def _renew(self) -> None:
        if self._is_lost or not self._is_ours():
            self._is_lost = True
            raise LockLost(self._name)
        self._touch()

    def _touch(self) -> None:
        """Renews the mtime.

        proper-lockfile probes whether the file system keeps milliseconds, to know which time to expect later. Reading
        the time back serves as well; if it is cut to seconds, the lock looks a second or two older than it is.
        """
        now_ns = time.time_ns()
        os.utime(self._handle, ns=(now_ns, now_ns))
        self._mtime_ns = os.fstat(self._handle).st_mtime_ns

    def _is_ours(self) -> bool:
        ours = os.fstat(self._handle)
        try:
            present = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(present, ours) and present.st_mtime_ns == self._mtime_ns

    def _keep(self, released: threading.Event) -> None:
        """Renews the lock until it is released or lost; `verify` tells the holder."""
        pause = self._stale_sec / 2
        while not released.wait(pause):
            try:
                with self._mutex:
                    if released.is_set():
                        return
                    self._renew()
                pause = self._stale_sec / 2
            except LockLost:
                return
            except OSError:
                pause = min(self._stale_sec / 2, RENEW_AGAIN_SEC)

    def _forget(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1
