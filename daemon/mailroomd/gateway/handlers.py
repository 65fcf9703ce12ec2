"""Handlers — turn a servicer's methods into gRPC method handlers on raw bytes.

Owns encoding, and the conversion of exceptions to statuses (`gateway.status.refuse`). Requests are decoded here
(`gateway.request_decoding`) instead of by gRPC, so that their cost is known before and a malformed one gets a reason
and a sentence. Where a caller without a token must be refused, every method takes a stream of requests: otherwise gRPC
would receive up to 16 MiB before the refusal. On the wire there is no difference, but such a call costs more. Handlers
are coroutines and async generators only: a cancelled synchronous handler keeps its thread (grpc #28999).
Invariant: every request passes the request guard, which knows it by its RPC's name.
"""

__all__ = ["Handler", "bidirectional", "generic_handler", "server_stream", "unary"]

import asyncio
import errno
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn, Protocol, TypeVar, cast

import grpc
from google.protobuf.message import Message

from mailroomd.auth.caller import Caller, Context, Role
from mailroomd.gateway.call import Call
from mailroomd.gateway.grpc_log import exit_out_of_memory
from mailroomd.gateway.request_decoding import decode, malformed
from mailroomd.gateway.request_guard import RequestGuard, Write
from mailroomd.gateway.status import refuse
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.observability.log import log
from mailroomd.storage.database.connection import is_damaged

RECEIVE_SEC = 30.0  # for a request to arrive: the largest at 5 Mbit/s
ANONYMOUS_RECEIVE_SEC = 2.0  # for a few bytes: callers without a token may only ask for the health

RequestType = TypeVar("RequestType", bound=Message)


class Encodable(Protocol):
    """A response: a protobuf message, or something else that encodes itself as one."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Returns the response, encoded."""
        ...


MethodHandler = Any  # grpc.RpcMethodHandler, which is generic in its stubs but not at run time
Handler = Callable[[RequestGuard], MethodHandler]  # returns the method handler behind a guard


def unary(
    request_type: type[RequestType], method: Callable[[RequestType, Call], Awaitable[Encodable]], rpc: str = ""
) -> Handler:
    """Returns a handler that answers one request with one response; `rpc` is named after the request by default."""
    rpc = rpc or _rpc_of(request_type)

    def behind(guard: RequestGuard) -> MethodHandler:
        async def handle(received: bytes | AsyncIterator[bytes], context: Context) -> bytes:
            try:
                caller = guard.authenticate(rpc, context)
                if (usage := guard.begin_call(caller)) is not None:
                    context.add_done_callback(usage.release)
                if isinstance(received, bytes):
                    request, size_bytes = await decode(request_type, received), len(received)
                else:
                    request, size_bytes = await _receive(request_type, guard, caller, context)
                with guard.admit(rpc, caller, request, size_bytes):
                    response = await method(request, guard.call(rpc, caller, request, context))
                guard.check_response(rpc, caller, request)
                answer = response.SerializeToString()
                if usage is not None:
                    usage.add_response(len(answer))
                return answer
            except Exception as error:  # noqa: BLE001 - the client gets a sentence, the log the traceback
                await _refuse(context, error)

        if guard.has_strangers:
            return cast("MethodHandler", grpc.stream_unary_rpc_method_handler(handle))
        return cast("MethodHandler", grpc.unary_unary_rpc_method_handler(handle))

    return behind


def server_stream(
    request_type: type[RequestType], method: Callable[[RequestType, Call, Write], Awaitable[None]], rpc: str = ""
) -> Handler:
    """Returns a handler that answers one request with a stream; the method writes serialized responses."""
    rpc = rpc or _rpc_of(request_type)

    def behind(guard: RequestGuard) -> MethodHandler:
        async def handle(_: AsyncIterator[bytes], context: Context) -> None:
            try:
                caller = guard.authenticate(rpc, context)
                with guard.admit_stream(caller):
                    request, size_bytes = await _receive(request_type, guard, caller, context)
                    with guard.admit(rpc, caller, request, size_bytes):
                        call = guard.call(rpc, caller, request, context)
                        await method(request, call, guard.guard_writes(call))
            except Exception as error:  # noqa: BLE001 - as above
                await _refuse(context, error)

        return cast("MethodHandler", grpc.stream_stream_rpc_method_handler(handle))

    return behind


def bidirectional(
    request_type: type[RequestType], method: Callable[[RequestType, Call], Awaitable[Message]]
) -> Handler:
    """Returns a handler that answers each request of a stream, in order; it reads the next one after the answer."""
    rpc = _rpc_of(request_type)

    def behind(guard: RequestGuard) -> MethodHandler:
        async def handle(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            try:
                caller = guard.authenticate(rpc, context)
                with guard.admit_stream(caller):
                    async for encoded in requests:
                        guard.check_still_allowed(rpc, caller, None)
                        request = await decode(request_type, encoded)
                        with guard.admit(rpc, caller, request, len(encoded)):
                            response = await method(request, guard.call(rpc, caller, request, context))
                        yield response.SerializeToString()
            except Exception as error:  # noqa: BLE001 - as above
                await _refuse(context, error)

        return cast("MethodHandler", grpc.stream_stream_rpc_method_handler(handle))

    return behind


def generic_handler(service: str, methods: dict[str, Handler], guard: RequestGuard) -> grpc.GenericRpcHandler:
    """Returns the handler of a service's methods, each behind the guard."""
    return grpc.method_handlers_generic_handler(service, {name: behind(guard) for name, behind in methods.items()})


async def _receive(
    request_type: type[RequestType], guard: RequestGuard, caller: Caller, context: Context
) -> tuple[RequestType, int]:
    """Returns the request of a call that has one, and its size in bytes. Nothing keeps the encoded one.

    A client receives and decodes only a few requests at a time.

    Raises:
        MailroomError: the client sent none, none in time, or one that cannot be decoded.
    """
    receive_sec = ANONYMOUS_RECEIVE_SEC if caller.role is Role.ANONYMOUS else RECEIVE_SEC
    async with guard.receiving(caller):
        try:
            async with asyncio.timeout(receive_sec):
                encoded = await context.read()  # an iterator of requests would keep it until the call ends
        except TimeoutError:
            sentence = f"the request was not received within {receive_sec:g} s: retry"
            raise MailroomError(Reason.REQUEST_MALFORMED, sentence) from None
        if encoded is grpc.aio.EOF:
            raise malformed(request_type.DESCRIPTOR)
        return await decode(request_type, encoded), len(encoded)


def _rpc_of(request_type: type[Message]) -> str:
    """Returns the RPC's name: its request's name without "Request", which `buf lint` enforces."""
    return request_type.DESCRIPTOR.name.removesuffix("Request")


async def _refuse(context: Context, error: Exception) -> NoReturn:
    """Ends a call with the status of an error. Without memory even that fails: the process exits, and clients retry."""
    if isinstance(error, grpc.aio.AbortError):  # the method has ended the call itself
        raise error
    if isinstance(error, MailroomError):  # its frames hold the request, perhaps 16 MiB, until the client has the status
        error.__traceback__ = error.__cause__ = error.__context__ = None
    if not isinstance(error, MemoryError):
        with suppress(MemoryError):
            await refuse(context, error if isinstance(error, MailroomError) else _unexpected(error))
    exit_out_of_memory()


def _unexpected(error: Exception) -> MailroomError:
    """Logs an exception that is not a refusal, and returns the error that the client gets."""
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return MailroomError(Reason.WORKER_RESTARTING, "the daemon did not answer in time: retry")
    if isinstance(error, sqlite3.DatabaseError) and is_damaged(error):
        log.error("database corrupted", error=str(error))
        sentence = f"the database is corrupted ({error}): run `mailroom doctor` to see what can be saved"
        return MailroomError(Reason.STORAGE_FAILED, sentence)
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        log.error("out of file descriptors: raise the limit (LimitNOFILE=)", error=str(error))
        return MailroomError(Reason.WORKER_RESTARTING, "the daemon is out of file descriptors: retry")
    if isinstance(error, sqlite3.OperationalError):
        log.warning("database read failed", error=str(error))
        sentence = f"the database could not be read ({error}): retry"
        return MailroomError(Reason.STORAGE_FAILED, sentence, retry_after_ms=1000)
    log.exception("unhandled exception in a call")
    return MailroomError(Reason.INTERNAL, f"internal error ({type(error).__name__}): see the daemon's log")
