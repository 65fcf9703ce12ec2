"""The gateway's requests to the mailbox: what abandoned calls leave behind, aliases, what gathers."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from mailroomd.gateway import mailbox_client
from mailroomd.gateway.fair_scheduler import MAX_IN_FLIGHT_ALONE, FlowKey
from mailroomd.gateway.mailbox_client import CALL_ID_BITS, MAX_WAIT_SEC, MailboxClient, Submission
from mailroomd.ipc.queue import PacketQueue
from mailroomd.mailbox.gateway_port import GatewayPort
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import MAX_ALIASES
from mailroomd.model.message import Draft, pack_draft
from mailroomd.protocol.operations import Done, Send
from mailroomd.protocol.packets import (
    ANSWERS,
    EVENTS,
    REQUESTS,
    AliasChanged,
    Answer,
    Event,
    Hello,
    HighWaterMarkAdvanced,
)
from support.harness.waiting import BOUND_SEC

Result = TypeVar("Result")
SEND = Send("abc", "a", verified=False, key="key")
LARGE = Submission(SEND, FlowKey("a"), body=pack_draft(Draft("abc", "a", "x" * 60_000)))
SMALL = Submission(SEND, FlowKey("a", in_batch=True), body=pack_draft(Draft("abc", "a", "go")))


def ignore(_: Event | Hello) -> None:
    pass


async def with_a_mailbox_that_does_not_read(play: Callable[[MailboxClient], Coroutine[Any, Any, Result]]) -> Result:
    requests: PacketQueue[Any] = PacketQueue("requests", REQUESTS)
    events: PacketQueue[Any] = PacketQueue("events", EVENTS)
    answers: PacketQueue[Any] = PacketQueue("answers", ANSWERS)
    client = MailboxClient(0, 1, requests, events, answers, list, ignore)
    try:
        return await asyncio.wait_for(play(client), 20)
    finally:
        client.close()
        for queue in (requests, events, answers):
            queue.close()


async def let_time_out(client: MailboxClient, count: int) -> None:
    async def time_out() -> None:
        with pytest.raises(MailroomError) as caught:
            await client.request(LARGE, 0.001)
        assert caught.value.reason == Reason.WORKER_RESTARTING

    for _ in range(count // 20):
        await asyncio.gather(*[time_out() for _ in range(20)])


def test_requests_of_calls_that_timed_out_leave_the_backlog() -> None:
    async def play(client: MailboxClient) -> int:
        await let_time_out(client, 1000)
        return client.backlog

    assert asyncio.run(with_a_mailbox_that_does_not_read(play)) <= 50


def test_no_two_sends_get_the_same_key_from_a_gateway_also_after_it_restarted() -> None:
    async def play(client: MailboxClient) -> list[str]:
        return [client.new_key() for _ in range(100)]

    keys = asyncio.run(with_a_mailbox_that_does_not_read(play))
    assert len(set(keys)) == 100
    assert all(len(key.split("-")[0]) == 11 for key in keys), "its time, by which it is forgotten"
    assert {int(key.split("-")[2], 16) >> CALL_ID_BITS for key in keys} == {1}, "the epoch of this gateway"


def test_a_stop_refuses_every_pending_call() -> None:
    async def play(client: MailboxClient) -> list[Answer | BaseException]:
        calls = [asyncio.ensure_future(client.request(LARGE, None)) for _ in range(3)]
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
    answers: PacketQueue[Any] = PacketQueue("answers", ANSWERS)

    async def play() -> list[int]:
        client = MailboxClient(0, 1, requests, events, answers, list, ignore)
        batch = asyncio.ensure_future(client.request_all([SMALL] * (MAX_IN_FLIGHT_ALONE + 50), None))
        sent: list[Any] = []
        async with asyncio.timeout(BOUND_SEC):
            while len(sent) < MAX_IN_FLIGHT_ALONE:
                await asyncio.sleep(0)
                sent += requests.receive_items()
        batch.cancel()
        await asyncio.wait([batch])
        client.close()
        return [request.call & 0xFFFF for request in (*sent, *requests.receive_items())]

    sent = asyncio.run(play())
    for queue in (requests, events, answers):
        queue.close()
    assert sent == list(range(1, MAX_IN_FLIGHT_ALONE + 1))


@pytest.mark.parametrize(("count", "may_follow"), [(MAX_IN_FLIGHT_ALONE, True), (MAX_IN_FLIGHT_ALONE + 1, False)])
def test_more_may_follow_a_batch_unless_they_would_only_queue(count: int, may_follow: bool) -> None:
    async def play(client: MailboxClient) -> bool:
        proceed = asyncio.Event()
        batch = asyncio.ensure_future(client.request_all([SMALL] * count, None, proceed.set))
        await asyncio.sleep(0.05)
        batch.cancel()
        await asyncio.wait([batch])
        return proceed.is_set()

    assert asyncio.run(with_a_mailbox_that_does_not_read(play)) is may_follow


# -- aliases ----------------------------------------------------------------------------------------------------------


class Gateway:
    """A client, and the port of a mailbox that knows 10,000 aliases: more than the queue has room for."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.has_alias = asyncio.Event()
        self.is_announced = asyncio.Event()
        self.requests: PacketQueue[Any] = PacketQueue("requests", REQUESTS)
        self.events: PacketQueue[Any] = PacketQueue("events", EVENTS)
        self.answers: PacketQueue[Any] = PacketQueue("answers", ANSWERS)
        self.client = MailboxClient(0, 1, self.requests, self.events, self.answers, list, self._on_event)
        self.port = self.new_port(1)

    def new_port(self, epoch: int) -> GatewayPort:
        aliases = [AliasChanged(f"session-{number}", "bob", 1 << 50) for number in range(MAX_ALIASES)]
        return GatewayPort(0, epoch, self.requests, self.events, lambda: aliases)

    def turn(self) -> None:
        """One turn of the mailbox's loop."""
        for item in self.port.receive():
            assert isinstance(item, Hello)
            self.port.answer_hello(item)
        self.port.flush()

    async def received(self) -> list[Any]:
        """What the mailbox receives next."""
        items: list[Any] = []
        while not items:
            await asyncio.sleep(0)
            items = self.port.receive()
        return items

    async def connect(self) -> None:
        while not self.client.is_connected:
            self.turn()
            await asyncio.sleep(0)

    def close(self) -> None:
        self.client.close()
        for queue in (self.requests, self.events, self.answers):
            queue.close()

    def _on_event(self, event: Event | Hello) -> None:
        if isinstance(event, AliasChanged):
            self.known.add(event.session)
            self.has_alias.set()
        elif isinstance(event, HighWaterMarkAdvanced):
            self.is_announced.set()


def with_a_gateway(play: Callable[[Gateway], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        gateway = Gateway()
        try:
            await asyncio.wait_for(play(gateway), BOUND_SEC)
        finally:
            gateway.close()

    asyncio.run(run())


def test_a_gateway_counts_as_connected_when_it_knows_every_alias() -> None:
    async def play(gateway: Gateway) -> None:
        gateway.port.send_hello()
        gateway.client.send_hello()
        gateway.turn()
        await asyncio.sleep(0)
        assert gateway.port.backlog > 0, "the queue has no room for all of them"
        assert not gateway.client.is_connected
        await gateway.connect()
        assert len(gateway.known) == MAX_ALIASES

    with_a_gateway(play)


def test_a_gateway_whose_mailbox_dies_between_two_aliases_gets_them_from_the_next() -> None:
    async def play(gateway: Gateway) -> None:
        gateway.port.send_hello()
        gateway.client.send_hello()
        gateway.turn()
        await gateway.has_alias.wait()
        assert len(gateway.known) < MAX_ALIASES
        gateway.port = gateway.new_port(2)
        gateway.port.send_hello()
        await gateway.connect()
        assert len(gateway.known) == MAX_ALIASES

    with_a_gateway(play)


# -- gathering --------------------------------------------------------------------------------------------------------


def test_an_answer_sends_what_has_gathered_and_an_announcement_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_client, "BATCH_SEC", BOUND_SEC)

    async def play(gateway: Gateway) -> None:
        gateway.port.send_hello()
        gateway.client.send_hello()
        await gateway.connect()
        calls = [asyncio.ensure_future(gateway.client.request(SMALL, None))]
        (first,) = await gateway.received()
        calls.append(asyncio.ensure_future(gateway.client.request(SMALL, None)))
        gateway.port.announce_mail("bob")
        gateway.port.flush()
        await gateway.is_announced.wait()
        assert gateway.client.backlog == 1
        gateway.port.send(Answer(first.call, Done()))
        gateway.port.flush()
        (second,) = await gateway.received()
        assert second.call == first.call + 1
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    with_a_gateway(play)
