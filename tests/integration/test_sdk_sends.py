"""Concurrent sends of both SDK clients with a real daemon: the same results and errors as those of single calls."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import pytest
from mailroom import (
    AsyncMailroom,
    CaughtUp,
    DaemonNotRunning,
    Mailroom,
    MailroomError,
    PermissionDenied,
    SentMessage,
    Unauthenticated,
    Unavailable,
)
from support.harness.client import send_request
from support.harness.deployment import Deployment, new_deployment, running_deployment
from support.harness.guarded import guarded_deployment

MANY = 100
REFUSED: dict[str, dict[str, Any]] = {
    "recipient": {"to": "../x"},
    "no recipient": {"to": ""},
    "sender": {"sender": "no such name"},
    "type": {"type": "x" * 129},
    "thread": {"thread_id": "x" * 129},
    "reply": {"in_reply_to": "nothing"},
    "ttl": {"ttl": 0},
    "metadata": {"metadata": {"text": "x" * (64 << 10)}},
    "key": {"idempotency_key": "\n"},
    "reused key": {"idempotency_key": "used", "content": "another"},
    "full mailbox": {"to": "full", "sender": "flood", "timeout": 0.3},
}


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment("--max-unread", "2000") as running:
        for _ in range(2):
            running.send_many([send_request("full", "x", sender="flood") for _ in range(1000)])
        running.send("abc", "first", sender="me", idempotency_key="used")
        yield running


async def outcome_of(client: AsyncMailroom, arguments: dict[str, Any]) -> SentMessage | MailroomError:
    everything: dict[str, Any] = {"to": "abc", "content": "go", **arguments}
    try:
        return await client.send(**everything)
    except MailroomError as error:
        return error


async def at_once(address: str, arguments: list[dict[str, Any]], **options: Any) -> list[SentMessage | MailroomError]:
    async with AsyncMailroom(address, sender="me", **options) as client:
        return await asyncio.gather(*(outcome_of(client, one) for one in arguments))


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_on_the_stream_is_the_one_of_a_single_call(deployment: Deployment, name: str) -> None:
    good: list[dict[str, Any]] = [{}] * 3

    async def scene() -> None:
        (single,) = await at_once(deployment.target, [REFUSED[name]])
        *others, shared = await at_once(deployment.target, [*good, REFUSED[name]])
        assert isinstance(single, MailroomError)
        assert isinstance(shared, MailroomError)
        assert (type(shared), shared.to_dict()) == (type(single), single.to_dict())
        assert all(isinstance(other, SentMessage) for other in others)

    asyncio.run(scene())


def test_a_result_on_the_stream_is_the_one_of_a_single_call(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    message: dict[str, Any] = {
        "to": agent,
        "content": "ünïcode " * 100,
        "type": "news",
        "metadata": {"deep": [1, 2.5, None, {"a": True}], "empty": {}},
        "thread_id": "t",
        "in_reply_to": "0123456789abcdef",
        "priority": "urgent",
        "ttl": 3600,
        "idempotency_key": "one",
    }

    async def scene() -> None:
        shared, other = await at_once(deployment.target, [message, {}])
        (single,) = await at_once(deployment.target, [message])
        assert isinstance(shared, SentMessage)
        assert isinstance(other, SentMessage)
        assert isinstance(single, SentMessage)
        assert shared.message == single.message
        assert shared.message.content == message["content"]
        assert shared.message.metadata == message["metadata"]

    asyncio.run(scene())
    assert deployment.number_stored(agent) == 1


def test_sends_are_stored_in_the_order_in_which_they_were_made(deployment: Deployment) -> None:
    agent = deployment.new_agent()

    async def scene() -> None:
        async with AsyncMailroom(deployment.target, sender="me") as client:
            tasks: list[asyncio.Task[SentMessage]] = []
            for place in range(700):
                tasks.append(asyncio.create_task(client.send(agent, str(place))))
                if place % 7 == 0:
                    await asyncio.sleep(0)
            sent = await asyncio.gather(*tasks)
            assert [one.id for one in sent] == sorted(one.id for one in sent)

    asyncio.run(scene())
    assert deployment.number_stored(agent) == 700


def test_threads_that_share_a_client_each_get_their_own_message(deployment: Deployment) -> None:
    agent = deployment.new_agent()

    async def scene(client: Mailroom) -> None:
        sent = await asyncio.gather(*(asyncio.to_thread(client.send, agent, str(place)) for place in range(MANY)))
        assert [one.message.content for one in sent] == [str(place) for place in range(MANY)]

    with Mailroom(deployment.target, sender="me") as client:
        asyncio.run(scene(client))
    assert deployment.number_stored(agent) == MANY


def test_a_caller_whose_time_is_over_gets_the_usual_error_and_others_wait_on(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    patient: dict[str, Any] = {"to": agent}
    impatient: dict[str, Any] = {"to": agent, "timeout": 2.0, "idempotency_key": "impatient"}

    async def scene() -> None:
        async with AsyncMailroom(deployment.target, sender="me") as client:
            with deployment.stopped(deployment.pid_of("mailbox")):
                (single,) = await at_once(deployment.target, [impatient])
                waiting = [asyncio.create_task(outcome_of(client, patient)) for _ in range(5)]
                shared = await outcome_of(client, impatient)
                assert isinstance(single, Unavailable)
                assert isinstance(shared, Unavailable)
                assert shared.to_dict() == single.to_dict()
                assert not any(task.done() for task in waiting)
            assert all(isinstance(one, SentMessage) for one in await asyncio.gather(*waiting))

    asyncio.run(scene())
    assert deployment.number_stored(agent) in (5, 6)


def test_a_cancelled_send_leaves_the_others_alone(deployment: Deployment) -> None:
    agent = deployment.new_agent()

    async def scene() -> None:
        async with AsyncMailroom(deployment.target, sender="me") as client:
            tasks = [asyncio.create_task(client.send(agent, str(place))) for place in range(MANY)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for task in tasks[::10]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in outcomes[::10])
            kept = [one for place, one in enumerate(outcomes) if place % 10]
            assert all(isinstance(one, SentMessage) for one in kept)

    asyncio.run(scene())
    assert MANY * 9 // 10 <= deployment.number_stored(agent) <= MANY


def test_a_client_that_holds_all_its_streams_still_sends() -> None:
    async def scene(address: str, token: str) -> None:
        async with (
            AsyncMailroom(address, sender="bob", token=token) as client,
            client.subscribe("bob", caught_up=True) as events,
        ):
            assert isinstance(await anext(events), CaughtUp)
            sent = await asyncio.gather(*(client.send("bob", str(place)) for place in range(20)))
            assert {(await anext(events)).event_id for _ in range(20)} == {one.id for one in sent}

    with guarded_deployment("--client-streams", "1") as guarded:
        asyncio.run(scene(guarded.tcp, guarded.texts["bob"]))


def test_a_client_beyond_its_rate_gets_every_message_through_in_the_end() -> None:
    with guarded_deployment("--client-rate", "40") as guarded:  # five seconds' worth may come at once
        options = {"token": guarded.texts["bob"]}
        arguments: list[dict[str, Any]] = [{"sender": "bob", "to": "carol"}] * 260
        outcomes = asyncio.run(at_once(guarded.tcp, arguments, **options))
        assert all(isinstance(one, SentMessage) for one in outcomes)
        assert guarded.deployment.number_stored("carol") == 260


def test_a_foreign_sender_fails_its_own_caller_only() -> None:
    with guarded_deployment() as guarded:
        options = {"token": guarded.texts["bob"]}
        arguments: list[dict[str, Any]] = [{"sender": "bob"}] * 5 + [{"sender": "carol"}]
        *good, bad = asyncio.run(at_once(guarded.tcp, arguments, **options))
        assert all(isinstance(one, SentMessage) for one in good)
        assert isinstance(bad, PermissionDenied)
        assert (bad.reason, bad.field) == ("NOT_YOURS", "sender")


def test_a_revoked_token_fails_the_sends_of_an_open_stream() -> None:
    async def scene(address: str, token: str, revoke: Callable[[], object]) -> None:
        async with AsyncMailroom(address, sender="bob", token=token) as client:
            sent = await asyncio.gather(*(outcome_of(client, {}) for _ in range(20)))
            assert all(isinstance(one, SentMessage) for one in sent)
            revoke()
            for one in await asyncio.gather(*(outcome_of(client, {}) for _ in range(20))):
                assert isinstance(one, Unauthenticated)
                assert one.reason == "TOKEN_INVALID"

    with guarded_deployment() as guarded:
        text, token = guarded.tokens.create("bob", 0, 0)
        asyncio.run(scene(guarded.tcp, text, lambda: guarded.tokens.revoke({token.id})))


def test_a_stop_ends_the_stream_and_the_next_daemon_gets_the_next_sends() -> None:
    async def scene(deployment: Deployment) -> None:
        async with AsyncMailroom(deployment.target, sender="me") as client:
            await asyncio.gather(*(client.send("abc", str(place)) for place in range(20)))
            assert deployment.stop() == 0
            with pytest.raises(DaemonNotRunning):
                await client.send("abc", "nobody is there", timeout=0.2)
            deployment.start()
            await asyncio.gather(*(client.send("abc", str(place)) for place in range(20)))
        assert deployment.number_stored("abc") == 40
        assert deployment.stop() == 0

    with new_deployment() as deployment:
        deployment.start()
        asyncio.run(scene(deployment))
