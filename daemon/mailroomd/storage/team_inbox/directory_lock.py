"""DirectoryLock — a lock between programs: the directory `{file}.lock`, by proper-lockfile's convention.

Source: npm's proper-lockfile 4.1.2, lib/lockfile.js. mkdir takes it. One whose mtime is older than `stale_sec` was left
behind: rmdir, then mkdir once more. The holder renews the mtime every `stale_sec / 2`; when the directory is gone, or
its mtime is not the one that was set, the lock is lost ("compromised"). Releasing is rmdir.
Ours beyond it: the held directory stays open, so its inode is no one else's and is compared too; who took over a stale
lock looks again after a moment, because two may do so at once (moxystudio/node-proper-lockfile#121).
Not here: what the lock protects. Invariant: a lock that is not ours any more is not removed, and never passes `check`.
"""

__all__ = ["STALE_SEC", "DirectoryLock", "LockBusy", "LockLost"]

import os
import random
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

STALE_SEC = 10.0  # proper-lockfile's default: both sides have to mean the same
FIRST_PAUSE_SEC = 0.002  # a holder needs a few milliseconds as a rule
LONGEST_PAUSE_SEC = 0.025  # below other writers' 100 ms, so that one waiting here is not starved
RENEW_AGAIN_SEC = 1.0  # after a renewal that failed; as proper-lockfile does
SETTLE_SEC = 0.05  # after a take-over: longer than another's way from looking at the stale lock to removing it
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LockBusy(Exception):  # noqa: N818 - named for what was found
    """Somebody else has held the lock for as long as the caller would wait."""

    def __init__(self, name: str, patience_sec: float) -> None:
        super().__init__(f"another program holds {name} (waited {patience_sec:g} s)")


class LockLost(Exception):  # noqa: N818 - named for what was found
    """The lock was taken from us, or removed, while we held it: what was done under it may have been overwritten."""

    def __init__(self, name: str) -> None:
        super().__init__(f"another program took {name} away while we held it")


class DirectoryLock:
    """One lock. It is held by one thread at a time, and can be taken again after it was released.

    Args:
        directory: handle of the directory that the file lies in; it has to stay open while the lock is held.
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
        self._keeper: threading.Thread | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it was noticed already that the lock was taken from us."""
        return self._is_lost

    def acquire(self, patience_sec: float) -> None:
        """Takes the lock, and has a thread keep it fresh until `release`.

        Args:
            patience_sec: how long to wait at most; 0 tries once.

        Raises:
            LockBusy: somebody else has it.
            OSError: it can't be made, or a stale one can't be removed (it is no directory, or not empty).
        """
        deadline = time.monotonic() + patience_sec
        pause = FIRST_PAUSE_SEC
        while not self._try():
            left = deadline - time.monotonic()
            if left <= 0:
                raise LockBusy(self._name, patience_sec)
            time.sleep(min(left, pause * random.uniform(0.5, 1.5)))  # noqa: S311 - so that two don't keep in step
            pause = min(LONGEST_PAUSE_SEC, 2 * pause)
        self._released = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(self._released,), name="lock-keeper", daemon=True)
        try:
            keeper.start()
        except RuntimeError:  # the system has no more threads
            self.release()
            raise
        self._keeper = keeper

    def check(self) -> None:
        """Makes sure that the lock is ours, and fresh for another `stale_sec`: call it before what can't be undone.

        Raises:
            LockLost: it is not.
            OSError: that can't be found out.
        """
        with self._mutex:
            if self._is_lost or not self._is_ours():
                self._is_lost = True
                raise LockLost(self._name)
            self._touch()

    def release(self) -> None:
        """Removes the lock, if it is ours; if not, it stays as it is.

        Raises:
            LockLost: it was taken from us before.
            OSError: it can't be removed.
        """
        self._released.set()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None
        try:
            self.check()
            os.rmdir(self._name, dir_fd=self._directory)
        finally:
            self._forget()

    @contextmanager
    def held(self, patience_sec: float) -> Generator[None, None, None]:
        """Holds the lock for a while; see `acquire` and `release` for what is raised."""
        self.acquire(patience_sec)
        try:
            yield
        except BaseException:
            with suppress(LockLost, OSError):  # what happened first is what counts
                self.release()
            raise
        self.release()

    def _try(self) -> bool:
        """Takes the lock if that is possible now, in proper-lockfile's order."""
        if self._make():
            return True
        try:
            found = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:  # released meanwhile
            return self._make()
        if found.st_mtime >= time.time() - self._stale_sec:
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
            self._handle = os.open(self._name, _DIRECTORY, dir_fd=self._directory)
            self._is_lost = False
            self._touch()
        except FileNotFoundError:  # another that had found a stale lock here removed ours
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

    def _touch(self) -> None:
        """Renews the mtime.

        proper-lockfile probes whether the file system keeps milliseconds, to know what it will find later. Reading the
        time back tells as much; where it is cut to seconds, the lock looks a second or two older than it is.
        """
        now_ns = time.time_ns()
        os.utime(self._handle, ns=(now_ns, now_ns))
        self._mtime_ns = os.fstat(self._handle).st_mtime_ns

    def _is_ours(self) -> bool:
        ours = os.fstat(self._handle)
        try:
            found = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, ours) and found.st_mtime_ns == self._mtime_ns

    def _keep(self, released: threading.Event) -> None:
        """Renews the lock until it is released or lost; `check` tells the holder."""
        pause = self._stale_sec / 2
        while not released.wait(pause):
            try:
                self.check()
                pause = self._stale_sec / 2
            except LockLost:
                return
            except OSError:
                pause = min(self._stale_sec / 2, RENEW_AGAIN_SEC)

    def _forget(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1
