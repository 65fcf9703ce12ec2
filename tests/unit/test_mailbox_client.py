"""Abandoned calls leave nothing behind, even while the mailbox does not read."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from mailroomd.gateway.fair_scheduler import MAX_IN_FLIGHT_ALONE, FlowKey
from mailroomd.gateway.mailbox_client import MAX_WAIT_SEC, MailboxClient, PendingRequest
from mailroomd.ipc.queue import PacketQueue
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.message import Draft
from mailroomd.protocol.packets import EVENTS, REQUESTS, Event, Hello, MessagesRead, MessageStored, StoreMessage

Result = TypeVar("Result")
LARGE = Draft("abc", "a", "x" * 60_000)


def store_large(call_id: int) -> StoreMessage:
    return StoreMessage(call_id, str(call_id), client_key=False, resubmitted=False, draft=LARGE)


def store_small(call_id: int) -> StoreMessage:
    return StoreMessage(call_id, str(call_id), client_key=False, resubmitted=False, draft=Draft("abc", "a", "go"))


def ignore(_: Event | Hello) -> None:
    pass


async def with_a_mailbox_that_does_not_read(play: Callable[[MailboxClient], Coroutine[Any, Any, Result]]) -> Result:
    requests: PacketQueue[Any] = PacketQueue("requests", REQUESTS)
    events: PacketQueue[Any] = PacketQueue("events", EVENTS)
    client = MailboxClient(0, 1, requests, events, list, ignore)
    try:
        return await asyncio.wait_for(play(client), 20)
    finally:
        client.close()
        requests.close()
        events.close()


async def let_time_out(client: MailboxClient, count: int) -> None:
    async def time_out() -> None:
        with pytest.raises(MailroomError) as caught:
            await client.request(PendingRequest(FlowKey("a"), store_large, 60_000), MessageStored, 0.001)
        assert caught.value.reason == Reason.WORKER_RESTARTING

    for _ in range(count // 20):
        await asyncio.gather(*[time_out() for _ in range(20)])


def test_requests_of_calls_that_timed_out_leave_the_backlog() -> None:
    async def play(client: MailboxClient) -> int:
        await let_time_out(client, 1000)
        return client.backlog

    assert asyncio.run(with_a_mailbox_that_does_not_read(play)) <= 50


def test_a_stop_refuses_every_pending_call() -> None:
    async def play(client: MailboxClient) -> list[MessagesRead | BaseException]:
        pending = PendingRequest(FlowKey("a"), store_large)
        calls = [asyncio.ensure_future(client.request(pending, MessagesRead, None)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not await client.drain(0.01)
        client.refuse_pending()
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(with_a_mailbox_that_does_not_read(play))
    assert [getattr(answer, "reason", None) for answer in answers] == [Reason.STOPPING] * 3


def test_no_call_waits_longer_than_a_gateways_own_keys_are_kept() -> None:
    assert MAX_WAIT_SEC * 1000 < 10 * 60 * 1000


def test_a_cancelled_batch_sends_none_of_its_queued_requests() -> None:
    requests: PacketQueue[Any] = PacketQueue("requests", REQUESTS)
    events: PacketQueue[Any] = PacketQueue("events", EVENTS)

    async def play() -> list[int]:
        client = MailboxClient(0, 1, requests, events, list, ignore)
        pending = PendingRequest(FlowKey("a", in_batch=True), store_small)
        batch = asyncio.ensure_future(client.request_all([pending] * (MAX_IN_FLIGHT_ALONE + 50), MessageStored, None))
        await asyncio.sleep(0.05)
        batch.cancel()
        await asyncio.sleep(0.05)
        client.close()
        return [request.call & 0xFFFF for request in requests.receive_items()]

    sent = asyncio.run(play())
    requests.close()
    events.close()
    assert sent == list(range(1, MAX_IN_FLIGHT_ALONE + 1))
