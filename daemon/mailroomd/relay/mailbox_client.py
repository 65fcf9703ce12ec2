"""MailboxClient — the relay's connection to the mailbox: operations out, results in, and what was announced.

Owns call numbers, the calls without an answer, and their repetition to a mailbox that has restarted, all in the order
in which they were made. Not here: what operations mean. Above: `inbound`, `link`.
Invariant: operations reach the mailbox in the order of `submit`, also after a restart.
"""

__all__ = ["MailboxClient"]

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from mailroomd.ipc.link import Link
from mailroomd.ipc.queue import PacketQueue
from mailroomd.protocol.operations import Confirm, GiveUp, Intend, RecordReceipts, Result, Return, Send
from mailroomd.protocol.packets import Answer, Event, Hello, HighWaterMarkAdvanced, Request

CALL_ID_BITS = 40  # the relay's epoch is above them
FLUSH_RETRY_SEC = 0.005  # when the queue is full


class MailboxClient:
    """Submits operations.

    Args:
        epoch: counts the starts of the relay.
        requests: the queue that the mailbox reads.
        events: the queue that the mailbox writes.
        on_advanced: called with each announcement of new mail and receipts.
    """

    def __init__(
        self,
        epoch: int,
        requests: PacketQueue[Any],
        events: PacketQueue[Any],
        on_advanced: Callable[[HighWaterMarkAdvanced], None],
    ) -> None:
        self._link: Link[Event, Request] = Link(epoch, events, requests, self._unanswered)
        self._last_call = epoch << CALL_ID_BITS
        self._calls: dict[int, tuple[Request, asyncio.Future[Result]]] = {}
        self._on_advanced = on_advanced
        self._loop = asyncio.get_running_loop()
        self._flush_timer: asyncio.Handle | None = None
        self._events_fileno = events.reader_fileno()
        self._loop.add_reader(self._events_fileno, self._receive)

    def send_hello(self) -> None:
        """Tells the mailbox that the relay has started."""
        self._link.send_hello()
        self._flush()

    def close(self) -> None:
        """Stops receiving."""
        self._loop.remove_reader(self._events_fileno)

    def submit(
        self, op: Send | Intend | Confirm | RecordReceipts | Return | GiveUp, body: bytes = b""
    ) -> "asyncio.Future[Result]":
        """Submits an operation; returns its result, which comes when it is durable or refused."""
        self._last_call += 1
        future: asyncio.Future[Result] = self._loop.create_future()
        request = Request(self._last_call, op, body)
        self._calls[self._last_call] = request, future
        self._link.send(request)
        if self._flush_timer is None:
            self._flush_timer = self._loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        self._flush_timer = None if self._link.flush() else self._loop.call_later(FLUSH_RETRY_SEC, self._flush)

    def _receive(self) -> None:
        for event in self._link.receive():
            if isinstance(event, Hello):
                self._link.answer_hello(event)
                if not self._link.is_established:
                    self._link.send_hello()
                self._on_advanced(HighWaterMarkAdvanced([], []))
            elif isinstance(event, Answer):
                self._resolve(event)
            elif isinstance(event, HighWaterMarkAdvanced):
                self._on_advanced(event)
        if self._link.backlog and self._flush_timer is None:
            self._flush()

    def _resolve(self, answer: Answer) -> None:
        call = self._calls.pop(answer.call, None)
        if call is not None and not call[1].done():
            call[1].set_result(answer.result)

    def _unanswered(self) -> list[Request]:
        return [msgspec.structs.replace(request, is_resubmitted=True) for request, _ in self._calls.values()]
