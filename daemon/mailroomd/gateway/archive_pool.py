"""ArchivePool — the few threads in which the gateway reads the database, each with a connection of its own."""

__all__ = ["ArchivePool"]

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from mailroomd.storage.database.message_archive import MessageArchive

Result = TypeVar("Result")

THREADS = 2  # they wait for the disk so that the loop does not
SEARCH_THREADS = 4  # apart from the others, since a search may take seconds; one client uses one of them (`WorkSlots`)


class ArchivePool:
    """Runs reads of the message archive in threads.

    Args:
        state_dir: the directory of the database.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="archive")
        self._search_threads = ThreadPoolExecutor(SEARCH_THREADS, thread_name_prefix="search")
        self._local = threading.local()

    async def read(self, read: Callable[[MessageArchive], Result]) -> Result:
        """Returns what `read` returns for the archive."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read_in_thread, read)

    async def search(self, find: Callable[[MessageArchive, Callable[[], bool]], Result]) -> Result:
        """Returns what `find` returns for the archive, beside other reads.

        Args:
            find: a search; its second argument returns whether its caller has left, so that the thread becomes free.
        """
        has_left = threading.Event()

        def find_in_thread(archive: MessageArchive) -> Result:
            return find(archive, has_left.is_set)

        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._search_threads, self._read_in_thread, find_in_thread)
        finally:
            has_left.set()

    def close(self) -> None:
        """Cancels reads that have not begun, and lets the threads end."""
        for threads in (self._threads, self._search_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    def _read_in_thread(self, read: Callable[[MessageArchive], Result]) -> Result:
        if not hasattr(self._local, "archive"):
            self._local.archive = MessageArchive(self._state_dir)
        return read(self._local.archive)
