"""`mailroom wait` — returns when an agent has an unread message. It does not poll, and marks nothing."""

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
from mailroom_apps.cli.output import emit, emit_json, emit_note
from mailroom_apps.cli.rendering import render_message
from mailroom_apps.cli.stop_signals import StopSignals

CHECK_SEC = 10.0  # the limit for a check without waiting


def wait(
    agent: Agent,
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Give up after this time; 0 checks without waiting.",
            show_default="never",
        ),
    ] = None,
    json: Json = False,
    address: Address = None,
) -> None:
    """Wait for an unread message and show it. The exit code is 0, or 1 if the timeout expires first.

    The message is not marked as offered. A restart of the daemon does not end the wait.
    """
    with connect(address) as client, StopSignals(client.close):
        events = client.subscribe(agent, include_unread=True, observe=True, caught_up=True)
        timer = threading.Timer(timeout or CHECK_SEC, client.close)
        timer.daemon = True
        if timeout is not None:
            timer.start()
        message = _first_message(events, check_only=timeout == 0)
        timer.cancel()
    if message is None:
        emit_note(f"no unread messages for {agent}" if timeout == 0 else f"no message for {agent} within the timeout")
        raise typer.Exit(ExitCode.TIMED_OUT)
    emit_json(message.to_dict()) if json else emit(render_message(message))


def _first_message(events: Iterable[Event], *, check_only: bool) -> Message | None:
    for event in events:
        if isinstance(event, Message):
            return event
        if check_only and isinstance(event, CaughtUp):
            break
    return None
