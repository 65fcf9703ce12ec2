"""`mailroom receipts` — the delivery states of an agent's sent messages."""

__all__ = ["receipts"]

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.cursor import BEGINNING
from mailroom.events import CaughtUp
from mailroom.receipts import Receipt

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Agent, Json
from mailroom_apps.cli.output import emit, emit_json, emit_note
from mailroom_apps.cli.rendering import render_event

if TYPE_CHECKING:
    from mailroom.subscriptions import Subscription


def receipts(
    agent: Agent,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue with new receipts.")] = False,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Start after this message or event.")] = None,
    json: Json = False,
    address: Address = None,
) -> None:
    """Show the receipts of the last 24 hours for messages that an agent sent."""
    shown = 0
    with (
        connect(address) as client,
        client.subscribe(
            agent, after_id=after or BEGINNING, include_receipts=True, observe=True, caught_up=True
        ) as events,
    ):
        for receipt in _receipts(events, follow=follow):
            shown += 1
            emit_json(receipt.to_dict()) if json else emit(render_event(receipt))
    if not shown:
        emit_note(f"no receipts for {agent}")


def _receipts(events: "Subscription", *, follow: bool) -> Iterator[Receipt]:
    for event in events:
        if isinstance(event, Receipt):
            yield event
        if isinstance(event, CaughtUp) and not follow:
            return
