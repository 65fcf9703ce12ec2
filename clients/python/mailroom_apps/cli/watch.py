"""`mailroom watch` — shows messages as they come, until it is interrupted or its reader goes away.

In a terminal a line or table of unread counts stays below them (`live`).
"""

__all__ = ["watch"]

import os
import select
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from mailroom.errors import MailroomError
from mailroom.events import CaughtUp, CommandResponse, Event, Receipt
from mailroom.messages import Message

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Json, MaybeAgent
from mailroom_apps.cli.output import emit, emit_json, remark
from mailroom_apps.cli.rendering import render_event

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

_KINDS: dict[type, str] = {Message: "message", Receipt: "receipt", CommandResponse: "command_response"}


def watch(
    agent: MaybeAgent = None,
    all_agents: Annotated[bool, typer.Option("--all", help="Every mailbox; looks on.")] = False,
    unread: Annotated[bool, typer.Option("--unread", help="Begin with what is unread.")] = False,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Begin behind this message or event.")] = None,
    receipts: Annotated[
        bool, typer.Option("--receipts", help="Also what becomes of messages that AGENT sent.")
    ] = False,
    observe: Annotated[bool, typer.Option("--observe", help="Look on: nothing counts as handed over.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="No unread counts below, also in a terminal.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Shows messages as they come; reconnects by itself and misses none. Ctrl-C ends it."""
    if agent is None and not all_agents:
        raise typer.BadParameter("give an agent, or --all", param_hint="AGENT")
    if agent is not None and all_agents:
        raise typer.BadParameter("--all shows every mailbox: leave the agent out, or --all", param_hint="AGENT")
    if all_agents and unread:
        raise typer.BadParameter("--all and --unread exclude each other: name one agent", param_hint="--unread")
    if unread and after is not None:
        raise typer.BadParameter("--unread and --after exclude each other", param_hint="--after")
    with ExitStack() as stack:
        client = stack.enter_context(connect(address))
        view = stack.enter_context(_view(client, agent, json=json, plain=plain))
        events = client.subscribe(
            agent,
            all_agents=all_agents,
            include_unread=unread,
            after_id=after,
            include_receipts=receipts,
            observe=observe,
            caught_up=True,
            on_interrupted=view.interrupted,
        )
        stack.enter_context(events)
        _when_reader_leaves(events.close)
        for event in events:
            if isinstance(event, CaughtUp):
                view.caught_up()
            else:
                view.show(event)


def _view(client: "Mailroom", agent: str | None, *, json: bool, plain: bool) -> "AbstractContextManager[View]":
    if json or plain or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return nullcontext(_Lines(json=json))
    from mailroom_apps.cli.live import LiveView

    return LiveView(client, agent)


class View(Protocol):
    """Where events are shown."""

    def show(self, event: Event) -> None: ...
    def interrupted(self, error: MailroomError) -> None: ...
    def caught_up(self) -> None: ...


class _Lines:
    """Events as text or JSON on stdout; on stderr that the daemon went away, and that it is back."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._away = False

    def show(self, event: Event) -> None:
        if self._json:
            emit_json({"event": _KINDS[type(event)], "event_id": event.event_id, **event.to_dict()})
        else:
            emit(render_event(event))

    def interrupted(self, error: MailroomError) -> None:
        self._away = True
        remark(f"lost the daemon ({error.message}); watching again as soon as it is back")

    def caught_up(self) -> None:
        if self._away:
            remark("connected again, nothing was missed")
        self._away = False


def _when_reader_leaves(act: Callable[[], None]) -> None:
    """Acts when the other end of a pipe on stdout is closed, not only at the next message: `watch | head -1` ends."""
    if not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        return

    def wait() -> None:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # only POLLERR, which needs no asking
        poll.poll()
        act()

    threading.Thread(target=wait, name="reader watch", daemon=True).start()
