"""GuardInterceptor — puts the request guard in front of every method of every service that a server has.

Owns the way of a call: authenticate, receive, decode, admit, parse, handle, encode; and the conversion of exceptions to
statuses (`gateway.status.refuse`). A server asks its interceptors for the handler of each call, whatever has registered
it. This one answers with the handler behind the guard, made at the first call of an RPC and kept.

Handlers work on raw bytes. Requests are decoded here (`gateway.request_decoding`) instead of by gRPC, so that their
cost is known before and a malformed one gets a reason and a sentence. Where a caller without a token must be refused,
every method takes a stream of requests: otherwise gRPC would receive up to 16 MiB before the refusal. On the wire there
is no difference, but such a call costs more. Handlers are coroutines only: a cancelled synchronous handler keeps its
thread (grpc #28999).
Invariant: no request reaches a method without its RPC's row; an RPC without a row does not exist for clients.
"""

__all__ = ["GuardInterceptor"]

import asyncio
import errno
import inspect
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from typing import Any, NoReturn, cast

import grpc
from google.protobuf.message import Message

from mailroomd import __version__
from mailroomd.auth.caller import Caller, Context, Role
from mailroomd.gateway.call import Call
from mailroomd.gateway.grpc_log import exit_out_of_memory
from mailroomd.gateway.request_decoding import malformed
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.request_stream import RequestStream
from mailroomd.gateway.rpc import Rpc
from mailroomd.gateway.status import refuse
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.observability.log import log
from mailroomd.storage.database.connection import is_damaged

_VERSION = (("mailroom-version", __version__),)
RECEIVE_SEC = 30.0  # for a request to arrive: the largest at 5 Mbit/s
ANONYMOUS_RECEIVE_SEC = 2.0  # for a few bytes: callers without a token may only ask for the health

MethodHandler = Any  # grpc.RpcMethodHandler, whose stubs want message types where the handlers here work on bytes


class GuardInterceptor(grpc.aio.ServerInterceptor):
    """Guards the methods of a server.

    A registered method has gRPC's usual form, except that it gets a `Call` for the context. One request, one response:
    a coroutine that returns the response. A stream of responses: a coroutine that writes them. A stream of requests: a
    coroutine that answers each (`RequestStream`), or an asynchronous generator.

    Args:
        rpcs: the rows.
        guard: checks each call.
    """

    def __init__(self, rpcs: Iterable[Rpc], guard: RequestGuard) -> None:
        self._rpcs = {rpc.path: rpc for rpc in rpcs}
        self._guard = guard
        self._guarded: dict[str, MethodHandler] = {}  # None for a method without a row

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[MethodHandler]], handler_call_details: Any
    ) -> MethodHandler:
        """Returns the guarded handler of a call; None if there is none, which gRPC answers with UNIMPLEMENTED."""
        path: str = handler_call_details.method
        if path in self._guarded:
            return self._guarded[path]
        handler = await continuation(handler_call_details)
        if handler is not None:  # paths that nothing serves are not kept: clients can invent any number of them
            self._guarded[path] = handler = self._put_behind_guard(path, handler)
        return handler

    def _put_behind_guard(self, path: str, handler: MethodHandler) -> MethodHandler:
        rpc = self._rpcs.get(path)
        if rpc is None:
            log.error("method without a row in gateway/rpcs.py, not served", rpc=path)
            return None
        if handler.response_streaming:
            if handler.request_streaming:
                guarded = _guard_generator if inspect.isasyncgenfunction(rpc.method) else _guard_request_stream
                handle = guarded(rpc, handler.stream_stream, self._guard)
            else:
                handle = _guard_stream(rpc, handler.unary_stream, self._guard)
            encode = handler.response_serializer
            return cast("MethodHandler", grpc.stream_stream_rpc_method_handler(handle, None, encode))
        handle = _guard_unary(rpc, handler.unary_unary, self._guard)
        if self._guard.has_strangers:
            return cast("MethodHandler", grpc.stream_unary_rpc_method_handler(handle))
        return cast("MethodHandler", grpc.unary_unary_rpc_method_handler(handle))


def _guard_unary(rpc: Rpc, method: Callable[[Any, Call], Awaitable[Any]], guard: RequestGuard) -> Any:
    """Returns the handler that answers one request with one response."""

    async def handle(received: bytes | AsyncIterator[bytes], context: Context) -> bytes:
        try:
            caller = guard.authenticate(rpc, context)
            if caller.role is not Role.ANONYMOUS:
                context.set_trailing_metadata(_VERSION)  # initial metadata would take an operation of its own
            if (usage := guard.begin_call(caller)) is not None:
                context.add_done_callback(usage.release)
            if isinstance(received, bytes):
                request, size_bytes = await rpc.decode(received), len(received)
            else:
                request, size_bytes = await _receive(rpc, guard, caller, context)
            with guard.admit(rpc, caller, request, size_bytes):
                call = guard.call(rpc, caller, request, context)
                parsed = request if rpc.parse is None else await rpc.parse(request, call)
                response = await method(parsed, call)
            guard.check_response(rpc, caller, request)
            answer: bytes = response.SerializeToString()
            if usage is not None:
                usage.add_response(len(answer))
            return answer
        except Exception as error:  # noqa: BLE001 - the client gets a sentence, the log the traceback
            await _refuse(context, error)

    return handle


def _guard_stream(rpc: Rpc, method: Callable[[Any, Call], Awaitable[None]], guard: RequestGuard) -> Any:
    """Returns the handler that answers one request with a stream."""

    async def handle(_: AsyncIterator[bytes], context: Context) -> None:
        try:
            caller = guard.authenticate(rpc, context)
            with guard.admit_stream(caller):
                request, size_bytes = await _receive(rpc, guard, caller, context)
                with guard.admit(rpc, caller, request, size_bytes):
                    call = guard.call(rpc, caller, request, context)
                    if caller.role is not Role.ANONYMOUS:
                        await context.send_initial_metadata(_VERSION)
                    await method(request if rpc.parse is None else await rpc.parse(request, call), call)
        except Exception as error:  # noqa: BLE001 - as above
            await _refuse(context, error)

    return handle


def _guard_request_stream(rpc: Rpc, method: Callable[..., Awaitable[Any]], guard: RequestGuard) -> Any:
    """Returns the handler that answers each request of a stream with one response."""

    async def handle(_: AsyncIterator[bytes], context: Context) -> None:
        try:
            caller = guard.authenticate(rpc, context)
            with guard.admit_request_stream(caller):
                await RequestStream(rpc, method, guard, guard.call(rpc, caller, None, context)).run()
        except Exception as error:  # noqa: BLE001 - as above
            await _refuse(context, error)

    return handle


def _guard_generator(
    rpc: Rpc, method: Callable[[AsyncIterator[Any], Call], AsyncGenerator[Any]], guard: RequestGuard
) -> Any:
    """Returns the handler that passes a stream of requests to a method, and admits each when it is asked for."""

    async def handle(_: AsyncIterator[bytes], context: Context) -> None:
        try:
            caller = guard.authenticate(rpc, context)
            with guard.admit_request_stream(caller):
                call = guard.call(rpc, caller, None, context)
                async with (
                    aclosing(_admitted(rpc, call, guard)) as requests,
                    aclosing(method(requests, call)) as responses,
                ):
                    async for response in responses:
                        await context.write(response)
                        del response  # a quiet stream holds neither its last response nor its last request
        except Exception as error:  # noqa: BLE001 - as above
            await _refuse(context, error)

    return handle


async def _admitted(rpc: Rpc, call: Call, guard: RequestGuard) -> AsyncGenerator[Any]:
    """Yields the requests of a stream; each counts as in flight until the next one is asked for."""
    while (encoded := await call.context.read()) is not grpc.aio.EOF:
        guard.check_still_allowed(rpc, call.caller, None)
        request = await rpc.decode(encoded)
        with guard.admit(rpc, call.caller, request, len(encoded)):
            yield request if rpc.parse is None else await rpc.parse(request, call)
        del encoded, request


async def _receive(rpc: Rpc, guard: RequestGuard, caller: Caller, context: Context) -> tuple[Message, int]:
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
            raise malformed(rpc.contract.input_type)
        return await rpc.decode(encoded), len(encoded)


async def _refuse(context: Context, error: Exception) -> NoReturn:
    """Ends a call with the status of an error. Without memory even that fails: the process exits, and clients retry."""
    if isinstance(error, grpc.aio.AbortError | grpc.aio.InternalError):
        raise error  # the method has ended the call itself, or its client has gone: gRPC knows
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
