"""Showing — one session is shown mail once: chosen, written, and only then remembered.

The one place where a message becomes a shown one, for hooks and for the doorbell. Above: `command`, `doorbell`.
What a tool has just shown (check_inbox, say) counts as shown, so that it does not come again right behind.
Invariant: what was written is what is remembered; if it cannot be remembered, nothing is written.
"""

__all__ = ["preview", "show"]

from collections.abc import Callable, Iterable, Iterator, Mapping

from mailroom_apps.hooks.event import DOORBELL, STOP, HookEvent
from mailroom_apps.hooks.inbox import Unread
from mailroom_apps.hooks.inbox_file import InboxFile, read_inbox_file
from mailroom_apps.hooks.keeper import Keeper
from mailroom_apps.hooks.memory import Memory
from mailroom_apps.hooks.news import find_news
from mailroom_apps.hooks.report import Report, compose

MOST_OPENED = 1000  # files in one run, the newest first: about 20 ms
NONE_CARRIED: Mapping[str, InboxFile] = {}


def show(
    event: HookEvent,
    root: str,
    unread: Unread,
    write: Callable[[str], None],
    carried: Mapping[str, InboxFile] = NONE_CARRIED,
) -> Report | None:
    """Shows what is new to a session.

    Args:
        event: says to whom, and on what occasion.
        root: holds inbox/.
        unread: the unread messages, and the mailbox of each.
        write: puts the text out, and returns when it has left this process.
        carried: letters that are at hand already, by id.

    Returns:
        What was shown; None if nothing was.

    Raises:
        SessionBusyError: somebody else is showing mail to this session.
        UnrememberedError: nothing was shown, since it could not be remembered.
        Exception: what `write` raises; nothing is remembered then.
    """
    with Keeper(event.session) as keeper:
        seen = _seen_in(event.tool_output, unread.keys() - keeper.memory.shown)
        ids = [message_id for message_id in find_news(event, unread, keeper.memory) if message_id not in seen]
        news = _News(ids, event, root, unread, carried)
        report = news.report()
        if report or seen:
            letters = report.letters if report else ()
            _remember(keeper.memory, event, unread, news.ids, seen.union(letter.id for letter in letters))
            keeper.prepare()
            if report:
                write(report.text)
            keeper.commit()
        return report


def preview(event: HookEvent, root: str, unread: Unread) -> Report | None:
    """Makes the report without remembering anything."""
    return _News(find_news(event, unread, Memory.read(event.session)), event, root, unread, NONE_CARRIED).report()


class _News:
    """The news of one event: `ids` shrinks to those that turn out to be there to be shown."""

    def __init__(
        self, ids: list[str], event: HookEvent, root: str, unread: Unread, carried: Mapping[str, InboxFile]
    ) -> None:
        self.ids = ids[:MOST_OPENED] if event.name == STOP else ids
        self._event = event
        self._root = root
        self._unread = unread
        self._carried = carried

    def report(self) -> Report | None:
        """Returns the report; a stop's has urgent messages only."""
        letters = self._letters()
        if self._event.name == STOP:
            letters = iter(list(letters))  # all of them: the report counts what is urgent
        return compose(self._event.agent, letters, lambda: len(self.ids))

    def _letters(self) -> Iterator[InboxFile]:
        for message_id in self.ids[:MOST_OPENED]:
            letter = self._carried.get(message_id) or self._read(message_id)
            if letter is None:
                self.ids.remove(message_id)
            else:
                yield letter

    def _read(self, message_id: str) -> InboxFile | None:
        return read_inbox_file(self._root, self._unread[message_id], message_id, urgent_only=self._event.name == STOP)


def _seen_in(output: bytes, ids: Iterable[str]) -> set[str]:
    return {message_id for message_id in ids if message_id.encode() in output} if output else set()


def _remember(memory: Memory, event: HookEvent, unread: Unread, ids: Iterable[str], shown: set[str]) -> None:
    """Notes what is shown and what was counted with it (`ids`)."""
    if event.starts_afresh:
        memory.shown.clear()
    memory.shown |= shown
    memory.counted.update(ids)
    if event.name == STOP:
        memory.held.update(ids)
    elif event.name == DOORBELL:  # it has kept the session going: the stop that it was rung at need not, too
        memory.held |= shown
    memory.forget_all_but({*unread, *shown})
