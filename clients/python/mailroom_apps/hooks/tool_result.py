"""ToolResult — the messages that tools have just shown, read from their structured results.

Source of the format: the agent programs' `tool_response`. For an MCP tool it is the result's content blocks, its
structured content, or that as text; Gemini wraps the blocks into `llmContent`. For a shell it is an object with
`stdout`. `mailroom inbox --json` prints one object per message.
Invariant: text that a sender wrote is never parsed, so a message cannot pass another one off as shown.
"""

__all__ = ["messages_in"]

import json
from collections.abc import Iterator
from typing import Any, cast


def messages_in(responses: list[object]) -> dict[str, str]:
    """Returns the ids and contents of the messages in the results of tools."""
    messages: dict[str, str] = {}
    for entry in (entry for response in responses for entry in _entries(response)):
        message_id, content = entry.get("id"), entry.get("content")
        if isinstance(message_id, str) and isinstance(content, str):
            messages[message_id] = content
    return messages


def _entries(response: object) -> Iterator[dict[str, Any]]:
    if isinstance(response, str):
        yield from _listed(_parse(response))
    elif isinstance(response, list):
        for block in _objects_in(cast("list[object]", response)):
            text = block.get("text")
            yield from _listed(_parse(text) if isinstance(text, str) else block)
    elif isinstance(response, dict):
        fields = cast("dict[str, object]", response)
        parts = [fields[key] for key in ("structuredContent", "stdout", "llmContent") if key in fields]
        if isinstance(fields.get("content"), list):
            parts.append(fields["content"])
        for part in parts:
            yield from _entries(part)
        if not parts:
            yield from _listed(fields)


def _listed(value: object) -> Iterator[dict[str, Any]]:
    """Yields the messages in a result of check_inbox, in a list of messages, or in one message."""
    if isinstance(value, list):
        yield from _objects_in(cast("list[object]", value))
    elif isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        yield from _listed(fields["messages"]) if "messages" in fields else iter((fields,))


def _objects_in(items: list[object]) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _parse(text: str) -> object:
    """Returns the value of JSON, or the values of JSON lines; None for any other text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(line) for line in text.splitlines()]
    except (ValueError, RecursionError):
        return None
