"""Subscriptions — notifies clients when a resource that they subscribed to has changed.

Holds one `AgentStream` per agent, for as long as a client watches one of its resources. The two generations of the
protocol subscribe in different ways: with `resources/subscribe` on a lasting connection, and with
`subscriptions/listen` streams, which the SDK serves from a bus.
Invariant: once a subscription is confirmed, no change is missed.
"""

__all__ = ["Subscriptions"]

import asyncio
from typing import Any, Self

import mcp_types as types
from mailroom.aio import AsyncMailroom
from mailroom.errors import MailroomError
from mcp.server import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp.shared.exceptions import MCPError

from mailroom_apps.mcp.agent_stream import AgentStream
from mailroom_apps.mcp.resources import InboxUri, check_access, parse_uri
from mailroom_apps.printable import printable

MAX_SUBSCRIPTIONS = 1024  # the oldest is dropped: a closed HTTP connection is not reported
LOOK_UP_TIMEOUT_SEC = 5.0

Context = ServerRequestContext[Any, Any]
_Key = tuple[str, str]  # of a subscription: URI and connection


class Subscriptions:
    """The resource subscriptions of all connections. Use it in an `async with`, which ends all streams.

    Args:
        client: the client of the daemon.
        agent: whose server it is; None: a server for all agents.
    """

    def __init__(self, client: AsyncMailroom, agent: str | None) -> None:
        self._client = client
        self._agent = agent
        self._bus = InMemorySubscriptionBus()
        self._listening = ListenHandler(self._bus)
        self._subscriptions: dict[_Key, tuple[ServerSession, str]] = {}  # with the agent whose stream it needs
        self._streams: dict[str, AgentStream] = {}

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Serves resources/subscribe."""
        key = (params.uri, _connection(context))
        agent = await self._agent_of(params.uri)
        self._remove(key)
        self._subscriptions[key] = (context.session, agent)
        stream = self._acquire(agent)
        if len(self._subscriptions) > MAX_SUBSCRIPTIONS:
            self._remove(next(iter(self._subscriptions)))
        await stream.wait_live()
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Serves resources/unsubscribe."""
        self._remove((params.uri, _connection(context)))
        return types.EmptyResult()

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serves subscriptions/listen, until the client ends it."""
        agents = [await self._agent_of(uri) for uri in params.notifications.resource_subscriptions or ()]
        streams = [self._acquire(agent) for agent in agents]
        try:
            for stream in streams:
                await stream.wait_live()
            return await self._listening(context, params)
        finally:
            for agent in agents:
                self._release(agent)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if ending := [stream.cancel() for stream in self._streams.values()]:
            await asyncio.wait(ending)

    async def _agent_of(self, uri: str) -> str:
        """Returns the agent whose stream reports changes of a resource; for a message, that is its sender.

        Raises:
            MCPError: there is no such resource, it is another agent's, or the daemon does not answer.
        """
        target = parse_uri(uri)
        if isinstance(target, InboxUri):
            check_access(self._agent, (target.agent,), uri)
            return target.agent
        try:
            message = (await self._client.get_message(target.message_id, timeout=LOOK_UP_TIMEOUT_SEC)).message
            check_access(self._agent, (message.sender, message.recipient), uri)
            return message.sender
        except MailroomError as error:
            sentence = printable(f"{error.message} ({error.reason or error.code})")
            raise MCPError(types.INVALID_PARAMS, sentence, {"uri": uri}) from error

    def _acquire(self, agent: str) -> AgentStream:
        if agent not in self._streams:
            self._streams[agent] = AgentStream(self._client, agent, self._publish)
        self._streams[agent].watchers += 1
        return self._streams[agent]

    def _release(self, agent: str) -> None:
        stream = self._streams[agent]
        stream.watchers -= 1
        if not stream.watchers:
            self._streams.pop(agent).cancel()

    def _remove(self, key: _Key) -> None:
        if subscription := self._subscriptions.pop(key, None):
            self._release(subscription[1])

    async def _publish(self, uri: str) -> None:
        await self._bus.publish(ResourceUpdated(uri=uri))
        for (subscribed, _), (session, _) in list(self._subscriptions.items()):
            if subscribed == uri:
                await session.send_resource_updated(uri)


def _connection(context: Context) -> str:
    """Returns the connection's key: the session id of streamable HTTP; over stdio there is only one."""
    return context.request.headers.get("mcp-session-id", "") if context.request is not None else ""
