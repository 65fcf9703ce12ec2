"""Toolbox — the tools as MCP clients see them: described, validated, called; failures become sentences.

Owns the descriptions, which are part of every agent's context, and the agent's own name: if the server knows it, the
parameter for it is removed from the schemas, and a value that a model passes anyway is overruled.
Not here: what the tools do (`inbox_tools`, `send_tools`, `lookup_tools`).
"""

__all__ = ["Toolbox"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mailroom.errors import InvalidArgument, MailroomError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import BaseModel, ValidationError

from mailroom_apps.mcp.answer_size import encode
from mailroom_apps.mcp.inbox_tools import InboxTools
from mailroom_apps.mcp.lookup_tools import LookupTools
from mailroom_apps.mcp.schemas import compact
from mailroom_apps.mcp.send_tools import SendTools
from mailroom_apps.mcp.views import body_of
from mailroom_apps.printable import printable


@dataclass(frozen=True, slots=True)
class _Spec:
    """How one tool is described.

    Attributes:
        own: its parameter that names the agent itself, or None.
        read_only: it changes nothing that others would notice.
        idempotent: calling it twice has the effect of calling it once.
    """

    description: str
    own: str | None = None
    read_only: bool = False
    idempotent: bool = False


_SPECS = {
    "check_inbox": _Spec(
        "Your unread mail, oldest first. Marks nothing read. If `more`: repeat with new_only. A long message has "
        "next_offset: read on with message_id and offset.",
        "session_id",
        read_only=True,
    ),
    "wait_for_message": _Spec("Wait for mail that you have not been shown yet.", "session_id", read_only=True),
    "acknowledge_message": _Spec("Mark mail read, once you have dealt with it.", "session_id", idempotent=True),
    "send_message": _Spec("Send a message by Mailroom to an agent of any program.", "from_session_id"),
    "reply": _Spec("Answer a message, in its thread. Does not mark it read.", "session_id"),
    "broadcast": _Spec("Send a copy to each of several agents.", "from_session_id"),
    "list_agents": _Spec(
        "Who else is working here: the names of agents in Mailroom, and who is alive.", read_only=True
    ),
    "message_status": _Spec("Delivery state: stored, filed, offered, read, expired or returned.", read_only=True),
}


class Toolbox:
    """All tools.

    Args:
        inbox: the tools for reading.
        sending: the tools for sending.
        lookup: the tools for looking up.
        agent: whose tools they are; None: each call names its agent.
    """

    def __init__(self, inbox: InboxTools, sending: SendTools, lookup: LookupTools, agent: str | None) -> None:
        functions: Sequence[Callable[..., Any]] = (
            inbox.check_inbox,
            inbox.wait_for_message,
            inbox.acknowledge_message,
            sending.send_message,
            sending.reply,
            sending.broadcast,
            lookup.list_agents,
            lookup.message_status,
        )
        self._agent = agent
        self._tools = {
            function.__name__: Tool.from_function(function, description=_SPECS[function.__name__].description)
            for function in functions
        }

    def list_tools(self, *, callers_are_named: bool = False) -> list[types.Tool]:
        """Returns the tools with their schemas; without the parameter for a name that the client gives by itself."""
        is_known = self._agent is not None or callers_are_named
        return [self._describe(tool, is_known=is_known) for tool in self._tools.values()]

    async def call(self, name: str, arguments: dict[str, Any], caller: str | None = None) -> types.CallToolResult:
        """Calls a tool. A failure is a result, too, so that a model can read it and act on it.

        Args:
            name: the tool.
            arguments: by name; null counts as absent.
            caller: who calls, if the server has no agent and the client says it.
        """
        tool = self._tools.get(name)
        if tool is None:
            return _failure(f"there is no tool {name!r}; the tools are {', '.join(self._tools)}")
        own = _SPECS[name].own
        arguments = {key: value for key, value in arguments.items() if value is not None}
        if own and self._agent:
            arguments[own] = self._agent
        elif own and caller:
            arguments.setdefault(own, caller)
        try:
            return _success(await tool.run(arguments, Context()))
        except ToolError as error:
            sentence = _sentence(error.__cause__, own)
            if sentence is None:
                raise
            return _failure(sentence)

    def _describe(self, tool: Tool, *, is_known: bool) -> types.Tool:
        spec = _SPECS[tool.name]
        return types.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=compact(_without(tool.parameters, spec.own if is_known else None)),
            output_schema=compact(tool.output_schema) if tool.output_schema else None,
            annotations=types.ToolAnnotations(
                read_only_hint=spec.read_only,
                destructive_hint=False,
                idempotent_hint=spec.read_only or spec.idempotent,
                open_world_hint=False,
            ),
        )


def _without(schema: dict[str, Any], own: str | None) -> dict[str, Any]:
    """Returns a schema without the parameter for the agent's own name."""
    if own is None:
        return schema
    properties = {name: value for name, value in schema["properties"].items() if name != own}
    required = [name for name in schema["required"] if name != own]
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _success(view: BaseModel) -> types.CallToolResult:
    body = body_of(view)
    # Clients of old revisions and most models see only the text.
    return types.CallToolResult(content=[types.TextContent(type="text", text=encode(body))], structured_content=body)


def _failure(sentence: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=printable(sentence))], is_error=True)


def _sentence(cause: BaseException | None, own: str | None) -> str | None:
    """Returns the sentence for a failure; None if the failure is unexpected."""
    if isinstance(cause, ValidationError):
        errors = [(".".join(map(str, error["loc"])), error["msg"]) for error in cause.errors()]
        sentence = "; ".join(f"{field}: {message}" for field, message in errors)
        if any(field == own for field, _ in errors):
            sentence += ". It is your own name; set MAILROOM_AGENT for this server, and you need not pass it"
        return f"{sentence} (ARGUMENTS_INVALID)"
    if isinstance(cause, MailroomError):
        field = f"{cause.field}: " if isinstance(cause, InvalidArgument) and cause.field else ""
        prefix = "" if cause.message.startswith(field) else field
        return f"{prefix}{cause.message} ({cause.reason or cause.code})"
    return None
