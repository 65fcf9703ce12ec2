"""Reading — the tools that an agent reads its mail with: check_inbox, wait_for_message, acknowledge_message.

Nothing is marked read before the agent says so. All that is unread is shown at each check, with `shown_before` on what
was shown already; who wants only what is new asks for it, and wait_for_message never shows anything twice.
While the daemon is down, check_inbox reads the inbox files (`inbox_directory`) and says so.
"""

__all__ = ["MAX_WAIT_SEC", "Reading"]

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from mailroom.aio import AsyncMailroom
from mailroom.errors import DeadlineExceeded, MailroomError, NotFound, Unavailable, error_of
from mailroom.messages import Inbox, Message
from pydantic import Field

from mailroom_apps.mcp.inbox_directory import InboxDirectory
from mailroom_apps.mcp.shown import Shown
from mailroom_apps.mcp.views import AcknowledgedView, InboxView, message_view

CHECK_TIMEOUT_SEC = 4.0  # a worker is back within a second: whatever takes longer is down, and the files are there
CALL_TIMEOUT_SEC = 10.0
DEFAULT_LIMIT = 20
DEFAULT_WAIT_SEC = 50.0  # many clients give a tool a minute
MAX_WAIT_SEC = 3600.0
MAX_CHARS = 40_000  # of content in one answer, beyond its first message; clients cut off what is much longer

Limit = Annotated[int, Field(ge=1, le=200)]


class Reading:
    """What an agent reads with.

    Args:
        client: the daemon's.
        shown: what was shown already.
        directory: where the inbox files are.
    """

    def __init__(self, client: AsyncMailroom, shown: Shown, directory: InboxDirectory) -> None:
        self._client = client
        self._shown = shown
        self._directory = directory

    async def check_inbox(self, session_id: str, limit: Limit = DEFAULT_LIMIT, new_only: bool = False) -> InboxView:
        """Returns unread messages, oldest first.

        Args:
            session_id: whose.
            limit: at most so many.
            new_only: leave out what was shown before.
        """
        if new_only:
            await self._shown.settle()
        try:
            found = await self._unread(session_id, limit, new_only=new_only)
        except (Unavailable, DeadlineExceeded) as error:
            return await self._from_files(session_id, limit, error, new_only=new_only)
        messages = [message for message in found if not (new_only and self._shown.has(message))]
        return self._view(session_id, messages, more=found.more)

    async def wait_for_message(
        self, session_id: str, timeout_sec: Annotated[float, Field(ge=0, le=MAX_WAIT_SEC)] = DEFAULT_WAIT_SEC
    ) -> InboxView:
        """Waits until there is a message that was not shown before; returns none when the time is over.

        Args:
            session_id: whose.
            timeout_sec: how long.
        """
        await self._shown.settle()
        until = time.monotonic() + timeout_sec
        found = await self._unread(session_id, DEFAULT_LIMIT, new_only=True)
        while True:
            repeated = [message.id for message in found if self._shown.has(message)]
            if len(repeated) < len(found) or (not found and time.monotonic() >= until):
                messages = [message for message in found if message.id not in repeated]
                return self._view(session_id, messages, more=found.more)
            if repeated:  # the daemon was not told: it would give them again at once
                await self._shown.report(session_id, repeated)
            found = await self._client.check_inbox(
                session_id,
                limit=DEFAULT_LIMIT,
                wait=max(0.0, until - time.monotonic()),
                observe=True,
                unoffered_only=True,
                timeout=CALL_TIMEOUT_SEC,
            )

    async def acknowledge_message(self, session_id: str, message_id: str | list[str]) -> AcknowledgedView:
        """Marks messages read.

        Args:
            session_id: whose.
            message_id: one id, or several.

        Raises:
            NotFound: the mailbox has none of them.
        """
        done = await self._client.acknowledge(session_id, message_id, timeout=CALL_TIMEOUT_SEC)
        if done.unknown_ids and not done.acknowledged_ids:
            raise NotFound(
                f"the mailbox of {session_id} has no message {', '.join(done.unknown_ids)}: use the ids that "
                "check_inbox gives",
                reason="MESSAGE_NOT_FOUND",
            )
        return AcknowledgedView(acknowledged=list(done.acknowledged_ids), unknown=list(done.unknown_ids))

    async def _unread(self, agent: str, limit: int, *, new_only: bool) -> Inbox:
        ask = partial(self._client.check_inbox, agent, limit=limit, unoffered_only=new_only, timeout=CHECK_TIMEOUT_SEC)
        # Who looks on is not seen by senders: an inbox without anything to hand over is therefore checked aloud.
        return await ask(observe=True) or await ask()

    async def _from_files(self, agent: str, limit: int, error: MailroomError, *, new_only: bool) -> InboxView:
        try:
            unread = await asyncio.to_thread(self._directory.read, agent)
        except OSError as fault:
            path = self._directory.path_of(agent)
            sentence = f"{error.message.rstrip('.')}. Its files in {path} can't be read either: {fault}"
            raise error_of(error.code, sentence, reason=error.reason) from error
        messages = [message for message in unread if not (new_only and self._shown.has(message))]
        note = (
            f"read from the files in {self._directory.path_of(agent)}, because {error.message.rstrip('.')}. "
            "Nothing can be sent or acknowledged until then."
        )
        more = len(messages) > limit
        return self._view(agent, messages[:limit], more=more, source="files", note=note)

    def _view(
        self,
        agent: str,
        messages: Sequence[Message],
        *,
        more: bool,
        source: Literal["daemon", "files"] = "daemon",
        note: str | None = None,
    ) -> InboxView:
        kept = _fitting(messages)
        views = [message_view(message, shown_before=self._shown.has(message)) for message in kept]
        self._shown.when_answered(agent, kept)
        return InboxView(agent=agent, messages=views, more=more or len(kept) < len(messages), source=source, note=note)


def _fitting(messages: Sequence[Message]) -> Sequence[Message]:
    """Returns the first messages that fit into one answer; one at least."""
    chars = 0
    for count, message in enumerate(messages):
        chars += len(message.content)
        if count and chars > MAX_CHARS:
            return messages[:count]
    return messages
