"""Bell — listens for one session, and shows it the mail that comes.

An event on the stream says only "look again". The message in it is used where its file is not there (yet).
"""

__all__ = ["Bell"]

import asyncio
import os
from contextlib import suppress

from mailroom.aio import AsyncMailroom
from mailroom.errors import MailroomError
from mailroom.events import CaughtUp
from mailroom.messages import Message

from mailroom_apps.hooks.event import HookEvent
from mailroom_apps.hooks.inbox import list_unread
from mailroom_apps.hooks.inbox_file import InboxFile
from mailroom_apps.hooks.keeper import SessionBusyError
from mailroom_apps.hooks.notices import TIMEOUT_SEC
from mailroom_apps.hooks.showing import show

LOOK_AGAIN_SEC = 1.0  # while somebody else shows mail to the session, which takes milliseconds


class Bell:
    """One bell for all mailboxes of a session. It rings once.

    Args:
        client: a client of the daemon.
        event: to whom it rings.
        root: the directory that holds inbox/.
    """

    def __init__(self, client: AsyncMailroom, event: HookEvent, root: str) -> None:
        self._client = client
        self._event = event
        self._root = root
        self._shown: tuple[InboxFile, ...] = ()

    @property
    def rung(self) -> bool:
        """Whether mail was shown."""
        return bool(self._shown)

    async def ring_for(self, mailbox: str) -> None:
        """Returns once it has rung, for this mailbox or another one.

        Raises:
            MailroomError: the daemon refuses the stream.
            UnrememberedError: it would ring again and again.
        """
        await self._look()  # also while the daemon is down
        async with self._client.subscribe(mailbox, observe=True, caught_up=True) as events:
            async for event in events:
                if self.rung:
                    return
                if isinstance(event, Message):
                    await self._look(event)
                elif isinstance(event, CaughtUp):  # what came before the stream did
                    await self._look()
                if self.rung:
                    return

    async def report_offered(self) -> None:
        """Tells the daemon what was shown, if it is there."""
        with suppress(MailroomError):
            for mailbox in self._event.mailboxes:
                if ids := [letter.id for letter in self._shown if letter.mailbox == mailbox]:
                    await self._client.mark_offered(mailbox, ids, timeout=TIMEOUT_SEC)

    async def _look(self, message: Message | None = None) -> None:
        """Shows what is new; `message` is new, wherever its file is."""
        while not self.rung:
            carried = {} if message is None else {message.id: _letter(message)}
            unread = {letter.id: letter.mailbox for letter in carried.values()}
            unread |= list_unread(self._root, self._event.mailboxes)
            try:
                report = show(self._event, self._root, unread, _write, carried)
            except SessionBusyError:
                await asyncio.sleep(LOOK_AGAIN_SEC)
                continue
            self._shown = report.letters if report else ()
            return


def _letter(message: Message) -> InboxFile:
    return InboxFile(
        id=message.id,
        mailbox=message.recipient,
        sender=message.sender,
        content=message.content,
        type=message.type,
        priority=message.priority.value,
        thread_id=message.thread_id or "",
        in_reply_to=message.in_reply_to or "",
        metadata=message.metadata,
    )


def _write(text: str) -> None:
    """Writes the mail to stderr, past every buffer."""
    left = memoryview(f"{text}\n".encode(errors="backslashreplace"))
    while left:
        left = left[os.write(2, left) :]
