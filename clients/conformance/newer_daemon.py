"""NewerDaemon — a stand-in for a daemon of a later version, whose stream has an event of a kind that nobody knows yet.

The first stream has a message, the unknown event, and ends with OK; a stream that starts behind the unknown event has
another message and stays open. No real daemon sends such events, which is why this one is made up.
"""

__all__ = ["NewerDaemon"]

import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from mailroom.v1 import mailroom_pb2 as pb

_FIRST_ID, _LATER_ID = "00000000000000a1", "00000000000000a3"
_UNKNOWN_FIELDS = bytes([0x7A, 2, 0x08, 1])  # field 15, two bytes: an event of a later version
_FIELD_500 = bytes([0xA2, 0x1F, 1, 0x78])  # field 500, one byte of text


class NewerDaemon:
    """The stand-in, on a Unix socket in the directory.

    Attributes:
        target: its gRPC target.
        requests: the streams that were asked for.
    """

    UNKNOWN_ID = "00000000000000a2"

    def __init__(self, directory: Path) -> None:
        self.target = f"unix://{directory}/{secrets.token_hex(3)}.sock"
        self.requests: list[pb.SubscribeRequest] = []
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool)
        new_handler: Any = grpc.unary_stream_rpc_method_handler
        handlers = {"Subscribe": new_handler(self._subscribe, pb.SubscribeRequest.FromString)}
        service = grpc.method_handlers_generic_handler("mailroom.v1.MailboxService", handlers)
        self._server.add_generic_rpc_handlers((service,))
        self._server.add_insecure_port(self.target)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        self._server.stop(0.5).wait(2)
        self._pool.shutdown()

    def _subscribe(self, request: pb.SubscribeRequest, context: grpc.ServicerContext) -> Iterator[bytes]:
        self.requests.append(request)
        if request.after_id < self.UNKNOWN_ID:
            yield _event(_FIRST_ID, "before")
            yield pb.SubscribeResponse(event_id=self.UNKNOWN_ID).SerializeToString() + _UNKNOWN_FIELDS
            return
        yield _event(_LATER_ID, "after", priority=9, state=99)
        while context.is_active() and not self._closed.wait(0.05):
            pass


def _event(event_id: str, content: str, **numbers: int) -> bytes:
    fields: Any = numbers  # numbers that the enums of this version do not have
    message = pb.Message(id=event_id, recipient="bob", sender="later", content=content, type="text", **fields)
    message.timestamp.GetCurrentTime()
    newer = pb.Message.FromString(message.SerializeToString() + _FIELD_500)
    return pb.SubscribeResponse(event_id=event_id, message=newer).SerializeToString()
