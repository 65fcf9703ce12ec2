"""The calls of both clients for mailboxes, sessions and agents."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from mailroom import AsyncMailroom, CommandResponse, DeliveryState, InvalidArgument, Receipt
from support.fakes.fake_daemon import FakeDaemon
from support.fakes.scenes import play

KINDS = pytest.mark.parametrize("kind", ["asyncio", "blocking"])


@KINDS
def test_clearing_a_mailbox_returns_the_number_of_deleted_messages(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        for name in ("abc", "abc", "xyz"):
            daemon.deliver(name, "x")
        assert await client.clear("abc") == 2
        assert [message.recipient for message in daemon.messages.values()] == ["xyz"]
        assert await client.clear("abc") == 0

    play(kind, tmp_path, scene)


@KINDS
def test_queues_are_counted_by_session(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        for name in ("abc", "abc", "xyz"):
            daemon.deliver(name, "x")
        queues = await client.queue_stats()
        assert [(queue.session_id, queue.pending_count, queue.oldest_age_sec) for queue in queues] == [
            ("abc", 2, 60),
            ("xyz", 1, 60),
        ]
        assert [queue.to_dict() for queue in await client.queue_stats("xyz")] == [
            {"session_id": "xyz", "pending_count": 1, "oldest_age_sec": 60}
        ]

    play(kind, tmp_path, scene)


@KINDS
def test_an_alias_is_set_for_a_time_and_ended(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.known.add("bob")
        before = datetime.now(UTC)
        expires_at = await client.set_alias("bob", "s-1", ttl=timedelta(hours=2))
        assert expires_at is not None
        assert timedelta(hours=1) < expires_at - before < timedelta(hours=3)
        assert [agent.sessions for agent in await client.agents()] == [("s-1",)]
        assert await client.set_alias("bob", "s-1", ttl=0) is None
        assert [agent.sessions for agent in await client.agents()] == [()]
        await client.set_alias("bob", "s-2")
        assert not daemon.requests["SetAlias"][-1].HasField("ttl")

    play(kind, tmp_path, scene)


@KINDS
def test_agents_and_statistics_come_from_every_page(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        names = ["a", "b", "c", "d", "e"]
        daemon.known.update(names)
        daemon.asleep.add("c")
        for name in names:
            daemon.deliver(name, "x")
        assert [agent.name for agent in await client.agents()] == names
        assert [agent.name for agent in await client.agents(alive_only=True)] == ["a", "b", "d", "e"]
        assert [stats.agent_id for stats in await client.stats()] == names
        assert len(daemon.requests["GetMailboxStats"]) == 3

    play(kind, tmp_path, scene)


@KINDS
def test_a_list_has_a_sender_states_and_previews(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        first, second = (daemon.deliver("abc", "ä" * 10, sender=sender) for sender in ("ana", "zoe"))
        await client.acknowledge("abc", first, by="operator")
        assert daemon.requests["AcknowledgeMessages"][-1].by == "operator"
        (short,) = await client.list_messages("abc", sender="zoe", preview_bytes=5)
        assert (short.id, short.content, short.content_size) == (second, "ää", 20)
        assert short.to_dict()["content_size"] == 20
        (read,) = await client.list_messages("abc", states=[DeliveryState.READ])
        assert (read.id, read.content_size) == (first, 0)
        assert "content_size" not in read.to_dict(), "where nothing was shortened, nothing is said"
        assert len(await client.list_messages("abc", states=["read", "filed"])) == 2
        with pytest.raises(InvalidArgument, match="'gone' is not a delivery state"):
            await client.list_messages("abc", states=["gone"])

    play(kind, tmp_path, scene)


@KINDS
def test_a_mailbox_is_cleared_by_somebody(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.deliver("abc", "x")
        assert await client.clear("abc", by="operator") == 1
        assert await client.clear("abc") == 0
        assert [request.by for request in daemon.requests["ClearMailbox"]] == ["operator", ""]

    play(kind, tmp_path, scene)


@KINDS
def test_traffic_and_settings_come_as_values(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        for to in ("abc", "abc", "xyz"):
            daemon.deliver(to, "x", sender="ana")
        traffic = await client.traffic(timedelta(minutes=15))
        assert daemon.requests["GetTraffic"][-1].period.seconds == 900
        assert [(pair.sender, pair.recipient, pair.messages) for pair in traffic.pairs] == [
            ("ana", "abc", 2),
            ("ana", "xyz", 1),
        ]
        assert traffic.messages == 3
        assert traffic.since is not None
        status = await client.status()
        assert (status.keep_read_sec, status.max_unread) == (86_400, 100_000)

    play(kind, tmp_path, scene)


@KINDS
def test_a_search_covers_every_mailbox_or_one(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        first = daemon.deliver("abc", "the build is green")
        daemon.deliver("abc", "the build is red")
        last = daemon.deliver("xyz", "green is the new build")
        assert [message.id async for message in client.search("build green")] == [last, first]
        assert [message.id async for message in client.search("green", "abc", page_size=1)] == [first]
        assert (await client.list_messages(query="nowhere")).messages == ()

    play(kind, tmp_path, scene)


@KINDS
@pytest.mark.parametrize("in_full", [True, False])
def test_a_response_has_its_body_even_if_the_body_field_cannot_hold_it(
    kind: str, in_full: bool, tmp_path: Path
) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        body: dict[str, Any] = {"n": 7, "deep": [{"a": None}], "text": "ü"}
        if in_full:
            daemon.respond("abc", body)
        else:
            daemon.respond("abc", {}, body_json=orjson.dumps(body).decode())
        async with client.subscribe("abc", after_id="0" * 16) as events:
            response = await anext(events)
        assert isinstance(response, CommandResponse)
        assert response.body == body
        assert response.timestamp is not None
        assert response.to_dict()["timestamp"].endswith("Z")

    play(kind, tmp_path, scene)


@KINDS
def test_receipts_reach_the_sender_that_requests_them(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        sent = await client.send("abc", "go")
        async with client.subscribe("dashboard", include_receipts=True, after_id="0" * 16) as events:
            daemon.mark_read(sent.id)
            receipt = await anext(events)
        assert isinstance(receipt, Receipt)
        assert (receipt.message_id, receipt.recipient, receipt.state) == (sent.id, "abc", DeliveryState.READ)
        assert receipt.timestamp is not None

    play(kind, tmp_path, scene)


@KINDS
def test_an_invalid_duration_is_refused_before_sending(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        with pytest.raises(InvalidArgument):
            await client.set_alias("bob", "s", ttl=float("nan"))
        assert not daemon.requests

    play(kind, tmp_path, scene)
