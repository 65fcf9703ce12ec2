"""Sending — what `send`, `reply` and `broadcast` share: options, where content comes from, how a delivery reads."""

__all__ = [
    "Content",
    "Key",
    "Metadata",
    "Priority",
    "Sender",
    "Thread",
    "Ttl",
    "Type",
    "delivery_remarks",
    "delivery_text",
    "nothing_to_send",
    "read_content",
]

import sys
from typing import Annotated, Any, Literal, cast

import orjson
import typer
from mailroom.messages import Delivery

from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.printable import printable_line


def parse_metadata(text: str) -> dict[str, Any]:
    """Returns the JSON object behind an option's text."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"this is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter('a JSON object is expected, e.g. {"task": 7}')
    return cast("dict[str, Any]", value)


Content = Annotated[
    str | None,
    typer.Argument(metavar="CONTENT", help="The text; - or nothing: read it from stdin.", show_default=False),
]
Sender = Annotated[
    str | None, typer.Option("--from", help="Sender's name.", show_default="MAILROOM_AGENT, else your login name")
]
Type = Annotated[str, typer.Option("--type", help="Kind of message.")]
Thread = Annotated[str | None, typer.Option(help="Thread that it belongs to.")]
Priority = Annotated[Literal["low", "normal", "high", "urgent"] | None, typer.Option(help="How urgent.")]
Ttl = Annotated[
    float | None,
    typer.Option(
        parser=parse_duration,
        metavar="DURATION",
        help="Expire after this time, e.g. 10m: unread by then, it leaves the inbox, and you get a receipt.",
    ),
]
Metadata = Annotated[
    dict[str, Any] | None, typer.Option(parser=parse_metadata, metavar="JSON", help="A JSON object beside it.")
]
Key = Annotated[str | None, typer.Option(help="Idempotency key: repeating a send with the same key sends once.")]


def read_content(content: str | None) -> str:
    """Returns the text that was given, or what stdin has.

    Raises:
        BadParameter: there is none, or it is not UTF-8.
    """
    if content is not None and content != "-":
        return content
    if sys.stdin is None or (content is None and sys.stdin.isatty()):  # None: it was closed
        raise nothing_to_send()
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise typer.BadParameter("stdin is not UTF-8 text", param_hint="CONTENT") from error
    if not text and content is None:  # somebody's /dev/null rather than a message
        raise nothing_to_send()
    return text


def nothing_to_send() -> typer.BadParameter:
    """Returns the usage error for a content that is missing."""
    return typer.BadParameter(
        "nothing to send: give the text as an argument, or pipe it in; '' sends an empty message", param_hint="CONTENT"
    )


def delivery_text(message_id: str, delivery: Delivery) -> str:
    """Returns one line on what was done with a message."""
    known = "recipient known" if delivery.recipient_known else "recipient unknown"
    return "  ".join([message_id, delivery.state, known, *delivery_remarks(delivery)])


def delivery_remarks(delivery: Delivery) -> list[str]:
    """Returns what is not done yet, and why."""
    faults = {"inbox file": delivery.inbox_file_error, "team inbox": delivery.team_inbox_error}
    return [f"{what} not written yet: {printable_line(fault)}" for what, fault in faults.items() if fault]
