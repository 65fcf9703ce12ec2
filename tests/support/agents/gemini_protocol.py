"""The Gemini protocol, as far as Gemini CLI uses it."""

__all__ = ["encode", "serves", "tool_names_of", "turns_of"]

import json
from typing import Any

from support.agents.script import Call, Say, Turn


def serves(path: str) -> bool:
    return "enerateContent" in path


def tool_names_of(body: dict[str, Any]) -> list[str]:
    return [each["name"] for tool in body.get("tools") or () for each in tool.get("functionDeclarations", ())]


def turns_of(body: dict[str, Any]) -> list[Turn]:
    turns: list[Turn] = []
    for content in body["contents"]:
        role = "assistant" if content.get("role") == "model" else "user"
        for part in content["parts"]:
            if "functionResponse" in part:
                turns.append(Turn("tool", json.dumps(part["functionResponse"]["response"], ensure_ascii=False)))
            elif role == "user":
                turns.append(Turn("user", str(part.get("text", ""))))
        if role == "assistant":
            turns.append(Turn("assistant", json.dumps(content["parts"])))
    return turns


def encode(step: Say | Call, path: str, body: dict[str, Any]) -> tuple[str, bytes]:
    part: dict[str, Any] = (
        {"functionCall": {"name": step.name, "args": step.arguments}}
        if isinstance(step, Call)
        else {"text": _json_for_schema(body) or step.text}
    )
    answer = {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
    }
    if "streamGenerateContent" in path:
        return "text/event-stream", f"data: {json.dumps(answer)}\r\n\r\n".encode()
    return "application/json", json.dumps(answer).encode()


def _json_for_schema(body: dict[str, Any]) -> str:
    """Returns an answer for requests that want JSON: the first choice of each enumeration, or nothing much."""
    config = body.get("generationConfig", {})
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    return json.dumps(_example(schema)) if schema else ""


def _example(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    match str(schema.get("type", "")).lower():
        case "object":
            return {name: _example(inner) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return []
        case "boolean":
            return False
        case "integer" | "number":
            return 1
        case _:
            return "x"
