"""Resources — mail as resources to read and to subscribe to: `mailroom://inbox/{agent}` and `mailroom://message/{id}`.

A host may read a resource without any model seeing it. So a read only observes: no message counts as shown, and no
agent as alive. A server that is bound to an agent serves only this agent's inbox, and messages to or from it.
"""

__all__ = ["InboxUri", "MessageUri", "Resources", "check_access", "parse_uri"]

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

import mcp_types as types
import orjson
from mailroom.aio import AsyncMailroom
from mailroom.errors import InvalidArgument, MailroomError, NotFound
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from mailroom_apps.mcp.offline_inbox import check_name
from mailroom_apps.mcp.shown_messages import ShownMessages
from mailroom_apps.mcp.views import InboxView, MessageView, StatusView, body_of, message_view, status_view
from mailroom_apps.printable import printable

JSON = "application/json"
READ_TIMEOUT_SEC = 10.0
READ_LIMIT = 50


@dataclass(frozen=True, slots=True)
class InboxUri:
    """Names the unread mail of an agent."""

    agent: str

    def __str__(self) -> str:
        return f"mailroom://inbox/{quote(self.agent, safe='@')}"


@dataclass(frozen=True, slots=True)
class MessageUri:
    """Names one message."""

    message_id: str

    def __str__(self) -> str:
        return f"mailroom://message/{self.message_id}"


class _TrackedView(BaseModel):
    message: MessageView
    status: StatusView


def parse_uri(uri: str) -> InboxUri | MessageUri:
    """Returns the resource that a URI names.

    Raises:
        MCPError: Mailroom has no such resource.
    """
    parts = urlsplit(uri)
    name = unquote(parts.path.removeprefix("/"))
    match parts.scheme, parts.netloc:
        case "mailroom", "inbox":
            try:
                return InboxUri(check_name(name, uri))
            except InvalidArgument as error:
                raise MCPError(types.INVALID_PARAMS, error.message, {"uri": uri}) from error
        case "mailroom", "message" if name:
            return MessageUri(name)
        case _:
            sentence = f"{uri!r} is not a Mailroom resource: use mailroom://inbox/AGENT or mailroom://message/ID"
            raise MCPError(types.INVALID_PARAMS, sentence, {"uri": uri})


def check_access(agent: str | None, names: Collection[str], uri: str) -> None:
    """Checks that the server's agent may see a resource.

    Args:
        agent: whose server it is; None: a server for all agents.
        names: the agents whose resource it is.
        uri: for the error.

    Raises:
        MCPError: the resource belongs to other agents.
    """
    if agent is not None and agent not in names:
        raise MCPError(types.INVALID_PARAMS, f"this server serves only the mail of {agent}", {"uri": uri})


class Resources:
    """The resources of one server.

    Args:
        client: the client of the daemon.
        shown: the messages that were shown already.
        agent: whose server it is; None: a server for all agents.
    """

    def __init__(self, client: AsyncMailroom, shown: ShownMessages, agent: str | None) -> None:
        self._client = client
        self._shown = shown
        self._agent = agent

    def list_resources(self) -> list[types.Resource]:
        """Returns the inbox of the server's agent, if it has one."""
        if self._agent is None:
            return []
        uri = str(InboxUri(self._agent))
        return [types.Resource(uri=uri, name="inbox", description=f"Unread mail of {self._agent}", mime_type=JSON)]

    def list_templates(self) -> list[types.ResourceTemplate]:
        """Returns the URI templates of all resources."""
        message = types.ResourceTemplate(
            uri_template="mailroom://message/{id}",
            name="message",
            description="One message and its delivery state",
            mime_type=JSON,
        )
        if self._agent is not None:
            return [message]
        inbox = types.ResourceTemplate(
            uri_template="mailroom://inbox/{agent}",
            name="inbox of an agent",
            description="Unread mail of an agent",
            mime_type=JSON,
        )
        return [inbox, message]

    async def read(self, uri: str) -> types.ReadResourceResult:
        """Returns a resource's content.

        Raises:
            MCPError: it does not exist, or the daemon does not answer.
        """
        target = parse_uri(uri)
        try:
            view = await (self._inbox(target) if isinstance(target, InboxUri) else self._message(target))
        except MailroomError as error:
            code = types.INVALID_PARAMS if isinstance(error, InvalidArgument | NotFound) else types.INTERNAL_ERROR
            sentence = printable(f"{error.message} ({error.reason or error.code})")
            raise MCPError(code, sentence, {"uri": uri}) from error
        text = orjson.dumps(body_of(view)).decode()
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=uri, text=text, mime_type=JSON)], ttl_ms=0, cache_scope="private"
        )

    async def _inbox(self, target: InboxUri) -> InboxView:
        check_access(self._agent, (target.agent,), str(target))
        inbox = await self._client.check_inbox(target.agent, limit=READ_LIMIT, observe=True, timeout=READ_TIMEOUT_SEC)
        views = [message_view(message, shown_before=self._shown.was_shown(message)) for message in inbox]
        return InboxView(agent=target.agent, messages=views, more=inbox.more, source="daemon")

    async def _message(self, target: MessageUri) -> _TrackedView:
        tracked = await self._client.get_message(target.message_id, timeout=READ_TIMEOUT_SEC)
        check_access(self._agent, (tracked.message.sender, tracked.message.recipient), str(target))
        view = message_view(tracked.message, shown_before=self._shown.was_shown(tracked.message))
        return _TrackedView(message=view, status=status_view(tracked))
