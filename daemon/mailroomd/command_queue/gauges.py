"""CommandQueueGauges — what the command-queue publishes once a second: backlogs, database size, free space.

Not here: what is measured for each transaction (`CommitObserver`). Above: the command-queue's loop.
"""

__all__ = ["CommandQueueGauges"]

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mailroomd.command_queue.disk_guard import DiskGuard
from mailroomd.command_queue.team_dispatcher import TeamInboxDispatcher
from mailroomd.core.disk_limit import warning_bytes
from mailroomd.ipc.link import Link
from mailroomd.model.settings import Settings
from mailroomd.observability.metrics import (
    DATABASE_BYTES,
    DISK_FREE,
    FILES_WAITING,
    INDEX_BACKLOG,
    OUTCOMES_QUEUE,
    STORE_WRITABLE,
    TEAM_WAITING,
)
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.storage.database.message_store import MessageStore
from mailroomd.storage.inbox.filing import Filing

PUBLISH_EVERY_SEC = 1.0  # two statvfs and three small queries: some 50 µs


class CommandQueueGauges:
    """Publishes the gauges.

    Args:
        metrics: the command-queue's.
        settings: returns the current settings.
        store: its database.
        disk_guard: knows whether sends are accepted.
        filing: its inbox files.
        team: its team inboxes.
        link: to the mailbox.
    """

    def __init__(
        self,
        metrics: MetricsBlock,
        settings: Callable[[], Settings],
        store: MessageStore,
        disk_guard: DiskGuard,
        filing: Filing,
        team: TeamInboxDispatcher,
        link: Link[Any, Any],
    ) -> None:
        self._metrics = metrics
        self._settings = settings
        self._store = store
        self._disk_guard = disk_guard
        self._filing = filing
        self._team = team
        self._link = link
        self._due_sec = 0.0

    def publish_if_due(self, now_sec: float) -> None:
        """Publishes the gauges, at most once a second."""
        if now_sec < self._due_sec:
            return
        self._due_sec = now_sec + PUBLISH_EVERY_SEC
        metrics, settings = self._metrics, self._settings()
        metrics.set(OUTCOMES_QUEUE.at, self._link.backlog)
        metrics.set(FILES_WAITING.at, self._filing.unfiled)
        metrics.set(TEAM_WAITING.at, self._team.waiting)
        metrics.set(INDEX_BACKLOG.at, self._store.search.backlog())
        metrics.set(STORE_WRITABLE.at, self._disk_guard.is_writable)
        metrics.set(DATABASE_BYTES.word("used"), self._store.transactions.used_bytes())
        metrics.set(DATABASE_BYTES.word("warn"), warning_bytes(settings.warn_disk_bytes, settings.max_disk_bytes))
        metrics.set(DATABASE_BYTES.word("max"), settings.max_disk_bytes)
        for label, directory in (("state", settings.state_dir), ("root", settings.root)):
            with suppress(OSError):  # then the last figure stays
                filesystem = os.statvfs(directory)
                metrics.set(DISK_FREE.word(label), filesystem.f_bavail * filesystem.f_frsize)
