"""echo_server — the speed of Python's gRPC alone: the contract on an empty grpc.aio server.

Same messages, same parsing and serializing, one process on uvloop, and nothing behind it. With --bare-loop it is the
floor: a second process (`bare_loop`) commits and files the answered messages, and no response waits for it. It stores
and checks nothing, so it is not a fake for tests.
"""

__all__ = ["main", "reply_to"]

import argparse
import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
import uvloop
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.gateway.encoding import join_events

from benchmarks.clients.control import HEALTH_CHECK, SEND_MESSAGE, SEND_MESSAGES, SERVING, SUBSCRIBE
from benchmarks.servers.bare_loop import start_beside

Context = aio.ServicerContext[Any, Any]
ID = "0123456789abcdef"


def reply_to(request: pb.SendMessageRequest) -> pb.SendMessageResponse:
    """Returns the response with the message and everything that the daemon adds to it."""
    return pb.SendMessageResponse(
        message=_message(request), delivery=pb.Delivery(state=pb.DELIVERY_STATE_FILED, recipient_known=True)
    )


def _message(request: pb.SendMessageRequest) -> pb.Message:
    return pb.Message(
        id=ID,
        recipient=request.recipient,
        sender=request.sender,
        content=request.content,
        type="text",
        timestamp=Timestamp(seconds=1, nanos=1_000_000),
        priority=pb.PRIORITY_NORMAL,
        state=pb.DELIVERY_STATE_FILED,
    )


class _Echo:
    """The methods of the contract that the benchmarks call.

    Args:
        count: called for each answered message.
    """

    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count
        self._announced: defaultdict[str, asyncio.Future[list[bytes]]] = defaultdict(asyncio.Future)
        self._batches: dict[tuple[str, int], list[bytes]] = {}

    async def send_message(self, request: pb.SendMessageRequest, _: Context) -> pb.SendMessageResponse:
        self._count()
        return reply_to(request)

    async def send_messages(
        self, requests: AsyncGenerator[pb.SendMessagesRequest], _: Context
    ) -> AsyncGenerator[pb.SendMessagesResponse]:
        """Answers each batch; after the last, every subscriber of a recipient gets its messages."""
        events: defaultdict[str, list[bytes]] = defaultdict(list)
        async for request in requests:
            for message in request.messages:
                event = pb.SubscribeResponse(message=_message(message), event_id=ID)
                events[message.recipient].append(event.SerializeToString())
            replies = [pb.SendResult(ok=reply_to(message)) for message in request.messages]
            yield pb.SendMessagesResponse(results=replies)
        for recipient, serialized in events.items():
            self._announced[recipient].set_result(serialized)

    async def subscribe(self, request: pb.SubscribeRequest, _: Context) -> AsyncGenerator[bytes]:
        """Streams one set of messages, serialized once, as fast as gRPC accepts them."""
        yield pb.SubscribeResponse(caught_up=pb.CaughtUp(last_id=ID)).SerializeToString()
        events = await asyncio.shield(self._announced[request.agent])
        for response in self._batched(request.agent, events, request.max_batch):
            yield response

    def _batched(self, agent: str, events: list[bytes], size: int) -> list[bytes]:
        """Returns responses with `size` events each, which all subscribers share."""
        if size > 1 and (agent, size) not in self._batches:
            starts = range(0, len(events), size)
            self._batches[agent, size] = [join_events(events[start : start + size], 1) for start in starts]
        return self._batches.get((agent, size), events)

    async def check(self, _request: bytes, _: Context) -> bytes:
        return SERVING

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        return [
            _handler(SEND_MESSAGE, grpc.unary_unary_rpc_method_handler, self.send_message, pb.SendMessageRequest),
            _handler(SEND_MESSAGES, grpc.stream_stream_rpc_method_handler, self.send_messages, pb.SendMessagesRequest),
            _handler(SUBSCRIBE, grpc.unary_stream_rpc_method_handler, self.subscribe, pb.SubscribeRequest),
            _handler(HEALTH_CHECK, grpc.unary_unary_rpc_method_handler, self.check, None),
        ]


def _handler(path: str, kind: Any, behavior: Any, request: Any) -> grpc.GenericRpcHandler:
    service, method = path.removeprefix("/").split("/")
    parse = bytes if request is None else request.FromString
    handler = kind(behavior, request_deserializer=parse, response_serializer=_serialize)
    return grpc.method_handlers_generic_handler(service, {method: handler})


def _serialize(response: Any) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


async def _serve(count: Callable[[], None]) -> None:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(_Echo(count).handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    await server.start()
    print(f"echo is ready: 127.0.0.1:{port}", flush=True)
    await stopped.wait()
    await server.stop(0.2)


def _nothing() -> None:
    pass


def main() -> None:
    """Serves on a free loopback port, printed on standard output, until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.servers.echo_server")
    parser.add_argument("--bare-loop", metavar="DIR", help="commit and file the answered messages below this directory")
    parser.add_argument(
        "--rows", type=int, default=0, help="messages per transaction (default: all that have accumulated)"
    )
    arguments = parser.parse_args()
    if not arguments.bare_loop:
        return uvloop.run(_serve(_nothing))
    answered, loop = start_beside(arguments.bare_loop, arguments.rows)
    try:
        uvloop.run(_serve(lambda: os.eventfd_write(answered, 1)))
    finally:
        loop.terminate()
        loop.wait()
    return None


if __name__ == "__main__":
    main()
