"""`mailroom mcp` on stdio with a real daemon and the MCP SDK's own client, in old and new revisions."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import mcp_types as types
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mcp.client.extension import NotificationBinding
from mcp.client.session import ClientSession
from mcp.client.subscriptions import listen
from mcp.server.subscriptions import ResourceUpdated
from pydantic import BaseModel, ConfigDict, StringConstraints
from support.harness.daemon import Daemon, running_daemon
from support.harness.mcp_client import (
    MODERN,
    VERSIONS,
    ask,
    check,
    over_stdio,
    play,
    read_answer_acknowledge,
    send,
    session,
    state_of,
    until_offered,
)

OLDEST = VERSIONS[0]
LAST_OF_OLD = VERSIONS[-2]


@pytest.fixture
def own_daemon() -> Iterator[Daemon]:
    """A daemon for tests that stop it."""
    with running_daemon() as running:
        yield running


@pytest.mark.parametrize("version", [OLDEST, LAST_OF_OLD, MODERN])
def test_an_agent_reads_answers_and_acknowledges(daemon: Daemon, version: str) -> None:
    me = f"agent-{version}"

    async def scene() -> None:
        async with session(over_stdio(daemon, "--agent", me), version) as agent:
            await read_answer_acknowledge(agent, daemon, me)

    play(scene)


def test_a_message_shown_right_before_the_client_left_is_offered(daemon: Daemon) -> None:
    message_id = send(daemon, "brief", "go")

    async def scene() -> None:
        async with session(over_stdio(daemon, "--agent", "brief")) as agent:
            assert [message["id"] for message in await check(agent)] == [message_id]
        assert state_of(daemon, message_id) == pb.DELIVERY_STATE_OFFERED

    play(scene)


@pytest.mark.parametrize("version", [LAST_OF_OLD, MODERN])
def test_a_subscriber_to_an_inbox_is_notified_of_each_arrival(daemon: Daemon, version: str) -> None:
    me, uri = f"watcher-{version}", f"mailroom://inbox/watcher-{version}"
    updates: asyncio.Queue[str] = asyncio.Queue()

    async def on_message(message: object) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            await updates.put(message.params.uri)

    async def shown_without_being_offered(agent: ClientSession, message_id: str) -> None:
        (content,) = (await agent.read_resource(uri)).contents
        assert isinstance(content, types.TextResourceContents)
        assert message_id in content.text
        assert state_of(daemon, message_id) == pb.DELIVERY_STATE_FILED, "reading a resource offers nothing"

    async def scene() -> None:
        async with session(over_stdio(daemon, "--agent", me), version, on_message) as agent:
            assert [str(resource.uri) for resource in (await agent.list_resources()).resources] == [uri]
            if version == MODERN:
                async with listen(agent, resource_subscriptions=[uri]) as subscription:
                    message_id = send(daemon, me, "news")
                    event = await anext(subscription)
                    assert event == ResourceUpdated(uri=uri)
                    await shown_without_being_offered(agent, message_id)
            else:
                await agent.send_request(
                    types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri)), types.EmptyResult
                )
                message_id = send(daemon, me, "news")
                assert await updates.get() == uri
                await shown_without_being_offered(agent, message_id)
                await agent.send_request(
                    types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=uri)), types.EmptyResult
                )
                send(daemon, me, "after unsubscribing")
                await check(agent)
                assert updates.empty()

    play(scene)


def test_a_subscriber_to_a_message_is_notified_when_it_is_read(daemon: Daemon) -> None:
    async def scene() -> None:
        async with session(over_stdio(daemon, "--agent", "asker")) as agent:
            sent = await ask(agent, "send_message", to_session_id="answerer", content="well?")
            uri = f"mailroom://message/{sent['id']}"
            async with listen(agent, resource_subscriptions=[uri]) as subscription:
                with daemon.calls() as calls:
                    calls.acknowledge(pb.AcknowledgeMessagesRequest(agent="answerer", message_ids=[sent["id"]]))
                assert await anext(subscription) == ResourceUpdated(uri=uri)
            (content,) = (await agent.read_resource(uri)).contents
            assert isinstance(content, types.TextResourceContents)
            assert '"state":"read"' in content.text

    play(scene)


def test_mail_is_read_from_files_while_the_daemon_is_down(
    own_daemon: Daemon,
) -> None:
    daemon = own_daemon
    message_id = send(daemon, "me", "before the stop")

    async def scene() -> None:
        async with session(over_stdio(daemon, "--agent", "me"), MODERN) as agent:
            assert [message["id"] for message in await check(agent)] == [message_id]
            await until_offered(daemon, message_id)
            await asyncio.to_thread(daemon.stop)

            body = await ask(agent, "check_inbox")
            assert body["source"] == "files"
            assert "is not running" in body["note"]
            assert "Start it with `mailroomd`" in body["note"]
            (message,) = body["messages"]
            assert (message["id"], message["content"]) == (message_id, "before the stop")
            assert message["shown_before"] is True

            await asyncio.to_thread(daemon.start)
            body = await ask(agent, "check_inbox")
            assert (body["source"], [message["id"] for message in body["messages"]]) == ("daemon", [message_id])
            await ask(agent, "send_message", to_session_id="dashboard", content="back again")

    play(scene)


def test_the_channel_announces_a_burst_once_and_offers_nothing(daemon: Daemon) -> None:
    announcements: asyncio.Queue[Announcement] = asyncio.Queue()
    binding = NotificationBinding(
        method="notifications/claude/channel", params_type=Announcement, handler=announcements.put
    )
    waiting = send(daemon, "called", "before", "early-bird")

    async def scene() -> None:
        transport = over_stdio(daemon, MAILROOM_AGENT="called", MAILROOM_CHANNEL="1")
        async with session(transport, LAST_OF_OLD, bindings=[binding]) as agent:
            assert agent.server_capabilities is not None
            assert agent.server_capabilities.experimental == {"claude/channel": {}}
            first = await announcements.get()
            assert first.content == "A message from early-bird (unverified). Read with check_inbox."
            assert first.meta == {
                "count": "1",
                "sender": "early-bird",
                "sender_verified": "false",
                "message_id": waiting,
                "priority": "normal",
            }
            burst = [send(daemon, "called", "one of three", sender) for sender in ("ann", "bob", "ann")]
            second = await announcements.get()
            assert second.content == "3 messages from ann (unverified), bob (unverified). Read with check_inbox."
            assert second.meta["message_id"] == burst[-1]
            assert {state_of(daemon, message_id) for message_id in (waiting, *burst)} == {pb.DELIVERY_STATE_FILED}
            assert [message["shown_before"] for message in await check(agent)] == [False] * 4

    play(scene)


class Announcement(BaseModel):
    """The strict format of a channel notification."""

    model_config = ConfigDict(extra="forbid", strict=True)
    content: str
    meta: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")], str]
