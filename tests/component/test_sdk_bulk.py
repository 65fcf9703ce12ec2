"""Bulk sends of both clients: outcomes in order, bounded memory, resumed without duplicates."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import grpc
import pytest
from mailroom import AsyncMailroom, Draft, InvalidArgument, PermissionDenied, SendOutcome, Unavailable
from support.fakes.fake_daemon import FakeDaemon
from support.fakes.scenes import play
from support.fakes.scripted import Refusal

KINDS = pytest.mark.parametrize("kind", ["asyncio", "blocking"])


def drafts(number: int) -> Iterator[Draft]:
    return (Draft("abc", str(place)) for place in range(number))


@KINDS
def test_outcomes_come_in_order_and_a_failure_does_not_stop_the_rest(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        mixed = [Draft("a", "1"), Draft(".b", "2"), Draft("c", "x" * (2 << 20)), Draft("d", "4", sender="me")]
        first, bad, large, last = [outcome async for outcome in client.send_many(mixed)]
        assert [first.recipient, bad.recipient, large.recipient, last.recipient] == ["a", ".b", "c", "d"]
        assert first.sent is not None
        assert first.sent.message.sender == "dashboard"
        assert isinstance(bad.error, InvalidArgument)
        assert isinstance(large.error, InvalidArgument)
        assert large.error.reason == "CONTENT_TOO_LARGE"
        assert last.sent is not None
        assert [message.content for message in daemon.messages.values()] == ["1", "4"]
        assert daemon.messages[last.sent.id].sender == "me"

    play(kind, tmp_path, scene)


@KINDS
def test_no_drafts_give_no_outcomes(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        assert [outcome async for outcome in client.send_many([])] == []
        assert not daemon.requests

    play(kind, tmp_path, scene)


@KINDS
def test_a_broken_stream_is_resumed_without_duplicates(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.refuse("SendMessages", Refusal(), Refusal(after_doing=True), Refusal(grpc.StatusCode.CANCELLED))
        outcomes = [outcome async for outcome in client.send_many(drafts(2000))]
        ids = [outcome.sent.id for outcome in outcomes if outcome.sent]
        assert len(ids) == 2000
        assert ids == sorted(ids)
        assert [message.content for message in daemon.messages.values()] == [str(place) for place in range(2000)]

    play(kind, tmp_path, scene)


@KINDS
def test_a_message_refused_during_a_restart_is_sent_again_with_its_key(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.busy.add("b")
        outcomes = [o async for o in client.send_many([Draft("a", "1"), Draft("b", "2"), Draft("c", "3")])]
        assert [outcome.error for outcome in outcomes] == [None] * 3
        [again] = daemon.requests["SendMessage"]
        assert again == daemon.requests["SendMessages"][0].messages[1]

    play(kind, tmp_path, scene)


@KINDS
def test_a_consumer_that_stops_iterating_stops_the_sending(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        taken: list[Draft] = []

        def endless() -> Iterator[Draft]:
            while True:
                taken.append(Draft("abc", str(len(taken))))
                yield taken[-1]

        outcomes = client.send_many(endless())
        assert (await anext(outcomes)).sent is not None
        await daemon.wait_until(lambda: len(daemon.messages) == 1000)
        assert len(taken) == 1000
        await cast("AsyncGenerator[SendOutcome]", outcomes).aclose()

    play(kind, tmp_path, scene)


@KINDS
def test_a_permanent_error_is_raised(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.refuse("SendMessages", Refusal(grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS", "no"))
        with pytest.raises(PermissionDenied):
            await anext(client.send_many(drafts(1)))
        daemon.refuse("SendMessages", *[Refusal()] * 100)
        with pytest.raises(Unavailable):
            await anext(client.send_many(drafts(1), timeout=0.3))

    play(kind, tmp_path, scene)


def test_drafts_may_come_from_an_asynchronous_generator(tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        async def slowly() -> AsyncIterator[Draft]:
            for draft in drafts(600):
                yield draft

        assert len([outcome async for outcome in client.send_many(slowly())]) == 600
        assert [len(request.messages) for request in daemon.requests["SendMessages"]] == [250, 250, 100]

    play("asyncio", tmp_path, scene)
