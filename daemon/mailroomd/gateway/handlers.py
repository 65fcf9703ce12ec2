"""Handlers — turn a servicer's methods into gRPC method handlers on raw bytes.

Owns decoding, encoding and the one place where exceptions become statuses (`gateway.status.refuse`). Requests are decoded
here rather than by gRPC, so that one that can't be gets a reason and a sentence. Handlers are coroutines and async
generators only (a cancelled synchronous one keeps a thread: grpc #28999).
Invariant: each request passes the guard, whose table knows it by its RPC's name.
"""

__all__ = ["Context", "Handler", "bidirectional", "generic_handler", "server_stream", "unary"]

import asyncio
import errno
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message

from mailroomd.auth.caller import Context
from mailroomd.gateway.grpc_log import end_without_memory
from mailroomd.gateway.request_guard import RequestGuard, Write
from mailroomd.gateway.status import refuse
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import MAX_METADATA_DEPTH
from mailroomd.observability.log import log
from mailroomd.storage.database.connection import is_damaged

Asked = TypeVar("Asked", bound=Message)
MethodHandler = Any  # grpc.RpcMethodHandler, which is generic in its stubs and not when it runs
Handler = Callable[[RequestGuard], MethodHandler]  # a handler that lacks its guard yet


def unary(request_type: type[Asked], method: Callable[[Asked, Context], Awaitable[Message]]) -> Handler:
    """Returns a handler that answers one request with one response."""
    rpc = _rpc_of(request_type)

    def behind(guard: RequestGuard) -> MethodHandler:
        async def handle(raw: bytes, context: Context) -> bytes:
            try:
                caller = guard.authenticate(rpc, context)
                request = decode(request_type, raw)
                with guard.admit(rpc, caller, request, len(raw)):
                    response = await method(request, context)
                guard.check_answer(rpc, caller, request, response)
                return response.SerializeToString()
            except Exception as error:  # noqa: BLE001 - the client gets a sentence, the log the traceback
                await _refuse(context, error)

        return cast("MethodHandler", grpc.unary_unary_rpc_method_handler(handle))

    return behind


def server_stream(request_type: type[Asked], method: Callable[[Asked, Context, Write], Awaitable[None]]) -> Handler:
    """Returns a handler that answers one request with a stream: the method writes serialized responses."""
    rpc = _rpc_of(request_type)

    def behind(guard: RequestGuard) -> MethodHandler:
        async def handle(raw: bytes, context: Context) -> None:
            try:
                caller = guard.authenticate(rpc, context)
                request = decode(request_type, raw)
                with guard.streaming(caller), guard.admit(rpc, caller, request, len(raw)):
                    await method(request, context, guard.passing(caller, context.write))
            except Exception as error:  # noqa: BLE001 - as above
                await _refuse(context, error)

        return cast("MethodHandler", grpc.unary_stream_rpc_method_handler(handle))

    return behind


def bidirectional(request_type: type[Asked], method: Callable[[Asked, Context], Awaitable[Message]]) -> Handler:
    """Returns a handler that answers each request of a stream, in order; the next is read when one is answered."""
    rpc = _rpc_of(request_type)

    def behind(guard: RequestGuard) -> MethodHandler:
        async def handle(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            try:
                caller = guard.authenticate(rpc, context)
                with guard.streaming(caller):
                    async for raw in requests:
                        guard.check_still_good(caller)
                        request = decode(request_type, raw)
                        with guard.admit(rpc, caller, request, len(raw)):
                            response = await method(request, context)
                        yield response.SerializeToString()
            except Exception as error:  # noqa: BLE001 - as above
                await _refuse(context, error)

        return cast("MethodHandler", grpc.stream_stream_rpc_method_handler(handle))

    return behind


def generic_handler(service: str, methods: dict[str, Handler], guard: RequestGuard) -> grpc.GenericRpcHandler:
    """Returns the handler of a service's methods, each behind the guard."""
    return grpc.method_handlers_generic_handler(service, {name: behind(guard) for name, behind in methods.items()})


def decode(request_type: type[Asked], raw: bytes) -> Asked:
    """Returns a request.

    Raises:
        MailroomError: the bytes are no such request.
        MemoryError: there is none for it; protobuf calls that a DecodeError, too.
    """
    try:
        return request_type.FromString(raw)
    except DecodeError as error:
        if "alloc failed" in str(error):
            raise MemoryError from error
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


def _rpc_of(request_type: type[Message]) -> str:
    """Returns the RPC's name, which is its request's without the last word: `buf lint` sees to that."""
    return request_type.DESCRIPTOR.name.removesuffix("Request")


async def _refuse(context: Context, error: Exception) -> NoReturn:
    """Ends a call with the status of an error. Without memory even that fails: the process ends, calls come again."""
    if not isinstance(error, MemoryError):
        with suppress(MemoryError):
            await refuse(context, error if isinstance(error, MailroomError) else _internal(error))
    end_without_memory()


def _internal(error: Exception) -> MailroomError:
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return MailroomError(Reason.WORKER_RESTARTING, "the mail room did not answer in time: try again")
    if isinstance(error, sqlite3.DatabaseError) and is_damaged(error):
        log.error("database damaged", error=str(error))
        sentence = f"the database is damaged ({error}): run `mailroom doctor`, which says what can be saved"
        return MailroomError(Reason.STORAGE_FAILED, sentence)
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        log.error("no file descriptor left: raise the limit (LimitNOFILE=)", error=str(error))
        return MailroomError(Reason.WORKER_RESTARTING, "the mail room has no file descriptor left for this: try again")
    if isinstance(error, sqlite3.OperationalError):
        log.warning("database not read", error=str(error))
        sentence = f"the database could not be read ({error}): try again"
        return MailroomError(Reason.STORAGE_FAILED, sentence, retry_after_ms=1000)
    log.exception("call failed")
    return MailroomError(Reason.INTERNAL, f"the mail room failed inside ({type(error).__name__}): see the daemon's log")
