"""`mailroom show` — one message in full, with its history."""

__all__ = ["show"]

import orjson
from mailroom.messages import Message

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Json, MessageId
from mailroom_apps.cli.output import emit, emit_json, emit_note, emit_table
from mailroom_apps.cli.rendering import format_time, render_message, step_label
from mailroom_apps.cli.sending import delivery_errors
from mailroom_apps.printable import printable

_HEADERS = ("STATE", "WHEN")


def show(message_id: MessageId, json: Json = False, address: Address = None) -> None:
    """Show a message with its metadata and its history. Does not change its state."""
    with connect(address) as client:
        tracked = client.get_message(message_id)
    if json:
        emit_json(tracked.to_dict())
        return
    emit(render_message(tracked.message))
    for line in _details(tracked.message):
        emit(line)
    emit("")
    emit_table(_HEADERS, [(step_label(receipt), format_time(receipt.timestamp)) for receipt in tracked.history])
    for error in delivery_errors(tracked.delivery):
        emit_note(error)


def _details(message: Message) -> list[str]:
    lines: list[str] = []
    if message.metadata:
        lines.append(f"metadata: {printable(orjson.dumps(message.metadata, option=orjson.OPT_INDENT_2).decode())}")
    if message.expires_at:
        lines.append(f"expires: {format_time(message.expires_at)}")
    proof = "verified by a token" if message.sender_verified else "unverified: any program of this user can claim it"
    lines.append(f"sender: {proof}")
    return lines
