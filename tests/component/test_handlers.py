"""An unexpected exception becomes a status whose reason says whether a retry can help."""

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.auth.caller import OWNER, Caller
from mailroomd.gateway.client_limits import CallUsage, ClientLimits, Limits
from mailroomd.gateway.handlers import unary
from mailroomd.gateway.request_guard import RequestGuard
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
    async def fail(_: pb.GetMessageRequest, __: Any) -> Any:
        raise error

    context: Any = Context()
    handler: Any = unary(pb.GetMessageRequest, fail)(cast("RequestGuard", OpenGuard()))
    with pytest.raises(Refused):
        asyncio.run(handler.stream_unary(None, context))
    assert (context.code, error_reason(context)) == (code, reason)


WITHOUT_MEMORY = """
import asyncio
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.gateway.handlers import unary
from tests.component.test_handlers import Context, OpenGuard

async def fail(request, context):
    raise MemoryError

asyncio.run(unary(pb.GetMessageRequest, fail)(OpenGuard()).stream_unary(None, Context()))
"""


def test_a_process_without_memory_logs_a_line_and_exits() -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    }
    done = subprocess.run([sys.executable, "-c", WITHOUT_MEMORY], env=environment, capture_output=True, text=True)
    assert done.returncode == os.EX_OSERR, done.stderr
    assert "out of memory" in done.stderr
