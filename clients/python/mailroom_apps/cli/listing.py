"""`mailroom list` and `mailroom search` — tables of messages, newest first, page by page."""

__all__ = ["list_messages", "search"]

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from mailroom.messages import Message
from mailroom.options import ListOptions

from mailroom_apps.cli.completion import complete_agent
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Agent, Json, ThreadFilter, Unread, require_name
from mailroom_apps.cli.output import emit_note, emit_records
from mailroom_apps.cli.rendering import first_line, format_time, sender_label
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

MAX_PAGE_SIZE = 1000  # the maximum of ListMessages
_HEADERS = ("ID", "TIME", "FROM", "TO", "STATE", "CONTENT")

Limit = Annotated[int, typer.Option(min=1, help="Maximum number of messages.")]
PageToken = Annotated[
    str, typer.Option("--page", metavar="TOKEN", help="Continue after an earlier page.", show_default=False)
]


def list_messages(
    agent: Agent,
    unread: Unread = False,
    thread: ThreadFilter = None,
    sender: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="Only from this sender.",
            autocompletion=complete_agent,
            callback=require_name,
        ),
    ] = None,
    state: Annotated[
        Literal["stored", "filed", "offered", "read", "expired"] | None,
        typer.Option(help="Only in this delivery state."),
    ] = None,
    limit: Limit = 20,
    page: PageToken = "",
    json: Json = False,
    address: Address = None,
) -> None:
    """List the messages of a mailbox, read and unread, newest first. `mailroom show ID` shows one in full."""
    options = ListOptions(unread_only=unread, thread_id=thread, sender=sender, states=[state] if state else None)
    with connect(address) as client:
        messages, next_token = _fetch(client, agent, options, limit, page)
    _show(messages, next_token, json=json, empty_note=f"no {'unread ' if unread else ''}messages for {agent}")


def search(
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT",
            help='Match messages that contain all of these words; "a phrase" in quotes; word* as a prefix.',
        ),
    ],
    agent: Annotated[
        str | None, typer.Option(help="Search this mailbox only.", autocompletion=complete_agent, callback=require_name)
    ] = None,
    unread: Unread = False,
    thread: ThreadFilter = None,
    limit: Limit = 20,
    page: PageToken = "",
    json: Json = False,
    address: Address = None,
) -> None:
    """Search the content of messages in every mailbox or in one, newest first."""
    if not text.strip():
        raise typer.BadParameter("must not be empty", param_hint="TEXT")
    options = ListOptions(unread_only=unread, thread_id=thread, query=text)
    with connect(address) as client:
        messages, next_token = _fetch(client, agent, options, limit, page)
    _show(messages, next_token, json=json, empty_note="no matching messages")


def _fetch(
    client: "Mailroom", agent: str | None, options: ListOptions, limit: int, token: str
) -> tuple[list[Message], str]:
    """Returns up to `limit` messages, and the token of the next page."""
    messages: list[Message] = []
    while len(messages) < limit:
        options["page_size"] = min(limit - len(messages), MAX_PAGE_SIZE)
        page = client.list_messages(agent, page_token=token, **options)
        messages += page.messages
        token = page.next_page_token
        if not token:
            break
    return messages, token


def _show(messages: list[Message], next_token: str, *, json: bool, empty_note: str) -> None:
    emit_records(messages, _HEADERS, _row, json=json, empty_note=empty_note)
    if next_token:
        emit_note(f"there are more messages: repeat the command with --page {next_token}, or raise --limit")


def _row(message: Message) -> tuple[str, ...]:
    names = (sender_label(message), printable_line(message.recipient))
    return (message.id, format_time(message.timestamp), *names, message.state, first_line(message.content))
