"""UnreadShares — refuses senders that have used up their share of a mailbox's unread messages.

Owns the counts of what each sender took of a mailbox's reserve (`core.fair_share`), and restores them from the database
at a start. A sender is the agent behind a session, so that aliases give nobody a second share. Above: `RequestHandler`.
"""

__all__ = ["UnreadShares"]

from collections.abc import Callable, Iterator

from mailroomd.core.fair_share import MAX_RESOURCES, Admission, FairShare, reserve_of
from mailroomd.model.errors import Reason
from mailroomd.model.ids import MAX_ID
from mailroomd.protocol.operations import Refused
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.table.entry import MailboxEntry

FULL_RETRY_AFTER_MS = 60_000  # for senders to a full mailbox: its reader has to read some mail first
PAGE_MESSAGES = 2000  # read between two heartbeats


class UnreadShares:
    """Counts senders' shares.

    Args:
        agent_of: returns the agent behind a session, or the name itself.
    """

    def __init__(self, agent_of: Callable[[str], str]) -> None:
        self._agent_of = agent_of
        self._share = FairShare()

    def restore(self, archive: MessageArchive, limit: int, beat: Callable[[], None]) -> None:
        """Counts who holds the reserves of the mailboxes that are nearly full: their newest unread messages do.

        Args:
            archive: reads the database.
            limit: unread messages of a mailbox.
            beat: writes a heartbeat; called regularly.
        """
        unreserved = limit - reserve_of(limit)
        for name, unread in archive.crowded_mailboxes(unreserved + 1)[:MAX_RESOURCES]:
            senders = map(self._agent_of, _newest_senders(archive, name, min(unread, limit) - unreserved, beat))
            self._share.restore(name, senders, limit)

    def give_back(self, entry: MailboxEntry, sender: str, refusal: Refused | None) -> None:
        """Takes back the count of a message, if it was admitted, that the table has no room for: it is asked again."""
        if refusal is None:
            self._share.give_back(entry.name, sender)

    def refusal(self, entry: MailboxEntry, sender: str, limit: int) -> Refused | None:
        """Returns why a new message may not enter a mailbox; None if it may, and is counted then.

        Args:
            entry: the mailbox.
            sender: an agent.
            limit: unread messages of a mailbox.
        """
        recipient, unread = entry.name, entry.unread + entry.pending
        admission = self._share.admit(recipient, sender, unread, limit)
        if admission is Admission.ADMITTED:
            return None
        sentence = (
            f"{recipient} has {unread:,} unread messages (limit {limit:,}): retry after it has read some"
            if admission is Admission.FULL
            else f"{recipient} has {unread:,} unread messages, and the rest of its limit of {limit:,} is reserved "
            "for other senders; retry after it has read some"
        )
        return Refused(Reason.MAILBOX_FULL, sentence, "recipient", FULL_RETRY_AFTER_MS)


def _newest_senders(archive: MessageArchive, mailbox: str, count: int, beat: Callable[[], None]) -> Iterator[str]:
    """Yields the senders of a mailbox's newest unread messages."""
    bound_id = MAX_ID
    while count > 0 and (page := archive.unread_senders(mailbox, bound_id, min(count, PAGE_MESSAGES))):
        yield from (sender for _, sender in page)
        bound_id, count = page[-1][0], count - len(page)
        beat()
