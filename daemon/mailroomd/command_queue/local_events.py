"""LocalEvents — what the command-queue learns by itself, from the finding to its commit at the place that it was granted.

Owns the looking (files that agents took, files that are written at last, mail that expired, responses in the outbox)
and what follows a commit there: a response's file is deleted only then. It asks the mailbox for places, as ids are
the mailbox's to give (`PendingEvents` keeps what waits for them). Not here: committing. Above: the command-queue.
Invariant: nothing that was found is forgotten before a transaction with it has succeeded.
"""

__all__ = ["LocalEvents"]

import time
from collections.abc import Iterable

from mailroomd.command_queue.pending_events import PendingEvents
from mailroomd.observability.log import log
from mailroomd.protocol.commands import AllocateIds, IdsAllocated
from mailroomd.protocol.local_events import FilesTaken, LocalEvent, MailExpired, MailFiled, ResponseLeft
from mailroomd.storage.database.message_store import MessageStore, SequencedEvent, StoredMail
from mailroomd.storage.inbox.filing import Filing
from mailroomd.storage.outbox.file import OutboxFile
from mailroomd.storage.outbox.outbox import Outbox

EXPIRY_SLICE = 200  # messages that expire in one transaction: some 5 ms
LOOK_AGAIN_SEC = 60.0  # at the next expiry, whatever was known of it: the clock may have been set


class LocalEvents:
    """Looks for what nobody orders.

    Args:
        store: to ask what expired.
        filing: the inbox files.
        outbox: the responses.
        epoch: which start of the command-queue it is.
    """

    def __init__(self, store: MessageStore, filing: Filing, outbox: Outbox, epoch: int = 0) -> None:
        self._store = store
        self._filing = filing
        self._outbox = outbox
        self._discoveries = PendingEvents(epoch)
        self._in_hand: dict[ResponseLeft, OutboxFile] = {}
        self._next_expiry_ms = 0
        self._look_at_expiry_sec = 0.0

    def filenos(self) -> list[int]:
        """Returns the descriptors that are readable when `look` should be called."""
        return [one for one in (self._filing.fileno(), self._outbox.fileno()) if one is not None]

    def add(self, finding: LocalEvent) -> None:
        """Takes what was found elsewhere: at the recovery."""
        self._discoveries.add(finding)

    def note_mail(self, mail: Iterable[StoredMail]) -> None:
        """Takes note of new messages: one of them may be the next to expire."""
        for one in mail:
            if one.draft.ttl_ms:
                self._next_expiry_ms = min(self._next_expiry_ms, one.timestamp_ms + one.draft.ttl_ms)

    def look(self, now_sec: float, now_ms: int) -> float:
        """Looks at all that is due; returns for how many seconds nothing will be.

        Raises:
            StoreFull, StoreFailed: from `Filing.collect`; nothing is lost.
        """
        for taken in self._filing.collect_taken(now_sec):
            self._discoveries.add(taken)
        pause = self._look_at_expiry(now_sec, now_ms)
        due_sec = self._filing.next_retry_sec
        if due_sec is not None and due_sec <= now_sec:
            self._retry_files(now_sec)
            due_sec = self._filing.next_retry_sec
        if due_sec is not None:
            pause = min(pause, max(0.0, due_sec - now_sec))
        if self._discoveries.has_room:
            self._look_at_outbox(now_sec)
            pause = min(pause, self._outbox.due_in_sec(now_sec))
        return min(pause, self._filing.due_in_sec(now_sec), self._discoveries.due(now_sec))

    def requests(self, now_sec: float) -> list[AllocateIds]:
        """Returns the requests for places that are due."""
        return self._discoveries.requests(now_sec)

    def asked(self) -> list[AllocateIds]:
        """Returns the requests that were made and are not granted, for a mailbox that restarted."""
        return self._discoveries.asked()

    def found_at(self, grant: IdsAllocated) -> SequencedEvent:
        """Returns what is to be committed at the granted places."""
        return self._discoveries.found_at(grant)

    def committed(self, requests: Iterable[int]) -> None:
        """Takes note of what is committed."""
        for request in requests:
            finding = self._discoveries.committed(request)
            if isinstance(finding, ResponseLeft):
                file = self._in_hand.pop(finding, None)
                if file is not None:
                    self._outbox.remove_response(file)
            elif isinstance(finding, FilesTaken):
                self._filing.on_committed(finding)
            elif isinstance(finding, MailFiled):
                self._filing.on_committed(finding)
                log.info("inbox files written at last", files=finding.id_count, left=self._filing.unfiled)
            elif isinstance(finding, MailExpired):
                self._look_at_expiry_sec = 0.0  # there may be more

    def put_off(self, requests: Iterable[int]) -> None:
        """Takes note of what could not be committed."""
        for request in requests:
            self._discoveries.put_off(request, time.monotonic())

    def close(self) -> None:
        """Closes every handle."""
        self._filing.close()
        self._outbox.close()

    def _look_at_expiry(self, now_sec: float, now_ms: int) -> float:
        if self._discoveries.is_waiting(MailExpired):
            return LOOK_AGAIN_SEC
        if now_ms >= self._next_expiry_ms or now_sec >= self._look_at_expiry_sec:
            self._look_at_expiry_sec = now_sec + LOOK_AGAIN_SEC
            expired = self._store.expired(now_ms, EXPIRY_SLICE)
            if expired:
                self._discoveries.add(MailExpired(tuple(expired)))
                return LOOK_AGAIN_SEC
            next_ms = self._store.next_expiry_ms()
            self._next_expiry_ms = now_ms + int(LOOK_AGAIN_SEC * 1000) if next_ms is None else next_ms
        return max(0.0, (self._next_expiry_ms - now_ms) / 1000)

    def _retry_files(self, now_sec: float) -> None:
        filed = self._filing.retry_due(now_sec)
        if filed:
            self._discoveries.add(MailFiled(tuple(filed)))

    def _look_at_outbox(self, now_sec: float) -> None:
        for file in self._outbox.collect_responses(now_sec):
            left = ResponseLeft(file.session, file.name, file.identity.lasting, file.body)
            self._in_hand[left] = file
            self._discoveries.add(left)
