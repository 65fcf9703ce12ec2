"""`mailroom list` and `mailroom search` — messages newest first, page by page."""

__all__ = ["list_messages", "search"]

from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.messages import Message
from mailroom.options import ListOptions

from mailroom_apps.cli.completion import complete_agent
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Agent, Json
from mailroom_apps.cli.output import emit_records, remark
from mailroom_apps.cli.rendering import first_line, moment_text
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

PAGE = 1000  # the most that one call returns
_HEADERS = ("ID", "TIME", "FROM", "TO", "STATE", "CONTENT")

Limit = Annotated[int, typer.Option(min=1, help="Show at most so many.")]
Page = Annotated[str, typer.Option("--page", metavar="TOKEN", help="Go on behind an earlier page.", show_default=False)]
Unread = Annotated[bool, typer.Option("--unread", help="Leave out what is read.")]
Thread = Annotated[str | None, typer.Option(help="Only this thread.")]


def list_messages(
    agent: Agent,
    unread: Unread = False,
    thread: Thread = None,
    limit: Limit = 20,
    page: Page = "",
    json: Json = False,
    address: Address = None,
) -> None:
    """Lists a mailbox newest first, read and unread; `mailroom show ID` has the whole of one."""
    options = ListOptions(unread_only=unread, thread_id=thread)
    with connect(address) as client:
        found, token = _fetch(client, agent, options, limit, page)
    _show(found, token, json=json, nothing=f"nothing {'unread ' if unread else ''}for {agent}")


def search(
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", help='Words, all of which are there; "a phrase" in quotes; the beginning of a word*.'
        ),
    ],
    agent: Annotated[str | None, typer.Option(help="Only this mailbox.", autocompletion=complete_agent)] = None,
    unread: Unread = False,
    thread: Thread = None,
    limit: Limit = 20,
    page: Page = "",
    json: Json = False,
    address: Address = None,
) -> None:
    """Searches what messages say, in every mailbox or one; newest first."""
    if not text.strip():
        raise typer.BadParameter("say what to look for", param_hint="TEXT")
    options = ListOptions(unread_only=unread, thread_id=thread, query=text)
    with connect(address) as client:
        found, token = _fetch(client, agent, options, limit, page)
    _show(found, token, json=json, nothing="nothing found")


def _fetch(
    client: "Mailroom", agent: str | None, options: ListOptions, limit: int, token: str
) -> tuple[list[Message], str]:
    """Returns up to `limit` messages, and the token behind them."""
    found: list[Message] = []
    while len(found) < limit:
        options["page_size"] = min(limit - len(found), PAGE)
        page = client.list_messages(agent, page_token=token, **options)
        found += page.messages
        token = page.next_page_token
        if not token:
            break
    return found, token


def _show(found: list[Message], token: str, *, json: bool, nothing: str) -> None:
    emit_records(found, _HEADERS, _row, json=json, nothing=nothing)
    if token:
        remark(f"there is more: repeat it with --page {token}, or raise --limit")


def _row(message: Message) -> tuple[str, ...]:
    names = (printable_line(message.sender), printable_line(message.recipient))
    return (message.id, moment_text(message.timestamp), *names, message.state, first_line(message.content))
