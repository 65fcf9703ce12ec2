"""Channel — announces new mail in a Claude Code session by the channel notification. Unofficial: it may change.

Source of the format: Claude Code's channels (research preview): a server with the experimental capability
`claude/channel` may send `notifications/claude/channel` with `content`, and `meta` from string to string, its keys of
letters, digits and underscores. Clients do not acknowledge it and silently drop it where channels are off.
So it only says that there is mail and how to read it, and never marks a message as shown.
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

from mailroom_apps.printable import printable_line

CAPABILITIES: dict[str, dict[str, Any]] = {"claude/channel": {}}
METHOD = "notifications/claude/channel"
BURST_SEC = 2.0  # between two notifications: messages that arrive together are announced together
RETRY_SEC = 2.0  # while there is no daemon
MAX_SENDERS = 5  # named in one notification

_HANDSHAKE = frozenset({"initialize", "server/discover", "ping"})

log = logging.getLogger(__name__)

Send = Callable[[types.JSONRPCNotification], Awaitable[None]]


class Channel:
    """The notifications for one agent on one connection.

    Args:
        client: the client of the daemon.
        agent: whose mail.
    """

    def __init__(self, client: AsyncMailroom, agent: str) -> None:
        self._client = client
        self._agent = agent
        self._ready = asyncio.Event()
        self._arrived: list[Message] = []
        self._has_mail = asyncio.Event()

    async def await_handshake(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Middleware: a client that goes on after the handshake knows the capabilities and may be notified."""
        result = await call_next(ctx)
        if ctx.method not in _HANDSHAKE:
            self._ready.set()
        return result

    async def notify_forever(self, send: Send) -> None:
        """Announces mail until it is cancelled: first what is unread already, then each arrival."""
        listener = asyncio.create_task(self._listen(), name="channel")
        try:
            await self._ready.wait()
            while True:
                await self._has_mail.wait()
                self._has_mail.clear()
                arrived, self._arrived = self._arrived, []
                await send(_notification(arrived))
                await asyncio.sleep(BURST_SEC)
        finally:
            listener.cancel()

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
                            self._has_mail.set()
            except MailroomError as error:
                log.info("channel interrupted: %s", error.message)
            await asyncio.sleep(RETRY_SEC)


def _notification(messages: Sequence[Message]) -> types.JSONRPCNotification:
    params = {"content": _content(messages), "meta": _meta(messages)}
    return types.JSONRPCNotification(jsonrpc="2.0", method=METHOD, params=params)


def _content(messages: Sequence[Message]) -> str:
    senders = list(dict.fromkeys(map(_sender, messages)))
    named = ", ".join(senders[:MAX_SENDERS]) + (" and others" if len(senders) > MAX_SENDERS else "")
    subject = "A message" if len(messages) == 1 else f"{len(messages)} messages"
    return f"{subject} from {named}. Read with check_inbox."


def _sender(message: Message) -> str:
    return printable_line(message.sender) + ("" if message.sender_verified else " (unverified)")


def _meta(messages: Sequence[Message]) -> dict[str, str]:
    newest = messages[-1]
    return {
        "count": str(len(messages)),
        "sender": printable_line(newest.sender),
        "sender_verified": "true" if newest.sender_verified else "false",
        "message_id": newest.id,
        "priority": newest.priority.value,
    }
