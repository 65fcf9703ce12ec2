"""Every method of a server is behind the guard; an unexpected exception becomes a status that says whether to retry."""

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from mailroomd.auth.caller import OWNER, Caller
from mailroomd.gateway.client_limits import CallUsage, ClientLimits, Limits
from mailroomd.gateway.interceptor import GuardInterceptor
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.rpcs import RPCS
from support.harness.contract import error_reason


class Refused(Exception):  # noqa: N818 - stands for gRPC's own AbortError
    """The call has ended with a status."""


class Context:
    """The part of a call's context that a refusal needs."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.metadata: Any = ()

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any = ()) -> None:
        self.code, self.metadata = code, trailing_metadata
        raise Refused(details)

    async def read(self) -> bytes:
        return b""

    def add_done_callback(self, callback: Any) -> None: ...

    def set_trailing_metadata(self, metadata: Any) -> None: ...

    def trailing_metadata(self) -> Any:
        return self.metadata


class OpenGuard:
    """Admits every call."""

    has_strangers = True

    def authenticate(self, *_: object) -> Caller:
        return OWNER

    def begin_call(self, _: object) -> CallUsage:
        return ClientLimits(Limits(1, 1, 1, 1)).begin_call(OWNER)

    def receiving(self, _: object) -> asyncio.Semaphore:
        return asyncio.Semaphore()

    def call(self, *_: object) -> None: ...

    def admit(self, *_: object) -> AbstractContextManager[None]:
        return nullcontext()

    def check_response(self, *_: object) -> None: ...


def guarded(path: str, method: Any) -> Any:
    """Returns the handler that a server gets for a registered method."""
    interceptor = GuardInterceptor(RPCS, cast("RequestGuard", OpenGuard()))

    async def find(_: Any) -> Any:
        return cast("Any", grpc.unary_unary_rpc_method_handler(method))

    handlers: list[Any] = []

    async def ask() -> None:
        handlers.append(await interceptor.intercept_service(find, SimpleNamespace(method=path)))

    asyncio.run(ask())
    return handlers[0]


GET_STATUS = "/mailroom.v1.SupervisorService/GetStatus"


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (OSError(errno.EMFILE, "Too many open files"), grpc.StatusCode.UNAVAILABLE, "WORKER_RESTARTING"),
        (sqlite3.OperationalError("disk I/O error"), grpc.StatusCode.UNAVAILABLE, "STORAGE_FAILED"),
        (TimeoutError(), grpc.StatusCode.UNAVAILABLE, "WORKER_RESTARTING"),
        (KeyError("a bug"), grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
def test_an_unexpected_exception_says_whether_to_retry(error: Exception, code: grpc.StatusCode, reason: str) -> None:
    async def fail(_: Any, __: Any) -> Any:
        raise error

    context: Any = Context()
    with pytest.raises(Refused):
        asyncio.run(guarded(GET_STATUS, fail).stream_unary(None, context))
    assert (context.code, error_reason(context)) == (code, reason)


WITHOUT_MEMORY = """
import asyncio
from tests.component.test_interceptor import GET_STATUS, Context, guarded

async def fail(request, context):
    raise MemoryError

asyncio.run(guarded(GET_STATUS, fail).stream_unary(None, Context()))
"""


def test_a_process_without_memory_logs_a_line_and_exits() -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    }
    done = subprocess.run([sys.executable, "-c", WITHOUT_MEMORY], env=environment, capture_output=True, text=True)
    assert done.returncode == os.EX_OSERR, done.stderr
    assert "out of memory" in done.stderr


def test_a_method_that_is_registered_without_a_row_is_not_served(tmp_path: Path, capfd: Any) -> None:
    reached: list[bytes] = []

    async def answer(request: bytes, _: Any) -> bytes:
        reached.append(request)
        return b""

    async def call_it() -> list[grpc.StatusCode]:
        guard = cast("RequestGuard", OpenGuard())
        server = grpc.aio.server(interceptors=(GuardInterceptor(RPCS, guard),))
        method = cast("Any", grpc).unary_unary_rpc_method_handler(answer)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("later.Service", {"Answer": method}),))
        server.add_registered_method_handlers("later.Service", {"AnswerToo": method})
        server.add_insecure_port(f"unix:{tmp_path}/s")
        await server.start()
        codes: list[grpc.StatusCode] = []
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
            for name in ("Answer", "AnswerToo", "Absent"):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await cast("Any", channel.unary_unary(f"/later.Service/{name}"))(b"", timeout=60.0)
                codes.append(refused.value.code())
        await server.stop(None)
        return codes

    assert asyncio.run(call_it()) == [grpc.StatusCode.UNIMPLEMENTED] * 3
    assert reached == []
    log = capfd.readouterr().err
    assert "/later.Service/AnswerToo" in log
    assert "/later.Service/Absent" not in log, "clients can invent any number of them"
