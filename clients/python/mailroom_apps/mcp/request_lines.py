"""RequestLines — the lines of stdin that are JSON-RPC messages; every other line is answered with an error.

The SDK drops a line that it cannot parse, and the client waits for its own timeout. The usual causes are half an emoji
from a model (a lone surrogate), a byte order mark, a number of thousands of digits, and truncated JSON.
Invariant: a request gets exactly one response, with its id as far as one can be read.
"""

__all__ = ["RequestLines", "error_for"]

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO, Any

import mcp_types as types
from anyio import AsyncFile
from pydantic import ValidationError

MAX_INT_DIGITS = 4000  # Python refuses to parse more
JSON_SPACE = " \t\r\n"

log = logging.getLogger(__name__)

_scan = json.JSONDecoder(strict=False, parse_int=lambda digits: int(digits[:MAX_INT_DIGITS])).raw_decode


class RequestLines(AsyncFile[str]):
    """Standard input for the SDK: iterating yields only lines that it can parse.

    Args:
        file: the text stream.
        send_error: called with the response to any other line.
    """

    def __init__(self, file: IO[str], send_error: Callable[[types.JSONRPCError], Awaitable[None]]) -> None:
        super().__init__(file)
        self._send_error = send_error

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in super().__aiter__():
            error = error_for(line)
            if error is None:
                yield line
            elif line.strip():
                log.warning("invalid JSON-RPC message: %s", error.error.message)
                await self._send_error(error)


def error_for(line: str) -> types.JSONRPCError | None:
    """Returns the response to a line that is not a JSON-RPC message; None for one that is."""
    try:
        message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        if details[0]["type"] == "json_invalid":
            return _error(line, types.PARSE_ERROR, f"the message cannot be parsed: {details[0]['msg']}")
        return _error(line, types.INVALID_REQUEST, "the message is not valid JSON-RPC 2.0")
    if isinstance(message, types.JSONRPCNotification) and '"id"' in line and "id" in _fields(line):
        return _error(line, types.INVALID_REQUEST, "the id of a request is an integer or a string")
    return None


def _error(line: str, code: int, sentence: str) -> types.JSONRPCError:
    return types.JSONRPCError(jsonrpc="2.0", id=_request_id(line), error=types.ErrorData(code=code, message=sentence))


def _request_id(line: str) -> int | str | None:
    request_id = _fields(line).get("id")
    if isinstance(request_id, str):
        return request_id if request_id.isprintable() else None  # a lone surrogate could not be written back
    return request_id if type(request_id) is int else None  # a bool is an int, too


def _fields(line: str) -> dict[str, Any]:
    """Returns the top-level fields of a JSON object, up to the first place that cannot be parsed."""
    fields: dict[str, Any] = {}
    text = line.removeprefix("\ufeff")
    position = _skip(text, 0, "{")
    try:
        while text[position : position + 1] == '"':
            key, end = _scan(text, position)
            value, end = _scan(text, _skip(text, end, ":"))
            fields[key] = value
            position = _skip(text, end, ",")
    except (ValueError, RecursionError):
        pass
    return fields


def _skip(text: str, position: int, char: str) -> int:
    """Returns the position after white space and the expected character."""
    while text[position : position + 1] and text[position] in JSON_SPACE + char:
        position += 1
    return position
