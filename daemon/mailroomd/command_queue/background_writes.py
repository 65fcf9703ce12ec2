"""BackgroundWrites — writes to the database that no sender waits for.

Owns what happens when the database does not accept one: it is made later, and only a failed fsync ends the process.
Not here: the commits of commands (`Committer`).
"""

__all__ = ["BackgroundWrites", "exit_if_lost"]

import os
from collections.abc import Callable
from pathlib import Path

from mailroomd.command_queue.disk_guard import DiskGuard
from mailroomd.command_queue.suspect_commands import InputFailed, failing_of_input
from mailroomd.observability.log import log
from mailroomd.storage.database.connection import mark_lost_write
from mailroomd.storage.database.transactions import StoreFailed, StoreFull


class BackgroundWrites:
    """Makes such writes.

    Args:
        state_dir: where `mailroom.db` is.
        disk_guard: decides whether a write may use the reserve of a full disk.
    """

    def __init__(self, state_dir: Path, disk_guard: DiskGuard) -> None:
        self._state_dir = state_dir
        self._disk_guard = disk_guard
        self._failures = 0

    def attempt(self, write: Callable[[], object]) -> bool:
        """Makes a write; returns False if the database did not accept it.

        One that raises what nobody expected is logged after 1, 2, 4, 8 ... failures: it may be tried every second.
        """
        while True:
            try:
                with failing_of_input():
                    write()
            except InputFailed as error:
                self._failures += 1
                if self._failures.bit_count() == 1:
                    log.error("write set aside, cannot be executed", error=str(error), failures=self._failures)
                return False
            except StoreFull:
                if not self._disk_guard.on_disk_full():
                    return False
            except StoreFailed as error:
                exit_if_lost(error, self._state_dir)
                return False
            else:
                return True


def exit_if_lost(error: StoreFailed, state_dir: Path) -> None:
    """Exits after a failed fsync: the kernel may have dropped the data, so the next start reads the disk again."""
    log.error("database not written", error=str(error), fatal=error.fatal)
    if error.fatal:
        mark_lost_write(state_dir)
        os._exit(os.EX_IOERR)
