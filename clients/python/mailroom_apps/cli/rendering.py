"""Rendering — messages and other events as text for people.

All text of other agents is made printable here. Content is indented so that it cannot imitate the header of a message.
"""

__all__ = [
    "FIRST_LINE_CHARS",
    "GAP",
    "first_line",
    "format_time",
    "render_event",
    "render_message",
    "sender_label",
    "step_label",
]

import textwrap
from datetime import datetime

import orjson
from mailroom.events import CaughtUp, CommandResponse, Event
from mailroom.messages import Message
from mailroom.receipts import Receipt
from mailroom.states import Priority

from mailroom_apps.cli.output import styled
from mailroom_apps.printable import printable, printable_line

GAP = "some earlier events are missing: their time was over, and the daemon has deleted them"
FIRST_LINE_CHARS = 60  # of content in a table: enough to recognize it, with room for ids and names


def render_event(event: Event) -> str:
    """Returns an event as text."""
    match event:
        case Message():
            return render_message(event)
        case Receipt():
            prefix = styled(f"{format_time(event.timestamp)}  {event.message_id}", dim=True)
            return f"{prefix}  {printable_line(event.recipient)}  {step_label(event)}"
        case CommandResponse():
            return _render_response(event)
        case CaughtUp():
            return GAP if event.gap else ""


def step_label(receipt: Receipt) -> str:
    """Returns the state of a receipt, who acknowledged in the recipient's place, and why a message was returned."""
    by = f" (by {printable_line(receipt.by)})" if receipt.by else ""
    return f"{receipt.state}{by}: {printable_line(receipt.reason)}" if receipt.reason else f"{receipt.state}{by}"


def render_message(message: Message) -> str:
    """Returns a header line and the indented content."""
    return f"{_header(message)}\n{textwrap.indent(printable(message.content), '  ', lambda _line: True)}"


def first_line(content: str, width: int = FIRST_LINE_CHARS) -> str:
    """Returns the beginning of a content as one printable line, with an ellipsis if it was cut."""
    line, *more = content.strip().split("\n", 1)
    shown = printable_line(line[: width + 1])
    return f"{shown[: width - 1]}…" if more or len(shown) > width else shown


def sender_label(message: Message) -> str:
    """Returns the sender's name, marked unless the sender proved it with a token: anyone on the socket can claim it."""
    return printable_line(message.sender) + ("" if message.sender_verified else " (unverified)")


def format_time(time: datetime | None) -> str:
    """Returns a time as local date and time, "-" for None."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else "-"


def _header(message: Message) -> str:
    names = f"{sender_label(message)} -> {printable_line(message.recipient)}"
    details = [printable_line(message.type)] if message.type != "text" else []
    if message.priority is not Priority.NORMAL:
        details.append(f"priority {message.priority}")
    if message.thread_id:
        details.append(f"thread {printable_line(message.thread_id)}")
    if message.in_reply_to:
        details.append(f"reply to {printable_line(message.in_reply_to)}")
    if message.reply_by:
        details.append(f"answer by {format_time(message.reply_by)}")
    prefix = styled(f"{format_time(message.timestamp)}  {message.id}", dim=True)
    return "  ".join([prefix, styled(names, bold=True), *details])


def _render_response(response: CommandResponse) -> str:
    body = printable_line(orjson.dumps(response.body).decode())
    prefix = styled(f"{format_time(response.timestamp)}  {response.event_id}", dim=True)
    return f"{prefix}  {printable_line(response.session_id)} left {printable_line(response.file_name)}\n  {body}"
