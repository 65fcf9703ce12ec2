"""The guard in front of a method leaves to gRPC what only gRPC can judge."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.auth.caller import OWNER
from mailroomd.gateway.interceptor import GuardInterceptor
from mailroomd.gateway.rpcs import RPCS
from support.harness.waiting import BOUND_SEC


class GoneClient:
    """The context of a stream whose client sends one batch, and is gone when it is answered."""

    def __init__(self) -> None:
        self.aborted: list[object] = []
        self._requests: list[Any] = [pb.SendMessagesRequest().SerializeToString(), grpc.aio.EOF]

    async def read(self) -> Any:
        return self._requests.pop(0)

    async def write(self, _: object) -> None:
        raise grpc.aio.InternalError('Failed "execute_batch"')

    async def abort(self, *status: object) -> None:
        self.aborted.append(status)


async def answer(_: object, __: object, proceed: Callable[[], None]) -> pb.SendMessagesResponse:
    proceed()
    return pb.SendMessagesResponse()


def test_a_response_to_a_client_that_has_gone_is_no_error_of_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    (rpc,) = [one for one in RPCS if one.name == "SendMessages"]
    context: Any = GoneClient()
    work: Any = SimpleNamespace(slot=nullcontext)
    guard: Any = Mock()
    guard.authenticate.return_value = OWNER
    guard.admit_request_stream.return_value = nullcontext()
    guard.admit.return_value = nullcontext()
    guard.call.return_value = SimpleNamespace(caller=OWNER, context=context, work=work)

    async def continuation(_: object) -> Any:
        return cast("Any", grpc.stream_stream_rpc_method_handler)(answer)

    async def handle() -> None:
        details = SimpleNamespace(method=rpc.path)
        handler = await GuardInterceptor([rpc], guard).intercept_service(continuation, details)
        async with asyncio.timeout(BOUND_SEC):
            await handler.stream_stream(None, context)

    with pytest.raises(grpc.aio.InternalError):
        asyncio.run(handle())
    assert context.aborted == []
    assert "unhandled exception" not in capsys.readouterr().err
