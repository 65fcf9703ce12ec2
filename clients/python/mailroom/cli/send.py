"""`mailroom send` — sends one message, and warns when nobody of that name has been seen."""

__all__ = ["send"]

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import orjson
import typer

from mailroom.cli.connection import complete_agent, connect
from mailroom.cli.durations import parse_duration
from mailroom.cli.names import near_names
from mailroom.cli.options import Address, Json
from mailroom.cli.output import emit, emit_json, remark
from mailroom.cli.printable import printable_line
from mailroom.errors import MailroomError
from mailroom.messages import SentMessage

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

Recipient = Annotated[
    str,
    typer.Argument(metavar="TO", help="Session id, or agent@team.", autocompletion=complete_agent, show_default=False),
]
Content = Annotated[
    str | None,
    typer.Argument(metavar="CONTENT", help="The text; - or nothing: read it from stdin.", show_default=False),
]

LOOK_UP_TIMEOUT_SEC = 2.0  # for suggestions, once the message is on its way


def parse_metadata(text: str) -> dict[str, Any]:
    """Returns the JSON object behind an option's text."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"this is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter('a JSON object is expected, e.g. {"task": 7}')
    return cast("dict[str, Any]", value)


def send(
    to: Recipient,
    content: Content = None,
    sender: Annotated[
        str | None, typer.Option("--from", help="Sender's name.", show_default="MAILROOM_AGENT, else your login name")
    ] = None,
    type_: Annotated[str, typer.Option("--type", help="Kind of message.")] = "text",
    thread: Annotated[str | None, typer.Option(help="Thread that it belongs to.")] = None,
    reply_to: Annotated[str | None, typer.Option(help="Id of the message that it answers.")] = None,
    priority: Annotated[Literal["low", "normal", "high", "urgent"] | None, typer.Option(help="How urgent.")] = None,
    ttl: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Out of date after this time, e.g. 10m. Recorded with the message; "
            "removal after it ran out comes with retention in a later version.",
        ),
    ] = None,
    metadata: Annotated[
        dict[str, Any] | None, typer.Option(parser=parse_metadata, metavar="JSON", help="A JSON object beside it.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: repeating a send with the same key sends once.")
    ] = None,
    json: Json = False,
    address: Address = None,
) -> None:
    """Sends a message; returns once it is durable."""
    text = _content(content)
    with connect(address) as client:
        sent = client.send(
            to,
            text,
            sender=sender,
            type=type_,
            thread_id=thread,
            in_reply_to=reply_to,
            priority=priority,
            ttl=ttl,
            metadata=metadata,
            idempotency_key=key,
        )
        emit_json(sent.to_dict()) if json else emit(_line(sent))
        if not sent.delivery.recipient_known:
            remark(_warning(to, client))


def _content(content: str | None) -> str:
    if content is not None and content != "-":
        return content
    if sys.stdin is None or (content is None and sys.stdin.isatty()):  # None: it was closed
        raise _nothing_to_send()
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise typer.BadParameter("stdin is not UTF-8 text", param_hint="CONTENT") from error
    if not text and content is None:  # somebody's /dev/null rather than a message
        raise _nothing_to_send()
    return text


def _nothing_to_send() -> typer.BadParameter:
    return typer.BadParameter(
        "nothing to send: give the text as an argument, or pipe it in; '' sends an empty message", param_hint="CONTENT"
    )


def _line(sent: SentMessage) -> str:
    delivery = sent.delivery
    parts = [sent.id, delivery.state, "recipient known" if delivery.recipient_known else "recipient unknown"]
    if delivery.inbox_file_error:
        parts.append(f"inbox file not written yet: {printable_line(delivery.inbox_file_error)}")
    if delivery.team_inbox_error:
        parts.append(f"team inbox not written yet: {printable_line(delivery.team_inbox_error)}")
    return "  ".join(parts)


def _warning(recipient: str, client: "Mailroom") -> str:
    warning = f"nobody called {recipient} has been here yet; the message waits for them"
    try:
        seen = [stats.agent_id for stats in client.stats(timeout=LOOK_UP_TIMEOUT_SEC) if stats.last_seen]
    except MailroomError:  # the message is sent: a missing suggestion is no failure
        seen = []
    near = near_names(recipient, seen)
    return f"{warning}. Did you mean {' or '.join(near)}?" if near else f"{warning}."
