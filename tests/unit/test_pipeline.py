"""The pure part of pipelined sends: what shares a stream, what travels together, what happens when the stream ends."""

import os
from typing import Any, cast

from mailroom import calls
from mailroom.bulk import BATCH_BYTES
from mailroom.errors import PermissionDenied, Unavailable
from mailroom.pipeline import (
    ALONE_SEC,
    MAX_BATCHES_IN_FLIGHT,
    MAX_SHARED_MESSAGES,
    Attempt,
    BlockingPipeline,
    Outcome,
    Pipeline,
)
from mailroom.transport import STREAM_IDLE_SEC
from mailroom.v1 import mailroom_pb2 as pb


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempt(name: str, content: str = "") -> Attempt:
    outcomes: list[Outcome] = []
    return Attempt(pb.SendMessageRequest(recipient="abc", idempotency_key=name, content=content), outcomes.append)


def added(pipeline: Pipeline, *names: str) -> list[Attempt]:
    attempts = [attempt(name) for name in names]
    for one in attempts:
        pipeline.add(one)
    return attempts


def keys(request: pb.SendMessagesRequest | None) -> list[str]:
    assert request is not None
    return [message.idempotency_key for message in request.messages]


def test_what_has_gathered_travels_as_one_batch_in_order() -> None:
    pipeline = Pipeline()
    added(pipeline, "a", "b", "c")
    assert keys(pipeline.take_batch()) == ["a", "b", "c"]
    assert pipeline.take_batch() is None


def test_what_comes_while_the_window_is_full_gathers_until_a_batch_is_answered() -> None:
    pipeline = Pipeline()
    for place in range(MAX_BATCHES_IN_FLIGHT):
        added(pipeline, f"first {place}")
        assert keys(pipeline.take_batch()) == [f"first {place}"]
    second = added(pipeline, "second", "third")
    assert pipeline.take_batch() is None
    assert [one.request.idempotency_key for one in pipeline.pop_oldest()] == ["first 0"]
    assert keys(pipeline.take_batch()) == ["second", "third"]
    for _ in range(1, MAX_BATCHES_IN_FLIGHT):
        pipeline.pop_oldest()
    assert pipeline.pop_oldest() == second
    assert pipeline.is_empty


def test_a_batch_is_bounded_in_messages_and_in_bytes() -> None:
    pipeline = Pipeline()
    added(pipeline, *map(str, range(MAX_SHARED_MESSAGES + 1)))
    assert len(keys(pipeline.take_batch())) == MAX_SHARED_MESSAGES
    pipeline = Pipeline()
    for place in range(20):
        pipeline.add(attempt(str(place), "x" * (BATCH_BYTES // 4)))
    assert keys(pipeline.take_batch()) == ["0", "1", "2", "3"]


def test_a_withdrawn_attempt_is_not_sent_unless_it_is_in_flight() -> None:
    pipeline = Pipeline()
    in_flight = added(pipeline, "a")[0]
    pipeline.take_batch()
    gone, staying = added(pipeline, "b", "c")
    pipeline.withdraw(gone)
    pipeline.withdraw(in_flight)
    assert keys(pipeline.take_batch()) == ["c"]
    assert [pipeline.pop_oldest(), pipeline.pop_oldest()] == [[in_flight], [staying]]


def test_mail_for_a_team_never_shares_the_stream() -> None:
    pipeline = Pipeline()
    assert pipeline.accepts(pb.SendMessageRequest(recipient="abc"))
    assert not pipeline.accepts(pb.SendMessageRequest(recipient="abc@team"))


def test_after_a_refused_stream_everything_travels_alone_for_a_while() -> None:
    clock = Clock()
    pipeline = Pipeline(clock)
    request = pb.SendMessageRequest(recipient="abc")
    pipeline.pop_all(Unavailable("restarting"))
    assert pipeline.accepts(request)
    pipeline.pop_all(PermissionDenied("no"))
    assert not pipeline.accepts(request)
    clock.now += ALONE_SEC
    assert pipeline.accepts(request)


def test_a_stream_that_ends_leaves_nothing_behind_and_keeps_the_order() -> None:
    pipeline = Pipeline()
    first = added(pipeline, "a", "b")
    pipeline.take_batch()
    second = added(pipeline, "c")
    assert pipeline.pop_all(None) == [*first, *second]
    assert pipeline.is_empty


def test_a_success_is_recent_for_as_long_as_an_idle_stream_stays_open() -> None:
    clock = Clock()
    pipeline = Pipeline(clock)
    assert not pipeline.has_recent_success()
    pipeline.record_success()
    assert pipeline.has_recent_success()
    clock.now += STREAM_IDLE_SEC
    assert not pipeline.has_recent_success()


class ForkingTransport:
    """Makes calls without a daemon; during the first one, a forked process sends, too."""

    def __init__(self) -> None:
        self.pipeline = BlockingPipeline(cast("Any", self))
        self.calls = 0
        self.exit_code = -1

    def invoke(self, call: Any, timeout_sec: float) -> str:
        self.calls += 1
        if self.calls == 1:
            pid = os.fork()
            if pid == 0:
                sent = cast("str", self.pipeline.invoke(call, timeout_sec))
                os._exit(0 if (sent, self.calls) == ("sent", 2) else 1)
            self.exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return "sent"


def test_a_forked_process_uses_no_stream_of_its_parent() -> None:
    transport = ForkingTransport()
    transport.pipeline.invoke(calls.send("abc", "go", "me", {}), 5.0)
    assert (transport.calls, transport.exit_code) == (1, 0)
