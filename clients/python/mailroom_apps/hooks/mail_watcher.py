"""MailWatcher — listens for one session, and shows it the mail that arrives.

An event on the stream only says "look again". The message in it is used if its file does not exist yet and the daemon
says that it is still unread: this process may have been stopped, or the stream interrupted, since it was sent.
"""

__all__ = ["MailWatcher"]

import asyncio
import os
from contextlib import suppress

from mailroom.aio import AsyncMailroom
from mailroom.errors import DeadlineExceeded, MailroomError, Unavailable
from mailroom.events import CaughtUp
from mailroom.inbox_directory import list_unread
from mailroom.inbox_file import InboxFile
from mailroom.inbox_file_messages import file_of_message
from mailroom.messages import Message
from mailroom.states import DeliveryState

from mailroom_apps.hooks.daemon_calls import TIMEOUT_SEC, needs_alias
from mailroom_apps.hooks.delivery import show_mail
from mailroom_apps.hooks.event import HookEvent
from mailroom_apps.hooks.session_update import SessionBusyError

RETRY_SEC = 1.0  # while another process shows mail to the session, which takes milliseconds, or the daemon is down

_OVER = frozenset((DeliveryState.READ, DeliveryState.EXPIRED))


class MailWatcher:
    """Watches all mailboxes of a session, and shows mail once.

    Args:
        client: a client of the daemon.
        event: which session.
        root: the directory that holds inbox/.
    """

    def __init__(self, client: AsyncMailroom, event: HookEvent, root: str) -> None:
        self._client = client
        self._event = event
        self._root = root
        self._shown: tuple[InboxFile, ...] = ()

    @property
    def has_shown_mail(self) -> bool:
        """Whether mail was shown."""
        return bool(self._shown)

    async def watch(self, mailbox: str) -> None:
        """Returns once mail was shown, of this mailbox or another one.

        Raises:
            MailroomError: the daemon refuses the stream.
            StateNotSavedError: the mail would be shown again and again.
        """
        await self._show_unseen()
        if self.has_shown_mail:  # while the daemon is down, too: there may be no event for hours
            return
        async with self._client.subscribe(mailbox, observe=True, caught_up=True) as events:
            async for event in events:
                if self.has_shown_mail:
                    return
                if isinstance(event, Message):
                    await self._show_unseen(event)
                elif isinstance(event, CaughtUp):  # mail that arrived before the stream was open
                    await self._show_unseen()
                if self.has_shown_mail:
                    return

    async def report_shown(self) -> None:
        """Tells the daemon what was shown, if it is reachable, and renews the session's alias if its own mail was."""
        with suppress(MailroomError):
            for mailbox in self._event.mailboxes:
                if ids := [message.id for message in self._shown if message.mailbox == mailbox]:
                    await self._client.mark_offered(mailbox, ids, timeout=TIMEOUT_SEC)
            if needs_alias(self._event, self._shown):
                await self._client.set_alias(self._event.agent, self._event.session, timeout=TIMEOUT_SEC)

    async def _show_unseen(self, message: Message | None = None) -> None:
        """Shows what the session has not seen, and `message`, whether or not its file exists."""
        while not self.has_shown_mail:
            is_unread = message is not None and await self._is_unread_without_file(message)
            received = {message.id: file_of_message(message)} if message is not None and is_unread else {}
            unread = {received_id: file.mailbox for received_id, file in received.items()}
            unread |= list_unread(self._root, self._event.mailboxes)
            try:
                report = show_mail(self._event, self._root, unread, _write, received)
            except SessionBusyError:
                await asyncio.sleep(RETRY_SEC)
                continue
            self._shown = report.messages if report else ()
            return

    async def _is_unread_without_file(self, message: Message) -> bool:
        """Returns whether a message has no inbox file, but is unread all the same."""
        while message.id not in list_unread(self._root, self._event.mailboxes):
            try:
                tracked = await self._client.get_message(message.id, timeout=TIMEOUT_SEC)
            except (Unavailable, DeadlineExceeded):
                await asyncio.sleep(RETRY_SEC)
            except MailroomError:  # it was cleared
                return False
            else:
                return tracked.message.state not in _OVER
        return False


def _write(text: str) -> None:
    """Writes the mail to stderr, bypassing every buffer."""
    rest = memoryview(f"{text}\n".encode(errors="backslashreplace"))
    while rest:
        rest = rest[os.write(2, rest) :]
