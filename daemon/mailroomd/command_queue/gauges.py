"""CommandQueueGauges — what the command-queue shows of its work: commits, files, backlogs, room.

Owns when the gauges are looked at; a transaction is measured where it is made. Above: the command-queue's loop.
Invariant: nothing here costs more than a few microseconds for each transaction.
"""

__all__ = ["CommandQueueGauges"]

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mailroomd.command_queue.disk_guard import DiskGuard
from mailroomd.command_queue.team_dispatcher import TeamInboxDispatcher
from mailroomd.core.disk_limit import warning_bytes
from mailroomd.ipc.link import Link
from mailroomd.model.settings import Settings
from mailroomd.observability.metrics import (
    COMMIT_COMMANDS,
    COMMIT_SECONDS,
    DATABASE_BYTES,
    DISK_FREE,
    FILE_SECONDS,
    FILES_WAITING,
    FSYNC_SECONDS,
    INDEX_BACKLOG,
    OUTCOMES_QUEUE,
    STORE_WRITABLE,
    TEAM_WAITING,
)
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.storage.database.message_store import MessageStore
from mailroomd.storage.inbox.filing import Filing

SHOW_EVERY_SEC = 1.0  # two statvfs and three small queries: some 50 µs


class CommandQueueGauges:
    """Counts and shows.

    Args:
        metrics: the command-queue's numbers.
        settings: gives the settings that hold now.
        store: its database.
        condition: whether that takes messages.
        filing: its inbox files.
        team: its team inboxes.
        link: to the mailbox.
    """

    def __init__(
        self,
        metrics: MetricsBlock,
        settings: Callable[[], Settings],
        store: MessageStore,
        condition: DiskGuard,
        filing: Filing,
        team: TeamInboxDispatcher,
        link: Link[Any, Any],
    ) -> None:
        self._metrics = metrics
        self._settings = settings
        self._store = store
        self._condition = condition
        self._filing = filing
        self._team = team
        self._link = link
        self._due_sec = 0.0

    def committed(self, started_ns: int, commands: int) -> None:
        """Takes note of a transaction of so many commands that was begun then, on the monotonic clock."""
        self._metrics.observe(COMMIT_SECONDS.at, time.monotonic_ns() - started_ns)
        self._metrics.observe(FSYNC_SECONDS.at, self._store.transactions.last_sync_ns)
        self._metrics.observe(COMMIT_COMMANDS.at, commands)

    def filed(self, started_ns: int) -> None:
        """Takes note that the files of a transaction are written, which was begun then."""
        self._metrics.observe(FILE_SECONDS.at, time.monotonic_ns() - started_ns)

    def show(self, now_sec: float) -> None:
        """Shows the gauges if it is time."""
        if now_sec < self._due_sec:
            return
        self._due_sec = now_sec + SHOW_EVERY_SEC
        metrics, settings = self._metrics, self._settings()
        metrics.set(OUTCOMES_QUEUE.at, self._link.backlog)
        metrics.set(FILES_WAITING.at, self._filing.unfiled)
        metrics.set(TEAM_WAITING.at, self._team.waiting)
        metrics.set(INDEX_BACKLOG.at, self._store.search.backlog())
        metrics.set(STORE_WRITABLE.at, self._condition.is_writable)
        metrics.set(DATABASE_BYTES.word("used"), self._store.transactions.used_bytes())
        metrics.set(DATABASE_BYTES.word("warn"), warning_bytes(settings.warn_disk_bytes, settings.max_disk_bytes))
        metrics.set(DATABASE_BYTES.word("max"), settings.max_disk_bytes)
        for place, directory in (("state", settings.state_dir), ("root", settings.root)):
            with suppress(OSError):  # then the last figure stays
                room = os.statvfs(directory)
                metrics.set(DISK_FREE.word(place), room.f_bavail * room.f_frsize)
