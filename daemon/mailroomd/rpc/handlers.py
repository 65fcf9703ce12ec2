"""Handlers — turn a servicer's methods into gRPC method handlers on raw bytes.

Owns decoding, encoding and the one place where exceptions become statuses (`rpc.status.refuse`). Requests are decoded
here rather than by gRPC, so that one that can't be gets a reason and a sentence. Handlers are coroutines and async
generators only (a cancelled synchronous one keeps a thread: grpc #28999).
"""

__all__ = ["Context", "Handler", "bidirectional", "generic_handler", "server_stream", "unary"]

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message

from mailroomd.core.log import log
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import MAX_METADATA_DEPTH
from mailroomd.rpc.status import refuse

Asked = TypeVar("Asked", bound=Message)
Handler = Any  # grpc.RpcMethodHandler, which is generic in its stubs and not when it runs
Context = Any  # grpc.aio.ServicerContext, whose stubs want the types of what is bytes here


def unary(request_type: type[Asked], method: Callable[[Asked, Context], Awaitable[Message]]) -> Handler:
    """Returns a handler that answers one request with one response."""

    async def handle(raw: bytes, context: Context) -> bytes:
        try:
            response = await method(decode(request_type, raw), context)
            return response.SerializeToString()
        except MailroomError as error:
            await refuse(context, error)
        except Exception as error:  # noqa: BLE001 - the client gets a sentence, the log the traceback
            await refuse(context, _internal(error))

    return cast("Handler", grpc.unary_unary_rpc_method_handler(handle))


def server_stream(
    request_type: type[Asked], method: Callable[[Asked, Context], AsyncGenerator[bytes, None]]
) -> Handler:
    """Returns a handler that answers one request with a stream of serialized responses."""

    async def handle(raw: bytes, context: Context) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(method(decode(request_type, raw), context)) as responses:
                async for response in responses:
                    yield response
        except MailroomError as error:
            await refuse(context, error)
        except Exception as error:  # noqa: BLE001 - as above
            await refuse(context, _internal(error))

    return cast("Handler", grpc.unary_stream_rpc_method_handler(handle))


def bidirectional(request_type: type[Asked], method: Callable[[Asked, Context], Awaitable[Message]]) -> Handler:
    """Returns a handler that answers each request of a stream, in order; the next is read when one is answered."""

    async def handle(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        try:
            async for raw in requests:
                response = await method(decode(request_type, raw), context)
                yield response.SerializeToString()
        except MailroomError as error:
            await refuse(context, error)
        except Exception as error:  # noqa: BLE001 - as above
            await refuse(context, _internal(error))

    return cast("Handler", grpc.stream_stream_rpc_method_handler(handle))


def generic_handler(service: str, methods: dict[str, Handler]) -> grpc.GenericRpcHandler:
    """Returns the handler of a service's methods."""
    return grpc.method_handlers_generic_handler(service, methods)


def decode(request_type: type[Asked], raw: bytes) -> Asked:
    """Returns a request.

    Raises:
        MailroomError: the bytes are no such request.
    """
    try:
        return request_type.FromString(raw)
    except DecodeError as error:
        if "MaxDepth" in str(error):  # protobuf's own bound lies a little above ours
            raise MailroomError(
                Reason.METADATA_TOO_DEEP,
                f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels",
                field="metadata",
            ) from error
        raise MailroomError(
            Reason.REQUEST_MALFORMED,
            f"the request is no {request_type.DESCRIPTOR.name}: text is UTF-8, and the contract is version 1",
        ) from error


def _internal(error: Exception) -> MailroomError:
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return MailroomError(Reason.WORKER_RESTARTING, "the mail room did not answer in time: try again")
    if isinstance(error, MemoryError):
        log.error("no memory left", error=str(error))
        return MailroomError(Reason.WORKER_RESTARTING, "the mail room has no memory left for this: try again")
    if isinstance(error, sqlite3.OperationalError):
        log.warning("database not read", error=str(error))
        sentence = f"the database could not be read ({error}): try again"
        return MailroomError(Reason.STORAGE_FAILED, sentence, retry_after_ms=1000)
    log.exception("call failed")
    return MailroomError(Reason.INTERNAL, f"the mail room failed inside ({type(error).__name__}): see the daemon's log")
