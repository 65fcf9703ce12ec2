"""DiskGuard — whether the database takes messages, and if not, what their senders are told.

Owns the two causes: the disk is full, or the database takes as much as it may (`--max-disk-size`), with a warning
before. On a full disk messages are refused first, and the reserve is given up only when something else finds no room:
whoever fills the disk may still be at it. Each change is logged once and told to the mailbox.
Not here: what fails (`Transactions`), the rule (`core.disk_limit`). Above: the command-queue's loop.
"""

__all__ = ["FULL_SENTENCE", "DiskGuard"]

from collections.abc import Callable

from mailroomd.core.disk_limit import DiskUse, judge_disk, warning_bytes
from mailroomd.model.errors import Reason
from mailroomd.model.settings import Settings
from mailroomd.observability.log import log
from mailroomd.protocol.commands import StorageStateChanged
from mailroomd.storage.database.reserve import Reserve

LOOK_EVERY_SEC = 1.0
RETRY_AFTER_MS = 5000  # what senders are told
FULL_SENTENCE = "the disk that holds the database is full: make room, sending works again by itself"


class DiskGuard:
    """Knows whether messages are taken.

    Args:
        settings: gives the settings that hold now.
        reserve: the room that is kept for a full disk.
        used_bytes: measures the database.
        send: tells the mailbox.
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
        self._looked_sec = 0.0

    @property
    def is_writable(self) -> bool:
        """Whether messages are taken."""
        return not self._sentence()

    @property
    def is_full(self) -> bool:
        """Whether the disk is full: what can wait is not written."""
        return self._is_full

    @property
    def refusal(self) -> tuple[Reason, str, int]:
        """Why a message is refused: reason, sentence, milliseconds after which to try again."""
        return Reason.STORAGE_FULL, self._sentence() or FULL_SENTENCE, RETRY_AFTER_MS

    def start(self) -> None:
        """Sets the reserve aside, and looks for the first time."""
        self._is_full = not self._reserve.refill()
        if self._is_full:
            log.error("disk full", sentence=FULL_SENTENCE)
        self._judge()

    def now(self) -> StorageStateChanged:
        """Returns what a mailbox that is new has to hear."""
        sentence = self._sentence()
        return StorageStateChanged(not sentence, sentence)

    def on_disk_full(self, *, can_wait: bool = False) -> bool:
        """Takes note that something could not be written for want of room; returns whether it may find some now.

        That is so after the first time, when messages (and what can wait) are left out from then on, and after the
        second, which gives up the reserve.

        Args:
            can_wait: whether it is nothing to give up the reserve for.
        """
        if not self._is_full:
            self._is_full = True
            log.error("disk full", sentence=FULL_SENTENCE)
            self._send(self.now())
            return True
        if can_wait or not self._reserve.is_held:
            return False
        self._reserve.release()
        return not self._reserve.is_held

    def look(self, now_sec: float) -> None:
        """Looks, now and then, at the disk if it was full, and at what the database takes."""
        if now_sec - self._looked_sec < LOOK_EVERY_SEC:
            return
        self._looked_sec = now_sec
        before = self._sentence()
        if self._is_full and self._reserve.refill():
            self._is_full = False
            log.info("disk has room again")
        self._judge()
        if bool(self._sentence()) != bool(before):
            self._send(self.now())

    def _judge(self) -> None:
        settings = self._settings()
        used, most = self._used_bytes(), settings.max_disk_bytes
        warn = warning_bytes(settings.warn_disk_bytes, most)
        found, self._use = self._use, judge_disk(used, settings.warn_disk_bytes, most, self._use)
        if self._use is found:
            return
        figures = {"used_bytes": used, "warn_bytes": warn, "max_bytes": most}
        match self._use:
            case DiskUse.FINE:
                log.info("database takes little enough again", **figures)
            case DiskUse.HIGH:
                log.warning("database takes nearly as much as it may: clear mailboxes, or raise the limit", **figures)
            case DiskUse.OVER:
                log.error("database takes as much as it may: sends are refused", sentence=self._sentence(), **figures)

    def _sentence(self) -> str:
        """Returns why messages are not taken; empty if they are."""
        if self._is_full:
            return FULL_SENTENCE
        if self._use is DiskUse.OVER:
            limit = self._settings().max_disk_bytes
            return (
                f"the mail room's database takes the {limit / (1 << 20):,.0f} MiB that it may (--max-disk-size): clear "
                "mailboxes or raise the limit, sending works again by itself"
            )
        return ""
