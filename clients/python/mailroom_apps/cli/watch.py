"""`mailroom watch` — shows messages as they arrive, until it is interrupted or its output is closed.

In a terminal the unread counts stay below the messages (`live`).
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
from mailroom.events import CaughtUp, CommandResponse, Event
from mailroom.messages import Message
from mailroom.receipts import Receipt

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Json, MaybeAgent, Observe
from mailroom_apps.cli.output import emit, emit_json, emit_note
from mailroom_apps.cli.rendering import GAP, render_event
from mailroom_apps.cli.stop_signals import StopSignals

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

_KINDS: dict[type, str] = {Message: "message", Receipt: "receipt", CommandResponse: "command_response"}


def watch(
    agent: MaybeAgent = None,
    all_agents: Annotated[bool, typer.Option("--all", help="Watch every mailbox; implies --observe.")] = False,
    unread: Annotated[bool, typer.Option("--unread", help="Start with the unread messages.")] = False,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Start after this message or event.")] = None,
    receipts: Annotated[
        bool, typer.Option("--receipts", help="Also show the receipts of messages that AGENT sent.")
    ] = False,
    observe: Observe = False,
    plain: Annotated[bool, typer.Option("--plain", help="Show no unread counts, even in a terminal.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Show messages as they arrive. Reconnects automatically and misses none; Ctrl-C ends it."""
    _check_combination(agent, all_agents=all_agents, unread=unread, after=after)
    with ExitStack() as stack:
        client = stack.enter_context(connect(address))
        stack.enter_context(StopSignals(client.close))
        view = stack.enter_context(_open_view(client, agent, json=json, plain=plain))
        events = client.subscribe(
            agent,
            all_agents=all_agents,
            include_unread=unread,
            after_id=after,
            include_receipts=receipts,
            observe=observe,
            caught_up=True,
            on_interrupted=view.show_interruption,
        )
        stack.enter_context(events)
        _call_when_output_closes(events.close)
        for event in events:
            if isinstance(event, CaughtUp):
                view.show_caught_up(gap=event.gap)
            else:
                view.show_event(event)


def _check_combination(agent: str | None, *, all_agents: bool, unread: bool, after: str | None) -> None:
    if agent is None and not all_agents:
        raise typer.BadParameter("give an agent or --all", param_hint="AGENT")
    if agent is not None and all_agents:
        raise typer.BadParameter("AGENT and --all cannot be combined", param_hint="AGENT")
    if all_agents and unread:
        raise typer.BadParameter("--all and --unread cannot be combined", param_hint="--unread")
    if unread and after is not None:
        raise typer.BadParameter("--unread and --after cannot be combined", param_hint="--after")


def _open_view(client: "Mailroom", agent: str | None, *, json: bool, plain: bool) -> "AbstractContextManager[View]":
    if json or plain or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return nullcontext(_LineView(json=json))
    from mailroom_apps.cli.live import LiveView

    return LiveView(client, agent)


class View(Protocol):
    """Where events are shown."""

    def show_event(self, event: Event) -> None: ...
    def show_interruption(self, error: MailroomError) -> None: ...
    def show_caught_up(self, *, gap: bool) -> None: ...


class _LineView:
    """Prints events as text or JSON on stdout, and interruptions on stderr."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._is_interrupted = False

    def show_event(self, event: Event) -> None:
        if self._json:
            emit_json({"event": _KINDS[type(event)], "event_id": event.event_id, **event.to_dict()})
        else:
            emit(render_event(event))

    def show_interruption(self, error: MailroomError) -> None:
        self._is_interrupted = True
        emit_note(f"connection lost ({error.message}); reconnecting")

    def show_caught_up(self, *, gap: bool) -> None:
        if gap:
            emit_note(GAP)
        elif self._is_interrupted:
            emit_note("reconnected, no message was missed")
        self._is_interrupted = False


def _call_when_output_closes(callback: Callable[[], None]) -> None:
    """Calls back when the reader of a pipe on stdout goes away, so that `watch | head -1` ends at once."""
    if not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        return

    def wait() -> None:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # POLLERR is always reported
        poll.poll()
        callback()

    threading.Thread(target=wait, name="pipe watcher", daemon=True).start()
