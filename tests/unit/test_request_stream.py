"""Requests of one stream overlap, and their responses keep the order."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from mailroomd.gateway.request_stream import OVERLAPPING_BYTES, RequestStream
from mailroomd.model.errors import MailroomError, Reason
from support.harness.waiting import BOUND_SEC

REFUSED = b"refused"


class Scene:
    """A stream, and a method that records what is submitted and answers when it is told to.

    Attributes:
        submitted: the requests that were submitted, in order.
        written: the responses, in order.
        abandoned: the requests whose calls ended without a response.
    """

    def __init__(self) -> None:
        self.requests: asyncio.Queue[Any] = asyncio.Queue()
        self.submitted: list[bytes] = []
        self.written: list[bytes] = []
        self.abandoned: list[bytes] = []
        self._answers: dict[bytes, asyncio.Event] = {}
        context = SimpleNamespace(read=self.requests.get, write=self._write)
        rpc: Any = SimpleNamespace(decode=self._decode, parse=None)
        guard: Any = SimpleNamespace(check_still_allowed=self._check, admit=self._admit)
        call: Any = SimpleNamespace(caller=None, context=context)
        self.stream = asyncio.create_task(RequestStream(rpc, self._method, guard, call).run())

    def answer(self, request: bytes) -> None:
        self._answers[request].set()

    async def settle(self) -> None:
        """Lets everything happen that does not wait for the scene."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def _write(self, response: bytes) -> None:
        self.written.append(response)

    def _check(self, *_: Any) -> None:
        """Everybody is allowed."""

    async def _decode(self, encoded: bytes) -> bytes:
        return encoded

    def _admit(self, _: Any, __: Any, request: bytes, ___: int) -> nullcontext[None]:
        if request == REFUSED:
            raise MailroomError(Reason.RATE_LIMITED, "too many")
        return nullcontext()

    async def _method(self, request: bytes, _: Any, proceed: Callable[[], None]) -> bytes:
        self.submitted.append(request)
        answered = self._answers[request] = asyncio.Event()
        proceed()
        try:
            await answered.wait()
        except asyncio.CancelledError:
            self.abandoned.append(request)
            raise
        return b"response to " + request[:9]


def play(scene: Callable[[Scene], Any]) -> None:
    async def run() -> None:
        async with asyncio.timeout(BOUND_SEC):
            await scene(Scene())

    asyncio.run(run())


def test_the_next_request_is_submitted_while_one_waits_and_no_third() -> None:
    async def scene(stage: Scene) -> None:
        for request in (b"1", b"2", b"3"):
            stage.requests.put_nowait(request)
        await stage.settle()
        assert stage.submitted == [b"1", b"2"]
        stage.answer(b"1")
        await stage.settle()
        assert stage.submitted == [b"1", b"2", b"3"]
        assert stage.written == [b"response to 1"]
        stage.answer(b"2")
        stage.answer(b"3")
        stage.requests.put_nowait(grpc.aio.EOF)
        await stage.stream
        assert stage.written == [b"response to 1", b"response to 2", b"response to 3"]

    play(scene)


def test_an_answer_that_comes_early_waits_for_its_turn() -> None:
    async def scene(stage: Scene) -> None:
        for request in (b"1", b"2", grpc.aio.EOF):
            stage.requests.put_nowait(request)
        await stage.settle()
        stage.answer(b"2")
        await stage.settle()
        assert stage.written == []
        stage.answer(b"1")
        await stage.stream
        assert stage.written == [b"response to 1", b"response to 2"]

    play(scene)


def test_a_large_request_is_handled_alone() -> None:
    async def scene(stage: Scene) -> None:
        large = b"l" * (OVERLAPPING_BYTES + 1)
        for request in (b"1", large, b"2"):
            stage.requests.put_nowait(request)
        await stage.settle()
        assert stage.submitted == [b"1"]
        stage.answer(b"1")
        await stage.settle()
        assert stage.submitted == [b"1", large]
        stage.answer(large)
        await stage.settle()
        assert stage.submitted == [b"1", large, b"2"]
        stage.stream.cancel()

    play(scene)


def test_a_refusal_ends_the_stream_behind_the_responses_to_earlier_requests() -> None:
    async def scene(stage: Scene) -> None:
        for request in (b"1", REFUSED, b"2"):
            stage.requests.put_nowait(request)
        await stage.settle()
        assert not stage.stream.done()
        stage.answer(b"1")
        with pytest.raises(MailroomError) as caught:
            await stage.stream
        assert caught.value.reason == Reason.RATE_LIMITED
        assert stage.written == [b"response to 1"]
        assert stage.submitted == [b"1"]

    play(scene)


def test_a_stream_whose_client_goes_abandons_its_requests() -> None:
    async def scene(stage: Scene) -> None:
        for request in (b"1", b"2"):
            stage.requests.put_nowait(request)
        await stage.settle()
        stage.stream.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stage.stream
        assert sorted(stage.abandoned) == [b"1", b"2"]
        assert stage.written == []

    play(scene)
