"""The OpenAI protocols: Responses, which Codex uses, and chat completions, which opencode and Qwen Code use."""

__all__ = ["encode", "serves", "tool_names_of", "turns_of"]

import json
from collections.abc import Iterator
from typing import Any, cast

from support.agents.script import Call, Say, Turn


def serves(path: str) -> bool:
    return path.endswith(("/responses", "/chat/completions"))


def tool_names_of(body: dict[str, Any]) -> list[str]:
    """Returns the names of the tools; those of a namespace as NAMESPACE.NAME."""
    return [name for tool in body.get("tools") or () for name in _names(tool)]


def _names(tool: dict[str, Any]) -> Iterator[str]:
    if tool.get("type") == "namespace":
        yield from (f"{tool['name']}.{inner['name']}" for inner in tool["tools"])
    elif "function" in tool:
        yield tool["function"]["name"]
    else:
        yield tool.get("name") or tool["type"]


def turns_of(body: dict[str, Any]) -> list[Turn]:
    if "messages" in body:
        return [_chat_turn(message) for message in body["messages"]]
    given = body.get("input", [])
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [turn for item in items for turn in _response_turns(item)]


def _chat_turn(message: dict[str, Any]) -> Turn:
    role = message["role"] if message["role"] in ("assistant", "tool") else "user"
    return Turn(role, _text(message.get("content")) or json.dumps(message))


def _response_turns(item: dict[str, Any]) -> Iterator[Turn]:
    match item.get("type", "message"):
        case "message":
            role = "assistant" if item["role"] == "assistant" else "user"
            yield Turn(role, _text(item["content"]))
        case "function_call" | "custom_tool_call":
            yield Turn("assistant", json.dumps(item))
        case "function_call_output" | "custom_tool_call_output":
            yield Turn("tool", _text(item.get("output")))
        case _:
            pass


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in cast("list[dict[str, Any]]", content))
    return content if isinstance(content, str) else "" if content is None else json.dumps(content)


def encode(step: Say | Call, path: str, body: dict[str, Any]) -> tuple[str, bytes]:
    return _encode_response(step, body) if path.endswith("/responses") else _encode_chat(step, body)


def _encode_response(step: Say | Call, body: dict[str, Any]) -> tuple[str, bytes]:
    number = len(body.get("input", ()))
    item: dict[str, Any]
    if isinstance(step, Call):
        namespace, _, name = step.name.rpartition(".")
        item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": name}
        item |= {"arguments": json.dumps(step.arguments)} | ({"namespace": namespace} if namespace else {})
    else:
        content: list[dict[str, Any]] = [{"type": "output_text", "text": step.text, "annotations": []}]
        item = {"type": "message", "id": f"msg_{number}", "role": "assistant", "content": content}
    item["status"] = "completed"
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    response = {"id": f"resp_{number}", "object": "response", "status": "completed", "model": body.get("model")}
    whole = {**response, "output": [item], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    if not body.get("stream"):
        return "application/json", json.dumps(whole).encode()
    return "text/event-stream", "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events).encode()


def _encode_chat(step: Say | Call, body: dict[str, Any]) -> tuple[str, bytes]:
    message: dict[str, Any] = {"role": "assistant"}
    if isinstance(step, Call):
        function = {"name": step.name, "arguments": json.dumps(step.arguments)}
        call_id = f"call_{len(body['messages'])}"
        message |= {
            "content": None,
            "tool_calls": [{"index": 0, "id": call_id, "type": "function", "function": function}],
        }
    else:
        message["content"] = step.text
    finish = "tool_calls" if isinstance(step, Call) else "stop"
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    common = {"id": "chatcmpl-1", "created": 1, "model": body.get("model")}
    if not body.get("stream"):
        choices = [{"index": 0, "message": message, "finish_reason": finish}]
        return "application/json", json.dumps(
            {**common, "object": "chat.completion", "choices": choices, "usage": usage}
        ).encode()
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": usage},
    ]
    lines = [json.dumps({**common, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
    return "text/event-stream", "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()
