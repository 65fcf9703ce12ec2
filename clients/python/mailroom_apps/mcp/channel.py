"""Channel — rings for new mail in a Claude Code session, by the channel notification. Unofficial: it may change.

Source of the format: Claude Code's channels (research preview): a server with the experimental capability
`claude/channel` may send `notifications/claude/channel` with `content`, and `meta` from string to string, its keys of
letters, digits and underscores. Nobody acknowledges it and it is dropped silently where channels are off.
So it is a doorbell: it says that there is mail and how to read it, and never marks anything as shown.
"""

__all__ = ["CAPABILITIES", "Channel"]

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import mcp_types as types
from mailroom.aio import AsyncMailroom
from mailroom.errors import MailroomError
from mailroom.messages import Message
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult

CAPABILITIES: dict[str, dict[str, Any]] = {"claude/channel": {}}
METHOD = "notifications/claude/channel"
GATHER_SEC = 2.0  # between two rings: what comes in a burst is told at once
RETRY_SEC = 2.0  # while there is no daemon
MAX_NAMED = 5  # senders in one ring

_GREETINGS = frozenset({"initialize", "server/discover", "ping"})

log = logging.getLogger(__name__)

Send = Callable[[types.JSONRPCNotification], Awaitable[None]]


class Channel:
    """The doorbell of one agent on one connection.

    Args:
        client: the daemon's.
        agent: whose mail.
    """

    def __init__(self, client: AsyncMailroom, agent: str) -> None:
        self._client = client
        self._agent = agent
        self._greeted = asyncio.Event()
        self._arrived: list[Message] = []
        self._someone = asyncio.Event()

    async def note_greeting(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Middleware: whoever goes on after the greeting has seen which capabilities there are, and may be rung."""
        result = await call_next(ctx)
        if ctx.method not in _GREETINGS:
            self._greeted.set()
        return result

    async def ring(self, send: Send) -> None:
        """Rings for each arrival until it is cancelled, and once at first for what is unread already."""
        listening = asyncio.create_task(self._listen(), name="channel")
        try:
            await self._greeted.wait()
            while True:
                await self._someone.wait()
                self._someone.clear()
                arrived, self._arrived = self._arrived, []
                await send(_notification(arrived))
                await asyncio.sleep(GATHER_SEC)
        finally:
            listening.cancel()

    async def _listen(self) -> None:
        last_id = None
        while True:
            try:
                async with self._client.subscribe(
                    self._agent, observe=True, after_id=last_id, include_unread=last_id is None
                ) as subscription:
                    async for event in subscription:
                        last_id = event.event_id
                        if isinstance(event, Message):
                            self._arrived.append(event)
                            self._someone.set()
            except MailroomError as error:
                log.info("the channel waits for the mail room: %s", error.message)
            await asyncio.sleep(RETRY_SEC)


def _notification(messages: Sequence[Message]) -> types.JSONRPCNotification:
    params = {"content": _content(messages), "meta": _meta(messages)}
    return types.JSONRPCNotification(jsonrpc="2.0", method=METHOD, params=params)


def _content(messages: Sequence[Message]) -> str:
    senders = list(dict.fromkeys(message.sender for message in messages))
    named = ", ".join(senders[:MAX_NAMED]) + (" and others" if len(senders) > MAX_NAMED else "")
    what = "A message" if len(messages) == 1 else f"{len(messages)} messages"
    return f"{what} from {named}. Read with check_inbox."


def _meta(messages: Sequence[Message]) -> dict[str, str]:
    newest = messages[-1]
    return {
        "count": str(len(messages)),
        "sender": newest.sender,
        "message_id": newest.id,
        "priority": newest.priority.value,
    }
