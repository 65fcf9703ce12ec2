"""Requests — reading a request of the page within bounds, and answering it in JSON."""

__all__ = [
    "UUID_PATTERN",
    "Ids",
    "Named",
    "answer",
    "failure",
    "file_failure",
    "invalid",
    "read_body",
    "session_of",
]

from typing import Annotated, Any, TypeVar

import msgspec
import orjson
from mailroom.errors import InvalidArgument, MailroomError
from starlette.requests import Request
from starlette.responses import Response

from mailroom_apps.dashboard.sessions import Session

MAX_BODY_BYTES = 8 * 1024 * 1024  # 1 MiB of content may be six times as long as JSON
MAX_IDS = 1_000
MAX_NAME_CHARS = 300  # of an agent; what is longer is no name
UUID_PATTERN = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"

_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 502,  # of the dashboard with the daemon; 401 would mean the page's session
    "PERMISSION_DENIED": 502,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
Body = TypeVar("Body", bound=msgspec.Struct)


class Ids(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Messages of the operator."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_IDS)]


class Named(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An action on the mailbox of another agent; `typed` repeats the name, typed by hand.

    Attributes:
        ids: the messages; none if the action is about the whole mailbox.
    """

    agent: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    typed: Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)]
    ids: Annotated[list[str], msgspec.Meta(max_length=MAX_IDS)] = []


async def read_body(request: Request, kind: type[Body], max_bytes: int = MAX_BODY_BYTES) -> Body:
    """Returns the JSON body of a request of at most `max_bytes`.

    Raises:
        InvalidArgument: it is too large or not valid.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise invalid(f"the request is larger than {max_bytes:,} bytes")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"the request is not valid: {error}") from error


def invalid(sentence: str) -> InvalidArgument:
    """Returns the error for a request that the page should not have made."""
    return InvalidArgument(sentence, reason="REQUEST_INVALID")


def session_of(request: Request) -> Session:
    """Returns the session of a request that has passed the guard."""
    session = request.state.session
    assert isinstance(session, Session)
    return session


def answer(value: Any, status: int = 200) -> Response:
    """Returns a value as a JSON response."""
    return Response(orjson.dumps(value), status, media_type="application/json")


def failure(error: MailroomError) -> Response:
    """Returns an error as a response, with its sentence and its reason."""
    return answer(error.to_dict(), _STATUS.get(error.code, 500))


def file_failure(error: OSError) -> Response:
    """Returns the failure to write one of the dashboard's own files as a response."""
    place = f"{error.filename}: " if error.filename else ""
    sentence = f"the dashboard cannot write its files: {place}{error.strerror}"
    return answer({"code": "INTERNAL", "reason": "FILES_FAILED", "message": sentence}, 500)
