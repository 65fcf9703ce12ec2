"""`mailroom wait` — returns when an agent has mail: a doorbell for scripts, which polls nothing and marks nothing."""

__all__ = ["wait"]

import threading
from collections.abc import Iterable
from typing import Annotated

import typer
from mailroom.events import CaughtUp, Event
from mailroom.messages import Message

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address, Agent, Json
from mailroom_apps.cli.output import emit, emit_json, remark
from mailroom_apps.cli.rendering import render_message

LOOK_SEC = 10.0  # that a look without waiting may take


def wait(
    agent: Agent,
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration, metavar="DURATION", help="Give up then; 0 only looks.", show_default="never"
        ),
    ] = None,
    json: Json = False,
    address: Address = None,
) -> None:
    """Waits until there is unread mail and shows the first of it. Exit code 0, or 1 when the time is up.

    It looks on: nothing counts as handed over. A restart of the daemon does not end it.
    """
    with connect(address) as client:
        events = client.subscribe(agent, include_unread=True, observe=True, caught_up=True)
        alarm = threading.Timer(timeout or LOOK_SEC, client.close)
        alarm.daemon = True
        if timeout is not None:
            alarm.start()
        message = _first(events, only_look=timeout == 0)
        alarm.cancel()
    if message is None:
        remark(f"no mail for {agent}" if timeout == 0 else f"no mail for {agent} in time")
        raise typer.Exit(ExitCode.TIMED_OUT)
    emit_json(message.to_dict()) if json else emit(render_message(message))


def _first(events: Iterable[Event], *, only_look: bool) -> Message | None:
    for event in events:
        if isinstance(event, Message):
            return event
        if only_look and isinstance(event, CaughtUp):
            break
    return None
