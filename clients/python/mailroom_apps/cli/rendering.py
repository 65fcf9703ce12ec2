"""Rendering — messages and other events as text for people.

Everything that another agent wrote is made printable here, and its content is indented so that it cannot pass for a
header of the next message.
"""

__all__ = ["FIRST_LINE_CHARS", "first_line", "moment_text", "render_event", "render_message"]

import textwrap
from datetime import datetime

import orjson
from mailroom.events import CaughtUp, CommandResponse, Event, Receipt
from mailroom.messages import Message
from mailroom.states import Priority

from mailroom_apps.cli.output import styled
from mailroom_apps.printable import printable, printable_line

FIRST_LINE_CHARS = 60  # of content in a table: enough to recognise it, and ids and names still fit beside it


def render_event(event: Event) -> str:
    """Returns an event as text."""
    match event:
        case Message():
            return render_message(event)
        case Receipt():
            place = styled(f"{moment_text(event.timestamp)}  {event.message_id}", dim=True)
            return f"{place}  {printable_line(event.recipient)}  {event.state}"
        case CommandResponse():
            return _render_response(event)
        case CaughtUp():
            return ""


def render_message(message: Message) -> str:
    """Returns a header line and the indented content."""
    return f"{_header(message)}\n{textwrap.indent(printable(message.content), '  ', lambda _line: True)}"


def first_line(content: str, width: int = FIRST_LINE_CHARS) -> str:
    """Returns the beginning of a content as one printable line, with an ellipsis where there is more."""
    line, *more = content.strip().split("\n", 1)
    shown = printable_line(line[: width + 1])
    return f"{shown[: width - 1]}…" if more or len(shown) > width else shown


def moment_text(moment: datetime | None) -> str:
    """Returns a moment as local date and time."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def _header(message: Message) -> str:
    names = f"{printable_line(message.sender)} -> {printable_line(message.recipient)}"
    remarks = [printable_line(message.type)] if message.type != "text" else []
    if message.priority is not Priority.NORMAL:
        remarks.append(f"priority {message.priority}")
    if message.thread_id:
        remarks.append(f"thread {printable_line(message.thread_id)}")
    if message.in_reply_to:
        remarks.append(f"reply to {printable_line(message.in_reply_to)}")
    place = styled(f"{moment_text(message.timestamp)}  {message.id}", dim=True)
    return "  ".join([place, styled(names, bold=True), *remarks])


def _render_response(response: CommandResponse) -> str:
    body = printable_line(orjson.dumps(response.body).decode())
    place = styled(f"{moment_text(response.timestamp)}  {response.event_id}", dim=True)
    return f"{place}  {printable_line(response.session_id)} left {printable_line(response.file_name)}\n  {body}"
