"""MailboxClient that nobody waits for any more leave nothing behind, also when the mailbox does not read."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from mailroomd.gateway.fair_scheduler import MOST_ALONE, FlowKey
from mailroomd.gateway.mailbox_client import MOST_PATIENCE_SEC, MailboxClient, PendingRequest
from mailroomd.ipc.queue import PacketQueue
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.message import Draft
from mailroomd.protocol.packets import EVENTS, REQUESTS, Event, Hello, MessagesRead, MessageStored, StoreMessage

Played = TypeVar("Played")
LARGE = Draft("abc", "a", "x" * 60_000)


def store(call: int) -> StoreMessage:
    return StoreMessage(call, str(call), client_key=False, resubmitted=False, draft=LARGE)


def store_small(call: int) -> StoreMessage:
    return StoreMessage(call, str(call), client_key=False, resubmitted=False, draft=Draft("abc", "a", "go"))


def ignore(_: Event | Hello) -> None:
    pass


async def with_a_mailbox_that_does_not_read(play: Callable[[MailboxClient], Coroutine[Any, Any, Played]]) -> Played:
    requests: PacketQueue[Any] = PacketQueue("requests", REQUESTS)
    events: PacketQueue[Any] = PacketQueue("events", EVENTS)
    calls = MailboxClient(0, 1, requests, events, list, ignore)
    try:
        return await asyncio.wait_for(play(calls), 20)
    finally:
        calls.close()
        requests.close()
        events.close()


async def give_up(calls: MailboxClient, number: int) -> None:
    async def one() -> None:
        with pytest.raises(MailroomError) as caught:
            await calls.ask(PendingRequest(FlowKey("a"), store, 60_000), MessageStored, 0.001)
        assert caught.value.reason == Reason.WORKER_RESTARTING

    for _ in range(number // 20):
        await asyncio.gather(*[one() for _ in range(20)])


def test_calls_that_gave_up_are_taken_back_from_the_backlog() -> None:
    async def play(calls: MailboxClient) -> int:
        await give_up(calls, 1000)
        return calls.backlog

    assert asyncio.run(with_a_mailbox_that_does_not_read(play)) <= 50


def test_at_a_stop_every_call_that_waits_is_answered() -> None:
    async def play(calls: MailboxClient) -> list[MessagesRead | BaseException]:
        waiting = [
            asyncio.ensure_future(calls.ask(PendingRequest(FlowKey("a"), store), MessagesRead, None)) for _ in range(3)
        ]
        await asyncio.sleep(0)
        assert not await calls.wait_until_answered(0.01)
        calls.refuse_all()
        return await asyncio.gather(*waiting, return_exceptions=True)

    answers = asyncio.run(with_a_mailbox_that_does_not_read(play))
    assert [getattr(one, "reason", None) for one in answers] == [Reason.STOPPING] * 3


def test_nobody_waits_longer_than_a_gateways_own_keys_are_kept() -> None:
    assert MOST_PATIENCE_SEC * 1000 < 10 * 60 * 1000


def test_a_batch_that_is_cancelled_sends_none_of_those_whose_turn_had_not_come() -> None:
    requests: PacketQueue[Any] = PacketQueue("requests", REQUESTS)
    events: PacketQueue[Any] = PacketQueue("events", EVENTS)

    async def play() -> list[int]:
        calls = MailboxClient(0, 1, requests, events, list, ignore)
        batch = [PendingRequest(FlowKey("a", in_batch=True), store_small) for _ in range(MOST_ALONE + 50)]
        waiting = asyncio.ensure_future(calls.ask_all(batch, MessageStored, None))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.sleep(0.05)
        calls.close()
        return [one.call & 0xFFFF for one in requests.receive_items()]

    sent = asyncio.run(play())
    requests.close()
    events.close()
    assert sent == list(range(1, MOST_ALONE + 1))
