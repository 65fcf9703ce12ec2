"""Sending — what `send`, `reply` and `broadcast` share: options, the source of the content, the text of a delivery."""

__all__ = [
    "AllowEmpty",
    "Content",
    "Sender",
    "choose_sender",
    "delivery_errors",
    "read_content",
    "render_delivery",
    "takes_message_options",
]

import functools
import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

import orjson
import typer
from mailroom.messages import Delivery
from mailroom.options import SendOptions

from mailroom_apps.cli.connection import require_own_name
from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.printable import printable_line


def parse_metadata(text: str) -> dict[str, Any]:
    """Returns the JSON object that an option contains."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter('must be a JSON object, for example {"task": 7}')
    return cast("dict[str, Any]", value)


Content = Annotated[
    str | None,
    typer.Argument(metavar="CONTENT", help="The text; - or no CONTENT reads it from stdin.", show_default=False),
]
AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="Send the message even if CONTENT is empty.")]
Sender = Annotated[
    str | None, typer.Option("--from", help="The sender's name.", show_default="MAILROOM_AGENT, or your login name")
]
Type = Annotated[str, typer.Option("--type", help="The message's type.")]
Thread = Annotated[str | None, typer.Option(help="The thread that the message belongs to.")]
Priority = Annotated[Literal["low", "normal", "high", "urgent"] | None, typer.Option(help="The message's priority.")]
Ttl = Annotated[
    float | None,
    typer.Option(
        parser=parse_duration,
        metavar="DURATION",
        help="Time to live, e.g. 10m. If unread by then, the message expires and you get a receipt.",
    ),
]
ReplyBy = Annotated[
    float | None,
    typer.Option(
        parser=parse_duration,
        metavar="DURATION",
        help="When you want an answer by, e.g. 2h from now: if there is none then, you get a receipt OVERDUE.",
    ),
]
Metadata = Annotated[
    dict[str, Any] | None, typer.Option(parser=parse_metadata, metavar="JSON", help="A JSON object of metadata.")
]
Key = Annotated[str | None, typer.Option(help="Idempotency key: repeated sends with the same key create one message.")]


_OPTIONS: dict[str, tuple[str, object, object]] = {  # of a message: parameter -> option of the SDK, type, default
    "type_": ("type", Type, "text"),
    "thread": ("thread_id", Thread, None),
    "priority": ("priority", Priority, None),
    "ttl": ("ttl", Ttl, None),
    "reply_by": ("reply_by", ReplyBy, None),
    "metadata": ("metadata", Metadata, None),
    "key": ("idempotency_key", Key, None),
}


def takes_message_options(command: Callable[..., None]) -> Callable[..., None]:
    """Puts the options of a message in the place of a command's parameter `options`, which gets their values."""
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name == "options":
            parameters += [
                parameter.replace(name=name, annotation=annotation, default=default)
                for name, (_, annotation, default) in _OPTIONS.items()
            ]
        else:
            parameters.append(parameter)

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        options: dict[str, Any] = {option: arguments.pop(name) for name, (option, _, _) in _OPTIONS.items()}
        command(**arguments, options=cast("SendOptions", options))

    with_options.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


def choose_sender(sender: str | None) -> str | None:
    """Returns the sender that was given, otherwise MAILROOM_AGENT; None for the login name.

    Raises:
        InvalidArgument: MAILROOM_AGENT decides, and is empty.
    """
    if sender is None and "MAILROOM_AGENT" in os.environ:
        return require_own_name(os.environ["MAILROOM_AGENT"])
    return sender


def read_content(content: str | None, *, allow_empty: bool = False) -> str:
    """Returns the content that was given, or the content of stdin.

    Args:
        content: the argument; "-" or None reads stdin.
        allow_empty: permit an empty text, which is usually an unset variable or an empty pipe of a script.

    Raises:
        BadParameter: there is no content, it is empty, or it is not UTF-8.
    """
    if content is None or content == "-":
        content = _read_stdin(is_requested=content == "-")
    if not content and not allow_empty:
        raise _no_content()
    return content


def _read_stdin(*, is_requested: bool) -> str:
    if sys.stdin is None or (not is_requested and sys.stdin.isatty()):  # None: stdin is closed
        raise _no_content()
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise typer.BadParameter("stdin is not UTF-8 text", param_hint="CONTENT") from error


def _no_content() -> typer.BadParameter:
    return typer.BadParameter(
        "nothing to send: give the text as an argument or on stdin; --allow-empty allows an empty message",
        param_hint="CONTENT",
    )


def render_delivery(message_id: str, delivery: Delivery) -> str:
    """Returns one line about the delivery of a message."""
    recipient = "recipient known" if delivery.recipient_known else "recipient unknown"
    return "  ".join([message_id, delivery.state, recipient, *delivery_errors(delivery)])


def delivery_errors(delivery: Delivery) -> list[str]:
    """Returns the parts of the delivery that are pending, with the reasons."""
    errors = {"inbox file": delivery.inbox_file_error, "team inbox": delivery.team_inbox_error}
    return [f"{part} not written yet: {printable_line(error)}" for part, error in errors.items() if error]
