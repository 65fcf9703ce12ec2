"""The Anthropic Messages protocol, as far as Claude Code uses it."""

__all__ = ["encode", "serves", "tool_names_of", "turns_of"]

import itertools
import json
from collections.abc import Iterator
from typing import Any, cast

from support.agents.script import Call, Say, Turn

_numbers = itertools.count(1)  # Claude Code joins answers with one id, and drops a call with the id of another


def serves(path: str) -> bool:
    return path.partition("?")[0].endswith("/v1/messages")


def tool_names_of(body: dict[str, Any]) -> list[str]:
    return [tool["name"] for tool in body.get("tools") or ()]


def turns_of(body: dict[str, Any]) -> list[Turn]:
    return [turn for message in body["messages"] for turn in _turns(message)]


def _turns(message: dict[str, Any]) -> Iterator[Turn]:
    role = "assistant" if message["role"] == "assistant" else "user"
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if role == "assistant":
        yield from (Turn(role, json.dumps(block)) for block in blocks)
        return
    for block in blocks:
        if block["type"] == "tool_result":
            inner = block.get("content", "")
            parts: list[dict[str, Any]] = cast("Any", inner) if isinstance(inner, list) else [{"text": inner}]
            yield Turn("tool", "\n".join(str(part.get("text", "")) for part in parts))
        else:
            yield Turn(role, str(block.get("text", "")))


def encode(step: Say | Call, path: str, body: dict[str, Any]) -> tuple[str, bytes]:
    is_call = isinstance(step, Call)
    number = next(_numbers)
    block: dict[str, Any] = (
        {"type": "tool_use", "id": f"toolu_{number:06}", "name": step.name, "input": step.arguments}
        if isinstance(step, Call)
        else {"type": "text", "text": step.text}
    )
    stop = "tool_use" if is_call else "end_turn"
    usage = {"input_tokens": 10, "output_tokens": 5}
    message: dict[str, Any] = {
        "id": f"msg_{number:06}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }
    if not body.get("stream"):
        return "application/json", json.dumps(message).encode()
    started: dict[str, Any] = {**block, "input": {}} if is_call else {**block, "text": ""}
    delta = (
        {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        if is_call
        else {"type": "text_delta", "text": block["text"]}
    )
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": started},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return "text/event-stream", "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events).encode()
