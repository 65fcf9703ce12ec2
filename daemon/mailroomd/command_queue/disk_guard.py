"""DiskGuard — decides whether the database accepts messages, and what a refused sender is told.

Owns the two reasons for a refusal: the disk is full, or the database has reached its limit (`--max-disk-size`); a
warning comes before the limit. On a full disk messages are refused first. The reserve is given up only if anything
else finds no room, because another program may still be filling the disk. Each change is logged once and sent to the
mailbox.
Not here: which write failed (`Transactions`), the rule for the limit (`core.disk_limit`). Above: `Committer` and the
command-queue's loop.
"""

__all__ = ["FULL_SENTENCE", "DiskGuard"]

from collections.abc import Callable

from mailroomd.core.disk_limit import DiskUse, judge_disk, warning_bytes
from mailroomd.model.errors import Reason
from mailroomd.model.settings import Settings
from mailroomd.observability.log import log
from mailroomd.protocol.reports import StorageStateChanged
from mailroomd.storage.database.reserve import Reserve

POLL_EVERY_SEC = 1.0
RETRY_AFTER_MS = 5000  # for refused senders
FULL_SENTENCE = (
    "the disk that holds the database is full: free some space; sends are then accepted again without a restart"
)


class DiskGuard:
    """Decides whether messages are accepted.

    Args:
        settings: returns the current settings.
        reserve: the space that is kept for a full disk.
        used_bytes: measures the database.
        send: sends a change to the mailbox.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        reserve: Reserve,
        used_bytes: Callable[[], int],
        send: Callable[[StorageStateChanged], None],
    ) -> None:
        self._settings = settings
        self._reserve = reserve
        self._used_bytes = used_bytes
        self._send = send
        self._is_full = False
        self._use = DiskUse.FINE
        self._polled_sec = 0.0

    @property
    def is_writable(self) -> bool:
        """Whether messages are accepted."""
        return not self._sentence()

    @property
    def is_full(self) -> bool:
        """Whether the disk is full: then writes that can wait are postponed."""
        return self._is_full

    @property
    def refusal(self) -> tuple[Reason, str, int]:
        """Why a message is refused: reason, sentence, milliseconds to wait before a retry."""
        return Reason.STORAGE_FULL, self._sentence() or FULL_SENTENCE, RETRY_AFTER_MS

    def start(self) -> None:
        """Allocates the reserve and measures the database for the first time."""
        self._is_full = not self._reserve.refill()
        if self._is_full:
            log.error("disk full, refusing sends", error=FULL_SENTENCE)
        self._measure()

    def current_state(self) -> StorageStateChanged:
        """Returns the present state, for a mailbox that (re)started."""
        sentence = self._sentence()
        return StorageStateChanged(not sentence, sentence)

    def on_disk_full(self, *, can_wait: bool = False) -> bool:
        """Reacts to a write that found no space; returns whether to try again.

        After the first such write, messages (and what can wait) are no longer written. After the second, the reserve
        is given up.

        Args:
            can_wait: whether the write is not worth the reserve.
        """
        if not self._is_full:
            self._is_full = True
            log.error("disk full, refusing sends", error=FULL_SENTENCE)
            self._send(self.current_state())
            return True
        if can_wait or not self._reserve.is_held:
            return False
        self._reserve.release()
        return not self._reserve.is_held

    def poll(self, now_sec: float) -> None:
        """Checks once a second whether a full disk has space again, and measures the database."""
        if now_sec - self._polled_sec < POLL_EVERY_SEC:
            return
        self._polled_sec = now_sec
        was_writable = self.is_writable
        if self._is_full and self._reserve.refill():
            self._is_full = False
            log.info("disk has space again")
        self._measure()
        if self.is_writable != was_writable:
            self._send(self.current_state())

    def _measure(self) -> None:
        settings = self._settings()
        used, limit = self._used_bytes(), settings.max_disk_bytes
        previous, self._use = self._use, judge_disk(used, settings.warn_disk_bytes, limit, self._use)
        if self._use is previous:
            return
        figures = {
            "used_bytes": used,
            "warn_bytes": warning_bytes(settings.warn_disk_bytes, limit),
            "max_bytes": limit,
        }
        match self._use:
            case DiskUse.FINE:
                log.info("database size below the warning again", **figures)
            case DiskUse.HIGH:
                log.warning("database size near its limit: clear mailboxes or raise --max-disk-size", **figures)
            case DiskUse.OVER:
                log.error("database size limit reached, refusing sends", error=self._sentence(), **figures)

    def _sentence(self) -> str:
        """Returns why messages are refused; empty if they are accepted."""
        if self._is_full:
            return FULL_SENTENCE
        if self._use is DiskUse.OVER:
            limit = self._settings().max_disk_bytes
            return (
                f"the database has reached its limit of {limit / (1 << 20):,.0f} MiB (--max-disk-size): clear "
                "mailboxes or raise the limit; sends are then accepted again without a restart"
            )
        return ""
