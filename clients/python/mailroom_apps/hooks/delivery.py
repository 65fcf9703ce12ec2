"""Delivery — shows mail to a session exactly once: selected, written, and only then recorded as shown.

The only place where a message becomes a shown one, for hooks and for the doorbell. Messages that a tool has just shown
(check_inbox, for example) count as shown if its result has their content. Above: `command`, `mail_watcher`.
Invariant: exactly the messages that were written are recorded; if they cannot be recorded, nothing is written.
"""

__all__ = ["preview", "show_mail"]

from collections.abc import Callable, Iterable, Iterator, Mapping

from mailroom.inbox_directory import mailbox_directory
from mailroom.inbox_file import InboxFile, decode_inbox_file, read_inbox_file

from mailroom_apps.hooks.dialect import Dialect
from mailroom_apps.hooks.event import DOORBELL, STOP, HookEvent
from mailroom_apps.hooks.report import Report, compose
from mailroom_apps.hooks.session_state import SessionState
from mailroom_apps.hooks.session_update import SessionUpdate
from mailroom_apps.hooks.unseen import find_unseen, settle_answer
from mailroom_apps.printable import defused

MAX_OPENED = 1000  # files in one run, the newest first: about 20 ms
MIN_PART_CHARS = 2_000  # of a message that a tool shows in parts; it says where the next one begins
NO_MESSAGES: Mapping[str, InboxFile] = {}

_URGENT = b'"urgent"'  # a file without these bytes is not urgent; there is no need to parse it


def show_mail(
    event: HookEvent,
    root: str,
    unread: dict[str, str],
    write: Callable[[str], None],
    received: Mapping[str, InboxFile] = NO_MESSAGES,
    *,
    dialect: Dialect,
) -> Report | None:
    """Shows a session what it has not seen; returns the report, or None if there was nothing to show.

    Args:
        event: which session, and on which occasion.
        root: holds inbox/.
        unread: the ids of the unread messages, and the mailbox of each.
        write: writes the text, and returns when it has left this process.
        received: messages that are known without their files, by id.
        dialect: how much may be shown.

    Raises:
        SessionBusyError: another process is showing mail to this session.
        StateNotSavedError: nothing was shown, since it could not be recorded.
        Exception: what `write` raises; nothing is recorded then.
    """
    with SessionUpdate(event.state_key) as update:
        is_settled = settle_answer(event, update.state)
        seen = _seen_in_tool(event, root, unread) - update.state.shown
        ids = [message_id for message_id in find_unseen(event, unread, update.state) if message_id not in seen]
        selection = _Selection(ids, event, root, unread, received)
        report = selection.compose_report(dialect)
        if report or seen or is_settled:
            shown = seen.union(message.id for message in (report.messages if report else ()))
            _record_shown(update.state, event, unread, selection.ids, shown)
            update.prepare()
            if report:
                write(report.text)
            update.commit()
        return report


def preview(event: HookEvent, root: str, unread: dict[str, str], dialect: Dialect) -> Report | None:
    """Returns the report without recording anything."""
    ids = find_unseen(event, unread, SessionState.read(event.state_key))
    return _Selection(ids, event, root, unread, NO_MESSAGES).compose_report(dialect)


class _Selection:
    """The messages that one event may show. `ids` shrinks to those that turn out to be there."""

    def __init__(
        self, ids: list[str], event: HookEvent, root: str, unread: dict[str, str], received: Mapping[str, InboxFile]
    ) -> None:
        self.ids = ids[:MAX_OPENED] if event.name == STOP else ids
        self._event = event
        self._root = root
        self._unread = unread
        self._received = received

    def compose_report(self, dialect: Dialect) -> Report | None:
        """Returns the report; that of a stop has only urgent messages."""
        messages = self._messages()
        if self._event.name == STOP:
            messages = iter(list(messages))  # all of them, because the report counts the urgent ones
        by_hand = self._event.given_name == DOORBELL  # `mailroom setup` installs hooks together with the tools
        return compose(self._event.agent, messages, lambda: len(self.ids), dialect, names_commands=by_hand)

    def _messages(self) -> Iterator[InboxFile]:
        for message_id in self.ids[:MAX_OPENED]:
            message = self._received.get(message_id) or _read(
                self._root, self._unread[message_id], message_id, urgent_only=self._event.name == STOP
            )
            if message is None:
                self.ids.remove(message_id)
            else:
                yield message


def _seen_in_tool(event: HookEvent, root: str, unread: dict[str, str]) -> set[str]:
    """Returns the ids of the unread messages whose content a tool has just shown."""
    if not event.tool_responses:
        return set()
    from mailroom_apps.hooks.tool_result import messages_in

    seen: set[str] = set()
    for message_id, content in messages_in(event.tool_responses).items():
        file = _read(root, unread[message_id], message_id) if message_id in unread else None
        if file is not None and _has_content(file, content):
            seen.add(message_id)
    return seen


def _has_content(file: InboxFile, content: str) -> bool:
    """Returns whether a tool has shown a message: as JSON output, as an MCP tool does, or a long part of it."""
    whole = (file.content, defused(file.content))
    return content in whole or (len(content) >= MIN_PART_CHARS and content in whole[1])


def _read(root: str, mailbox: str, message_id: str, *, urgent_only: bool = False) -> InboxFile | None:
    """Returns a message from its file; None if that is gone, expired, broken, or not urgent if only those count."""
    try:
        raw = read_inbox_file(f"{mailbox_directory(root, mailbox)}/{message_id}.json")
    except (OSError, ValueError):
        return None
    if urgent_only and _URGENT not in raw:
        return None
    message = decode_inbox_file(raw, mailbox, message_id)
    if message is None or message.is_expired or (urgent_only and not message.is_urgent):
        return None
    return message


def _record_shown(
    state: SessionState, event: HookEvent, unread: dict[str, str], counted: Iterable[str], shown: set[str]
) -> None:
    """Records the messages that are shown, and those that are only counted beside them."""
    if event.starts_afresh:
        state.shown.clear()
    state.shown |= shown
    state.counted.update(counted)
    if event.name == STOP:
        state.held.update(counted)
    elif event.name == DOORBELL:  # it has woken the session, so the next stop need not hold it up again
        state.held |= shown
        if event.answers_turn:
            state.answered |= shown
    state.keep_only({*unread, *shown})
