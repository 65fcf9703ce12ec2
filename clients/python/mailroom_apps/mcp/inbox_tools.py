"""InboxTools — the tools that an agent reads its mail with: check_inbox, wait_for_message, acknowledge_message.

Nothing is marked read before the agent says so. Each check_inbox returns everything that is unread, with `shown_before`
on messages that were shown already; `new_only` leaves these out, and wait_for_message of one server never shows a
message twice.
While the daemon is down, check_inbox reads the inbox files (`offline_inbox`) and says so.
"""

__all__ = ["MAX_WAIT_SEC", "InboxTools"]

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from mailroom.aio import AsyncMailroom
from mailroom.errors import DeadlineExceeded, MailroomError, NotFound, Unavailable, error_of
from mailroom.messages import Inbox, Message
from pydantic import Field

from mailroom_apps.mcp.answer_size import fit_messages
from mailroom_apps.mcp.offline_inbox import OfflineInbox
from mailroom_apps.mcp.shown_messages import ShownMessages
from mailroom_apps.mcp.views import AcknowledgedView, InboxView
from mailroom_apps.names import is_member

CHECK_TIMEOUT_SEC = 4.0  # a worker restarts within a second; if it takes longer, the daemon is down: read the files
CALL_TIMEOUT_SEC = 10.0
DEFAULT_LIMIT = 20
DEFAULT_WAIT_SEC = 50.0  # many clients give a tool a minute
MAX_WAIT_SEC = 3600.0
MAX_LISTED = 200

Limit = Annotated[int, Field(ge=1, le=MAX_LISTED, description="Default 20, at most 200")]
Wait = Annotated[float, Field(ge=0, le=MAX_WAIT_SEC, description="Default 50, at most 3600")]
NewOnly = Annotated[bool, Field(description="Leave out what was shown before")]
ReadOn = Annotated[str, Field(description="Read on in this message, at offset")]
Offset = Annotated[int, Field(ge=0, description="A message's next_offset")]


class InboxTools:
    """The tools for reading.

    Args:
        client: the client of the daemon.
        shown: the messages that were shown already.
        offline_inbox: the inbox files.
        team: whose members use these tools, too; None: there is none.
    """

    def __init__(
        self, client: AsyncMailroom, shown: ShownMessages, offline_inbox: OfflineInbox, team: str | None = None
    ) -> None:
        self._client = client
        self._team = team
        self._shown = shown
        self._offline_inbox = offline_inbox

    async def check_inbox(
        self,
        session_id: str,
        limit: Limit = DEFAULT_LIMIT,
        new_only: NewOnly = False,
        message_id: ReadOn | None = None,
        offset: Offset = 0,
    ) -> InboxView:
        """Returns unread messages, oldest first; or one message, from an offset in its content.

        Args:
            session_id: whose mail.
            limit: the maximum number of messages.
            new_only: leave out messages that were shown before.
            message_id: only this message.
            offset: where its content goes on, in characters.

        Raises:
            NotFound: the mailbox has no such message.
        """
        if message_id is not None:
            return self._view(session_id, [await self._message(session_id, message_id)], more=False, offset=offset)
        if new_only:
            await self._shown.drain_reports()
        try:
            inbox = await self._unread(session_id, limit, new_only=new_only)
        except (Unavailable, DeadlineExceeded) as error:
            return await self._from_files(session_id, limit, error, new_only=new_only)
        messages = [message for message in inbox if not new_only or self._shown.is_new(message)]
        return self._view(session_id, messages, more=inbox.more)

    async def wait_for_message(self, session_id: str, timeout_sec: Wait = DEFAULT_WAIT_SEC) -> InboxView:
        """Waits until there is a message that was not shown before; returns none after the timeout.

        Args:
            session_id: whose mail.
            timeout_sec: how long to wait.
        """
        await self._shown.drain_reports()
        deadline = time.monotonic() + timeout_sec
        inbox = await self._unread(session_id, DEFAULT_LIMIT, new_only=True)
        while True:
            messages = [message for message in inbox if self._shown.is_new(message)]
            if messages or (not inbox and time.monotonic() >= deadline):
                return self._view(session_id, messages, more=inbox.more)
            if any(map(self._shown.is_claimed, inbox)):
                if not await self._shown.wait_for_claim_end(deadline - time.monotonic()):
                    return self._view(session_id, (), more=False)
            elif inbox:  # all were shown, and the daemon does not know: it would return them again at once
                await self._shown.report(session_id, [message.id for message in inbox])
            inbox = await self._client.check_inbox(
                session_id,
                limit=DEFAULT_LIMIT,
                wait=max(0.0, deadline - time.monotonic()),
                observe=True,
                unoffered_only=True,
                timeout=CALL_TIMEOUT_SEC,
            )

    async def acknowledge_message(self, session_id: str, message_id: str | list[str]) -> AcknowledgedView:
        """Marks messages read.

        Args:
            session_id: whose mail.
            message_id: one id, or several.

        Raises:
            NotFound: the mailbox has none of them.
        """
        result = await self._client.acknowledge(session_id, message_id, timeout=CALL_TIMEOUT_SEC)
        of_team = [each for each in result.unknown_ids if await self._acknowledge_for_team(each)]
        acknowledged = [*result.acknowledged_ids, *of_team]
        unknown = [each for each in result.unknown_ids if each not in of_team]
        if unknown and not acknowledged:
            raise NotFound(
                f"the mailbox of {session_id} has no message {', '.join(unknown)}: use the ids that "
                "check_inbox returns",
                reason="MESSAGE_NOT_FOUND",
            )
        return AcknowledgedView(acknowledged=acknowledged, unknown=unknown)

    async def _acknowledge_for_team(self, message_id: str) -> bool:
        """Marks a message for a member of the agent's team read; returns whether it is one."""
        if self._team is None:
            return False
        try:
            recipient = (await self._client.get_message(message_id, timeout=CALL_TIMEOUT_SEC)).message.recipient
        except NotFound:
            return False
        if not is_member(recipient, self._team):
            return False
        done = await self._client.acknowledge(recipient, message_id, timeout=CALL_TIMEOUT_SEC)
        return bool(done.acknowledged_ids)

    async def _message(self, agent: str, message_id: str) -> Message:
        """Returns a message of the agent's mailbox, or of one that is behind its name."""
        try:
            message = (await self._client.get_message(message_id, timeout=CHECK_TIMEOUT_SEC)).message
            unread = await self._unread(agent, MAX_LISTED, new_only=False) if message.recipient != agent else ()
        except (Unavailable, DeadlineExceeded):
            message = None
            unread = (await asyncio.to_thread(self._offline_inbox.read, agent, MAX_LISTED)).messages
        found = [each for each in unread if each.id == message_id]
        if message is not None and message.recipient == agent:
            return message
        if not found:
            raise NotFound(
                f"the mailbox of {agent} has no message {message_id}: use an id that check_inbox returns",
                reason="MESSAGE_NOT_FOUND",
            )
        return found[0]

    async def _unread(self, agent: str, limit: int, *, new_only: bool) -> Inbox:
        check = partial(
            self._client.check_inbox, agent, limit=limit, unoffered_only=new_only, timeout=CHECK_TIMEOUT_SEC
        )
        # An observing check does not count as presence of the agent. So an empty inbox is checked once more without
        # `observe`: it offers nothing, and senders see that the agent is alive.
        return await check(observe=True) or await check()

    async def _from_files(self, agent: str, limit: int, error: MailroomError, *, new_only: bool) -> InboxView:
        path = self._offline_inbox.path_of(agent)
        try:
            is_wanted = self._shown.is_new if new_only else None
            inbox = await asyncio.to_thread(self._offline_inbox.read, agent, limit, is_wanted)
        except OSError as cause:
            sentence = f"{error.message.rstrip('.')}. The files in {path} cannot be read either: {cause}"
            raise error_of(error.code, sentence, reason=error.reason) from error
        note = (
            f"read from the files in {path}, because {error.message.rstrip('.')}. "
            "Until then nothing can be sent or acknowledged."
        )
        return self._view(agent, inbox.messages, more=inbox.more, source="files", note=note)

    def _view(
        self,
        agent: str,
        messages: Sequence[Message],
        *,
        more: bool,
        source: Literal["daemon", "files"] = "daemon",
        note: str | None = None,
        offset: int = 0,
    ) -> InboxView:
        fitted = fit_messages(messages, note, self._shown.was_shown, offset)
        self._shown.record_after_answer(agent, fitted.whole)
        more = more or len(fitted.views) < len(messages)
        return InboxView(agent=agent, messages=fitted.views, more=more, source=source, note=note)
