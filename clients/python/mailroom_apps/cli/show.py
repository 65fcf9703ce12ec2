"""`mailroom show` — one message in full, and everything that became of it."""

__all__ = ["show"]

import orjson
from mailroom.messages import Message

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Json, MessageId
from mailroom_apps.cli.output import emit, emit_json, emit_table, remark
from mailroom_apps.cli.rendering import moment_text, render_message
from mailroom_apps.cli.sending import delivery_remarks
from mailroom_apps.printable import printable

_HEADERS = ("STATE", "WHEN")


def show(message_id: MessageId, json: Json = False, address: Address = None) -> None:
    """Shows a message with its metadata and its history; marks nothing."""
    with connect(address) as client:
        tracked = client.get_message(message_id)
    if json:
        emit_json(tracked.to_dict())
        return
    emit(render_message(tracked.message))
    for line in _particulars(tracked.message):
        emit(line)
    emit("")
    emit_table(_HEADERS, [(receipt.state, moment_text(receipt.timestamp)) for receipt in tracked.history])
    for fault in delivery_remarks(tracked.delivery):
        remark(fault)


def _particulars(message: Message) -> list[str]:
    lines: list[str] = []
    if message.metadata:
        lines.append(f"metadata: {printable(orjson.dumps(message.metadata, option=orjson.OPT_INDENT_2).decode())}")
    if message.expires_at:
        lines.append(f"expires: {moment_text(message.expires_at)}")
    if message.sender_verified:
        lines.append("the sender proved its name")
    return lines
