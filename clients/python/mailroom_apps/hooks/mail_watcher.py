"""MailWatcher — listens for one session, and shows it the mail that arrives.

An event on the stream only says "look again". The message in it is used if its file does not exist yet and the daemon
says that it is still unread: this process may have been stopped, or the stream interrupted, since it was sent.
The stream counts as presence: the agent is idle, and mail wakes it.
Messages that arrive together are shown together. A message that was offered already has perhaps just been shown to
this very session by a tool, whose hook will say so: it gets a few seconds for that.
"""

__all__ = ["MailWatcher"]

import asyncio
import os
import time
from collections.abc import Callable
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
from mailroom_apps.hooks.dialect import Dialect
from mailroom_apps.hooks.event import HookEvent
from mailroom_apps.hooks.report import Report
from mailroom_apps.hooks.session_state import SessionState
from mailroom_apps.hooks.session_update import SessionBusyError
from mailroom_apps.hooks.unseen import find_unseen

GATHER_SEC = 1.0  # after the first message, for those that are sent with it
HOOK_SEC = 5.0  # for the hook after a tool, on a busy machine
RETRY_SEC = 0.25  # while another process shows mail to the session, which takes milliseconds, or the daemon is down
MAX_UNOFFERED = 200  # looked at; a larger burst was not shown by one tool

_OVER = frozenset((DeliveryState.READ, DeliveryState.EXPIRED, DeliveryState.RETURNED))


class MailWatcher:
    """Watches all mailboxes of a session, and shows mail once.

    Args:
        client: a client of the daemon.
        event: which session.
        root: the directory that holds inbox/.
        dialect: how much may be shown.
        write: writes the mail, and returns when it has left this process.
    """

    def __init__(
        self,
        client: AsyncMailroom,
        event: HookEvent,
        root: str,
        dialect: Dialect,
        write: "Callable[[str], None] | None" = None,
    ) -> None:
        self._client = client
        self._event = event
        self._root = root
        self._dialect = dialect
        self._write = write or _write_to_stderr
        self._shown: Report | None = None
        self._streamed: dict[str, Message] = {}  # by id: messages whose files may not exist yet
        self._may_have_mail = asyncio.Event()

    @property
    def has_shown_mail(self) -> bool:
        """Whether mail was shown."""
        return self._shown is not None

    async def watch(self) -> None:
        """Returns once mail was shown.

        Raises:
            MailroomError: the daemon refuses a stream.
            StateNotSavedError: the mail would be shown again and again.
        """
        listeners = [asyncio.create_task(self._listen(mailbox)) for mailbox in self._event.mailboxes]
        showing = asyncio.create_task(self._show_when_there_is_mail())
        try:
            done, _ = await asyncio.wait((showing, *listeners), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises the error that has ended it
        finally:
            for task in (showing, *listeners):
                task.cancel()
            await asyncio.gather(showing, *listeners, return_exceptions=True)

    async def report_shown(self) -> None:
        """Tells the daemon what was shown whole, if it is reachable, and renews the session's alias if its mail was."""
        if self._shown is None:
            return
        with suppress(MailroomError):
            for mailbox in self._event.mailboxes:
                if ids := [message.id for message in self._shown.whole if message.mailbox == mailbox]:
                    await self._client.mark_offered(mailbox, ids, timeout=TIMEOUT_SEC)
            if needs_alias(self._event, self._shown.messages):
                await self._client.set_alias(self._event.agent, self._event.session, timeout=TIMEOUT_SEC)

    async def _listen(self, mailbox: str) -> None:
        async with self._client.subscribe(
            mailbox, observe=True, present=mailbox == self._event.agent, caught_up=True
        ) as events:
            async for event in events:
                if isinstance(event, Message):
                    self._streamed[event.id] = event
                if isinstance(event, Message | CaughtUp):  # caught up: mail may have arrived before the stream was open
                    self._may_have_mail.set()

    async def _show_when_there_is_mail(self) -> None:
        passed_over = set[str]()  # ids of files that hold no message to show; the next event looks at them again
        while not self._shown:
            if self._unseen() - passed_over:
                await asyncio.sleep(GATHER_SEC)
                await self._wait_for_hook()
                passed_over = self._unseen()
                await self._show()
            else:
                await self._may_have_mail.wait()
                self._may_have_mail.clear()
                passed_over.clear()

    def _unseen(self) -> set[str]:
        """Returns the ids of messages that the session has not seen, as far as their files and the stream tell."""
        unread = list_unread(self._root, self._event.mailboxes)
        unread |= dict.fromkeys(self._streamed, "")
        return set(find_unseen(self._event, unread, SessionState.read(self._event.state_key)))

    async def _wait_for_hook(self) -> None:
        """Waits while unseen messages were offered already, by a tool of this session or elsewhere."""
        deadline = time.monotonic() + HOOK_SEC
        while time.monotonic() < deadline:
            unseen, unoffered = self._unseen(), await self._unoffered()
            if unoffered is None or unseen <= unoffered or len(unseen) > MAX_UNOFFERED:
                return
            await asyncio.sleep(RETRY_SEC)

    async def _unoffered(self) -> set[str] | None:
        """Returns the ids of the messages that nobody was offered; None while the daemon is down."""
        unoffered: set[str] = set()
        try:
            for mailbox in self._event.mailboxes:
                unoffered.update(
                    message.id
                    for message in await self._client.check_inbox(
                        mailbox,
                        limit=MAX_UNOFFERED,
                        observe=True,
                        unoffered_only=True,
                        newest_first=True,
                        timeout=TIMEOUT_SEC,
                    )
                )
        except MailroomError:
            return None
        return unoffered

    async def _show(self) -> None:
        """Shows what the session has not seen, with streamed messages that are unread but have no file."""
        received = {file.id: file for file in [await self._file_of(each) for each in self._pop_streamed()] if file}
        unread = {message_id: file.mailbox for message_id, file in received.items()}
        unread |= list_unread(self._root, self._event.mailboxes)
        while True:
            try:
                report = show_mail(self._event, self._root, unread, self._write, received, dialect=self._dialect)
            except SessionBusyError:
                await asyncio.sleep(RETRY_SEC)
                continue
            self._shown = report
            return

    def _pop_streamed(self) -> list[Message]:
        streamed = list(self._streamed.values())
        self._streamed.clear()
        return streamed

    async def _file_of(self, message: Message) -> InboxFile | None:
        """Returns a message as its file will be, if there is none yet and the message is unread all the same."""
        while message.id not in list_unread(self._root, self._event.mailboxes):
            try:
                tracked = await self._client.get_message(message.id, timeout=TIMEOUT_SEC)
            except (Unavailable, DeadlineExceeded):
                await asyncio.sleep(RETRY_SEC)
            except MailroomError:  # it was cleared
                return None
            else:
                return None if tracked.message.state in _OVER else file_of_message(message)
        return None


def _write_to_stderr(text: str) -> None:
    """Writes the mail to stderr, bypassing every buffer."""
    rest = memoryview(f"{text}\n".encode(errors="backslashreplace"))
    while rest:
        rest = rest[os.write(2, rest) :]
