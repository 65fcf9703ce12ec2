"""poisoned_worker — a worker of the daemon in which some inputs raise what nobody expected, wherever they are touched.

`poisoned_daemon` starts it in each worker's place. The functions are wrapped from outside, as `crashing_worker` does.
"""

__all__ = ["POISON", "main"]

import functools
import importlib
import sqlite3
from collections.abc import Callable
from typing import Any

from mailroomd.model.names import is_name
from mailroomd.worker.context import WorkerContext

POISON = "poison"
"""Begins the content of a message, the name of a file or the name of an agent that raises."""

_TARGETS = {"command-queue": "command_queue", "mailbox": "mailbox", "gateway": "gateway"}


def main(context: WorkerContext, config: Any) -> None:
    """Runs the worker until it is told to stop."""
    if context.name == "command-queue":
        _poison()
    if context.name == "mailbox":
        _poison_mailbox()
    importlib.import_module(f"mailroomd.{_TARGETS[context.name]}.process").main(context, config)


def _poison() -> None:
    from mailroomd.storage.database import message_steps, message_store, new_messages, responses
    from mailroomd.storage.inbox import filing
    from mailroomd.storage.outbox import outbox

    def is_hit(draft: Any, kind: str) -> bool:
        return draft.content.startswith(f"{POISON} {kind}")

    def refuse_rows(_self: Any, mail: Any, inserted: int, *_: Any) -> None:
        if any(is_hit(message.draft, "value") for message in mail[inserted:]):
            raise sqlite3.IntegrityError("planted")
        if any(is_hit(message.draft, "row") for message in mail[inserted:]):
            raise RuntimeError("planted")

    def refuse_file(_id: int, _ms: int, draft: Any) -> None:
        if is_hit(draft, "file"):
            raise ValueError("planted")

    def refuse_step(_self: Any, _first_id: int, mailbox: str, *_: Any) -> None:
        assert is_name(mailbox)
        if mailbox.startswith(POISON):
            raise RuntimeError("planted")

    def refuse_response(_self: Any, _id: int, _agent: str, response: Any, _ms: int) -> None:
        if response.file_name.startswith(POISON):
            raise RuntimeError("planted")

    def refuse_reading(_directory: int, name: str, _status: Any) -> None:
        if name.startswith(f"unreadable-{POISON}"):
            raise RuntimeError("planted")

    _wrap(new_messages.NewMessages, "insert", refuse_rows)
    _wrap(filing, "encode_inbox_file", refuse_file)
    _wrap(message_steps.MessageSteps, "mark_read", refuse_step)
    _wrap(responses.ResponseRows, "insert", refuse_response)
    _wrap(outbox, "read_response", refuse_reading)
    assert message_store.NewMessages is new_messages.NewMessages


def _poison_mailbox() -> None:
    from mailroomd.mailbox import in_flight
    from mailroomd.table import writer

    def refuse_record(_self: Any, _id: int, _ms: int, _entry: Any, body: bytes, _state: Any) -> None:
        if f"{POISON} record".encode() in body:
            raise RuntimeError("planted")

    def refuse_command(_self: Any, in_flight: Any) -> None:
        if getattr(in_flight.command.op, "key", "").startswith(f"{POISON} command"):
            raise RuntimeError("planted")

    _wrap(writer.TableWriter, "append", refuse_record)
    _wrap(in_flight.InFlightCommands, "submit", refuse_command)


def _wrap(owner: Any, name: str, check: Callable[..., None]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check(*args)
        return original(*args, **kwargs)

    setattr(owner, name, checked)
