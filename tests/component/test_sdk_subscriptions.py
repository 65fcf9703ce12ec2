"""The subscriptions of both clients lose and repeat no event, wherever and however their stream breaks."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from mailroom import AsyncMailroom, CaughtUp, CommandResponse, DeliveryState, Event, InvalidArgument, Message, Receipt
from support.fakes.fake_daemon import FakeDaemon
from support.fakes.scenes import BOUND_SEC, play
from support.fakes.scripted import Refusal, StreamEnd

KINDS = pytest.mark.parametrize("kind", ["asyncio", "blocking"])
ENDS = pytest.mark.parametrize("end", list(StreamEnd))
BATCHES = pytest.mark.parametrize("max_batch", [1, 3, 100], ids=["daemon without batches", "threes", "one batch"])


def in_gaps(daemon: FakeDaemon, *contents: str) -> Callable[[Exception], None]:
    """Returns a callback that delivers one message each time the stream is down."""
    loop, rest = asyncio.get_running_loop(), iter(contents)

    def deliver(_error: Exception) -> None:
        if content := next(rest, None):
            loop.call_soon_threadsafe(daemon.deliver, "abc", content)

    return deliver


async def contents_of(events: Any, count: int) -> list[str]:
    """Returns the contents of the next messages."""
    return [(await anext(events)).content for _ in range(count)]


async def nothing_more(daemon: FakeDaemon, events: Any) -> None:
    """Asserts that nothing is left over, by sending a last message and finding it next."""
    daemon.deliver("abc", "the end")
    assert await contents_of(events, 1) == ["the end"]


@KINDS
@ENDS
@BATCHES
def test_a_stream_that_breaks_at_every_position_is_resumed(
    kind: str, end: StreamEnd, max_batch: int, tmp_path: Path
) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.max_batch = max_batch
        first = daemon.deliver("abc", "before")
        for number in range(4):
            daemon.deliver("abc", f"old {number}")
        daemon.stream_ends.extend((position, end) for position in (0, 1, 2, 3, 1, 4, 2))
        gaps = [f"gap {number}" for number in range(4)]
        async with client.subscribe("abc", after_id=first, on_interrupted=in_gaps(daemon, *gaps)) as events:
            got = await contents_of(events, 8)
            assert sorted(got) == sorted([f"old {number}" for number in range(4)] + gaps)
            assert got == [message.content for message in daemon.messages.values()][1:]
            await nothing_more(daemon, events)

    play(kind, tmp_path, scene)


@KINDS
@pytest.mark.parametrize("end", [StreamEnd.UNAVAILABLE, StreamEnd.GOING_AWAY])
@pytest.mark.parametrize("position", range(6))
@BATCHES
def test_a_broken_replay_of_unread_messages_is_resumed(
    kind: str, end: StreamEnd, position: int, max_batch: int, tmp_path: Path
) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.max_batch = max_batch
        for number in range(4):
            daemon.deliver("abc", f"unread {number}")
            daemon.mark_read(daemon.deliver("abc", f"read {number}"))
        daemon.stream_ends.extend([(position, end), (position, end)])
        async with client.subscribe("abc", include_unread=True, on_interrupted=in_gaps(daemon, "gap")) as events:
            first = await anext(events)
            assert isinstance(first, Message)
            daemon.mark_read(first.id)
            got = [first.content, *await contents_of(events, 3)]
            assert got == [f"unread {number}" for number in range(4)]
            daemon.deliver("abc", "live")
            rest = await contents_of(events, 1)
            assert rest in (["gap"], ["live"])
            if rest == ["gap"]:
                assert await contents_of(events, 1) == ["live"]

    play(kind, tmp_path, scene)


@KINDS
@pytest.mark.parametrize("start", [{"after_id": "0" * 16}, {"include_unread": True}], ids=["after_id", "unread"])
def test_a_daemon_that_stops_in_the_middle_of_a_batch_loses_and_repeats_nothing(
    kind: str, start: dict[str, Any], tmp_path: Path
) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.max_batch = 100
        sent = [daemon.deliver("abc", f"old {number}") for number in range(5)]
        async with client.subscribe("abc", **start) as events:
            assert await contents_of(events, 2) == ["old 0", "old 1"]
            await daemon.stop()
            sent.append(daemon.deliver("abc", "while away"))
            await daemon.start()
            assert await contents_of(events, 4) == ["old 2", "old 3", "old 4", "while away"]
            await nothing_more(daemon, events)
        first, second = daemon.requests["Subscribe"]
        assert first.max_batch > 1
        assert second.max_batch == first.max_batch
        assert second.include_unread or second.after_id == sent[4]

    play(kind, tmp_path, scene, grace=0.0)


@KINDS
def test_an_observer_of_everything_gets_previews(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.deliver("abc", "ä" * 10)
        async with client.subscribe(all_agents=True, after_id="0" * 16, preview_bytes=5) as events:
            message = await anext(events)
        assert isinstance(message, Message)
        assert (message.content, message.content_size) == ("ää", 20)

    play(kind, tmp_path, scene)


@KINDS
def test_a_receipt_says_why_a_message_was_returned(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        first, second = (daemon.deliver("bob:far", "x", sender="ana") for _ in range(2))
        daemon.give_back(first, "MAILBOX_FULL: full")
        daemon.mark_read(second)
        receipts: list[Receipt] = []
        async with client.subscribe(all_agents=True, after_id="0" * 16, caught_up=True) as events:
            async for event in events:
                if isinstance(event, CaughtUp):
                    break
                receipts += [event] if isinstance(event, Receipt) else []
        assert [(one.state, one.reason) for one in receipts] == [("returned", "MAILBOX_FULL: full"), ("read", None)]

    play(kind, tmp_path, scene)


@KINDS
def test_an_unknown_kind_of_event_is_passed_over_alone_and_in_a_batch(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.announce_unknown()
        daemon.deliver("abc", "first")
        daemon.announce_unknown()
        daemon.deliver("abc", "second")
        for max_batch in (1, 100):
            daemon.max_batch = max_batch
            async with client.subscribe("abc", after_id="0" * 16) as events:
                assert await contents_of(events, 2) == ["first", "second"]

    play(kind, tmp_path, scene)


@KINDS
def test_a_stream_that_breaks_after_an_unknown_event_is_resumed_behind_it(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        first = daemon.deliver("abc", "first")
        daemon.announce_unknown()
        daemon.stream_ends.append((2, StreamEnd.SILENTLY))
        async with client.subscribe("abc", after_id="0" * 16) as events:
            assert await contents_of(events, 1) == ["first"]
            await nothing_more(daemon, events)
        resumed = daemon.requests["Subscribe"][1]
        assert resumed.after_id > first

    play(kind, tmp_path, scene)


def test_a_subscription_left_in_the_middle_of_a_batch_goes_on_with_the_next_event(tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.max_batch = 100
        for number in range(4):
            daemon.deliver("abc", f"old {number}")
        async with client.subscribe("abc", include_unread=True) as events:

            async def handle_slowly() -> None:
                async for _ in events:
                    await asyncio.sleep(BOUND_SEC)

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(handle_slowly(), 0.2)
            assert await contents_of(events, 3) == ["old 1", "old 2", "old 3"]
            await nothing_more(daemon, events)
        assert len(daemon.requests["Subscribe"]) == 1

    play("asyncio", tmp_path, scene)


@KINDS
def test_unread_messages_are_not_replayed_once_a_position_is_known(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.deliver("abc", "unread")
        daemon.stream_ends.extend([(1, StreamEnd.UNAVAILABLE), (2, StreamEnd.UNAVAILABLE)])
        async with client.subscribe("abc", include_unread=True, on_interrupted=in_gaps(daemon, "", "gap")) as events:
            assert await contents_of(events, 1) == ["unread"]
            assert await contents_of(events, 1) == ["gap"]
        asked = [(request.include_unread, bool(request.after_id)) for request in daemon.requests["Subscribe"]]
        assert asked == [(True, False), (True, False), (False, True)]

    play(kind, tmp_path, scene)


@KINDS
def test_no_event_is_lost_if_the_first_stream_broke_before_any_event(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.stream_ends.append((1, StreamEnd.UNAVAILABLE))
        async with client.subscribe("abc", on_interrupted=in_gaps(daemon, "gap")) as events:
            assert await contents_of(events, 1) == ["gap"]

    play(kind, tmp_path, scene)


@KINDS
def test_a_subscription_outlives_a_stopped_daemon(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.deliver("abc", "old")
        async with client.subscribe("abc", include_unread=True) as events:
            assert await contents_of(events, 1) == ["old"]
            await daemon.stop()
            daemon.deliver("abc", "while away")
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            await daemon.start()
            event = await waiting
            assert isinstance(event, Message)
            assert event.content == "while away"

    play(kind, tmp_path, scene, grace=0.0)


@KINDS
def test_caught_up_is_yielded_only_on_request_and_after_each_replay(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        old = daemon.deliver("abc", "old")
        daemon.stream_ends.append((3, StreamEnd.GOING_AWAY))
        got: list[Event] = []
        async with client.subscribe("abc", include_unread=True, caught_up=True) as events:
            got += [await anext(events), await anext(events)]
            daemon.deliver("abc", "new")
            got += [await anext(events), await anext(events)]
        assert [type(event) for event in got] == [Message, CaughtUp, Message, CaughtUp]
        assert got[1].event_id == old
        assert got[3].event_id == got[2].event_id

    play(kind, tmp_path, scene)


@KINDS
def test_all_agents_yields_every_mailbox_with_receipts_and_responses(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        async with client.subscribe(all_agents=True, caught_up=True) as events:
            assert isinstance(await anext(events), CaughtUp)
            message_id = daemon.deliver("abc", "go")
            daemon.mark_read(message_id)
            daemon.respond("xyz", {"ok": True, "count": 2})
            message, receipt, response = [await anext(events) for _ in range(3)]
            assert isinstance(message, Message)
            assert isinstance(receipt, Receipt)
            assert (receipt.message_id, receipt.state) == (message_id, DeliveryState.READ)
            assert isinstance(response, CommandResponse)
            assert response.body == {"ok": True, "count": 2}
            assert message.event_id < receipt.event_id < response.event_id

    play(kind, tmp_path, scene)


@KINDS
def test_a_refused_subscription_raises_and_ends(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.refuse("Subscribe", Refusal(grpc.StatusCode.INVALID_ARGUMENT, "AGENT_INVALID", "no name", field="agent"))
        events = client.subscribe("..")
        with pytest.raises(InvalidArgument) as caught:
            await anext(events)
        assert caught.value.field == "agent"
        assert [event async for event in events] == []

    play(kind, tmp_path, scene)


@KINDS
def test_closing_a_subscription_cancels_its_call(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        events = client.subscribe("abc", caught_up=True)
        await anext(events)
        assert daemon.open_streams == 1
        waiting = asyncio.create_task(collected(events))
        await events.aclose()
        await daemon.wait_until(lambda: daemon.open_streams == 0)
        assert await waiting == []

    play(kind, tmp_path, scene)


@KINDS
def test_closing_the_client_ends_its_subscriptions(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        waiting = asyncio.create_task(collected(client.subscribe("abc")))
        await daemon.wait_until(lambda: daemon.open_streams == 1)
        await client.close()
        assert await waiting == []

    play(kind, tmp_path, scene)


def test_a_cancelled_wait_for_the_next_event_loses_nothing(tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.deliver("abc", "old")
        async with client.subscribe("abc", include_unread=True) as events:
            assert await contents_of(events, 1) == ["old"]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await anext(events)
            daemon.deliver("abc", "meanwhile")
            assert await contents_of(events, 1) == ["meanwhile"]
            await nothing_more(daemon, events)

    play("asyncio", tmp_path, scene)


async def collected(events: Any) -> list[Event]:
    return [event async for event in events]


@KINDS
def test_an_after_id_from_the_future_does_not_silence_the_subscription(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.deliver("abc", "before")
        async with client.subscribe("abc", after_id="7" + "f" * 15, caught_up=True) as events:
            assert isinstance(await anext(aiter(events)), CaughtUp)
            new = daemon.deliver("abc", "new")
            assert (await anext(aiter(events))).event_id == new

    play(kind, tmp_path, scene)
