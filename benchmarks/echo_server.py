"""echo_server — the floor that the daemon is compared with: SendMessage on an empty grpc.aio server.

Same contract, same parsing and serializing, one process on uvloop, and nothing behind it. It also answers the health
service, so that whatever starts the daemon can start this. Not a fake for tests: it keeps nothing and checks nothing.
"""

import asyncio
import signal

import grpc
import uvloop
from grpc import aio
from mailroom.v1 import mailroom_pb2 as pb

from benchmarks.client import HEALTH_CHECK, SEND_MESSAGE, SERVING

__all__ = ["main", "reply_to"]


def reply_to(request: pb.SendMessageRequest) -> pb.SendMessageResponse:
    """Returns the response that carries the message back."""
    message = pb.Message(recipient=request.recipient, sender=request.sender, content=request.content)
    return pb.SendMessageResponse(message=message)


async def _send_message(
    request: pb.SendMessageRequest,
    _context: aio.ServicerContext[pb.SendMessageRequest, pb.SendMessageResponse],
) -> pb.SendMessageResponse:
    return reply_to(request)


async def _check(_request: bytes, _context: aio.ServicerContext[bytes, bytes]) -> bytes:
    return SERVING


def _handlers() -> list[grpc.GenericRpcHandler]:
    send = grpc.unary_unary_rpc_method_handler(
        _send_message,
        request_deserializer=pb.SendMessageRequest.FromString,
        response_serializer=pb.SendMessageResponse.SerializeToString,
    )
    check = grpc.unary_unary_rpc_method_handler(_check, request_deserializer=bytes, response_serializer=bytes)
    handlers: list[grpc.GenericRpcHandler] = []
    for path, handler in ((SEND_MESSAGE, send), (HEALTH_CHECK, check)):
        service, method = path.removeprefix("/").split("/")
        handlers.append(grpc.method_handlers_generic_handler(service, {method: handler}))
    return handlers


async def _serve() -> None:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(_handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    await server.start()
    print(f"echo is ready: 127.0.0.1:{port}", flush=True)
    await stopped.wait()
    await server.stop(1)


def main() -> None:
    """Serves on a free port of the loopback address, printed on standard output, until SIGTERM or SIGINT."""
    uvloop.run(_serve())


if __name__ == "__main__":
    main()
