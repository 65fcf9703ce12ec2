"""Toolbox — the tools as MCP has them: described, checked, called; failures become sentences.

Owns the descriptions, which every agent pays for in its context, and the agent's own name: where it is known, the
parameter for it is taken out of a tool's schema, and whatever a model gives there is overruled.
Not here: what the tools do (`reading`, `writing`, `looking_up`).
"""

__all__ = ["Toolbox"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mcp_types as types
import orjson
from mailroom.errors import InvalidArgument, MailroomError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import BaseModel, ValidationError

from mailroom_apps.mcp.looking_up import LookingUp
from mailroom_apps.mcp.reading import Reading
from mailroom_apps.mcp.schemas import compact
from mailroom_apps.mcp.writing import Writing


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is said of one tool.

    Attributes:
        own: its parameter that names the agent itself, or None.
        reads: it changes nothing that another would notice.
        repeatable: calling it twice is the same as calling it once.
    """

    description: str
    own: str | None = None
    reads: bool = False
    repeatable: bool = False


_KINDS = {
    "check_inbox": _Kind("Your unread mail, oldest first. Marks nothing read.", "session_id", reads=True),
    "wait_for_message": _Kind("Wait for mail you have not been shown yet.", "session_id", reads=True),
    "acknowledge_message": _Kind("Mark mail read, once you have dealt with it.", "session_id", repeatable=True),
    "send_message": _Kind("Send a message to an agent.", "from_session_id"),
    "reply": _Kind("Answer a message, in its thread. Does not mark it read.", "session_id"),
    "broadcast": _Kind("Send a copy to each of several agents.", "from_session_id"),
    "list_agents": _Kind("Who has been here, and is alive.", reads=True),
    "message_status": _Kind("How far a message has come: stored, filed, offered, read, expired.", reads=True),
}


class Toolbox:
    """All tools.

    Args:
        reading: the tools for reading.
        writing: the tools for sending.
        looking_up: the tools for looking up.
        agent: the agent whose tools they are, or None: then each call says.
    """

    def __init__(self, reading: Reading, writing: Writing, looking_up: LookingUp, agent: str | None) -> None:
        functions: Sequence[Callable[..., Any]] = (
            reading.check_inbox,
            reading.wait_for_message,
            reading.acknowledge_message,
            writing.send_message,
            writing.reply,
            writing.broadcast,
            looking_up.list_agents,
            looking_up.message_status,
        )
        self._agent = agent
        self._tools = {
            function.__name__: Tool.from_function(function, description=_KINDS[function.__name__].description)
            for function in functions
        }

    def listed(self) -> list[types.Tool]:
        """Returns the tools with their schemas."""
        return [self._listed(tool) for tool in self._tools.values()]

    async def call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """Calls a tool. What goes wrong is a result as well, so that a model can read it and act on it."""
        tool = self._tools.get(name)
        if tool is None:
            return _failure(f"there is no tool {name!r}: {', '.join(self._tools)}")
        own = _KINDS[name].own
        if own and self._agent:
            arguments = {**arguments, own: self._agent}
        try:
            return _success(await tool.run(arguments, Context()))
        except ToolError as error:
            sentence = _sentence(error.__cause__, own)
            if sentence is None:
                raise
            return _failure(sentence)

    def _listed(self, tool: Tool) -> types.Tool:
        kind = _KINDS[tool.name]
        return types.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=compact(self._without_own_name(tool.parameters, kind.own)),
            output_schema=compact(tool.output_schema) if tool.output_schema else None,
            annotations=types.ToolAnnotations(
                read_only_hint=kind.reads,
                destructive_hint=False,
                idempotent_hint=kind.reads or kind.repeatable,
                open_world_hint=False,
            ),
        )

    def _without_own_name(self, schema: dict[str, Any], own: str | None) -> dict[str, Any]:
        if own is None or self._agent is None:
            return schema
        properties = {name: value for name, value in schema["properties"].items() if name != own}
        required = [name for name in schema["required"] if name != own]
        return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _success(view: BaseModel) -> types.CallToolResult:
    body = view.model_dump(mode="json", exclude_none=True)
    # Clients of old revisions and most models see the text alone.
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=orjson.dumps(body).decode())], structured_content=body
    )


def _failure(sentence: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=sentence)], is_error=True)


def _sentence(cause: BaseException | None, own: str | None) -> str | None:
    """Returns what to tell of a failure; None for one that nobody foresaw."""
    if isinstance(cause, ValidationError):
        faults = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in cause.errors()]
        sentence = "; ".join(f"{field}: {message}" for field, message in faults)
        if any(field == own for field, _ in faults):
            sentence += ". It is your own name; where MAILROOM_AGENT is set for this server, it is not needed"
        return f"{sentence} (ARGUMENTS_INVALID)"
    if isinstance(cause, MailroomError):
        field = f"{cause.field}: " if isinstance(cause, InvalidArgument) and cause.field else ""
        start = "" if cause.message.startswith(field) else field
        return f"{start}{cause.message} ({cause.reason or cause.code})"
    return None
