"""The calls of both clients: retries, one idempotency key, typed results and errors."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from mailroom import (
    AlreadyExists,
    AsyncMailroom,
    ClientClosed,
    DaemonNotRunning,
    DeadlineExceeded,
    DeliveryState,
    Health,
    InvalidArgument,
    MailroomError,
    NotFound,
    PermissionDenied,
    Priority,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from support.fakes.fake_daemon import FakeDaemon
from support.fakes.scenes import play
from support.fakes.scripted import Refusal

KINDS = pytest.mark.parametrize("kind", ["asyncio", "blocking"])


@KINDS
def test_a_send_returns_the_message_and_its_delivery(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.inbox_file_error = "Permission denied"
        sent = await client.send(
            "abc",
            "go",
            metadata={"n": 1, "deep": [None, 1.5]},
            thread_id="t",
            priority="high",
            ttl=timedelta(minutes=1),
        )
        assert sent.id == next(iter(daemon.messages))
        assert sent.message.sender == "dashboard"
        assert sent.message.metadata == {"n": 1, "deep": [None, 1.5]}
        assert sent.message.priority is Priority.HIGH
        assert sent.message.in_reply_to is None
        assert sent.delivery.state is DeliveryState.STORED
        assert sent.delivery.inbox_file_error == "Permission denied"
        assert not sent.delivery.recipient_known
        assert daemon.requests["SendMessage"][0].ttl.seconds == 60
        assert sent.to_dict()["delivery"]["state"] == "stored"
        assert sent.to_dict()["message"]["timestamp"].endswith("Z")

    play(kind, tmp_path, scene)


@KINDS
@pytest.mark.parametrize(
    "given", [7200, timedelta(hours=2), datetime.now(timezone(timedelta(hours=5))) + timedelta(hours=2)], ids=type
)
def test_an_answer_is_wanted_at_a_moment_or_after_a_span(kind: str, given: Any, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        message = (await client.send("abc", "go", reply_by=given)).message
        assert message.reply_by is not None
        assert abs(message.reply_by - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=5)
        assert message.to_dict()["reply_by"].endswith("Z")
        assert (await client.send("abc", "go")).message.reply_by is None

    play(kind, tmp_path, scene)


@KINDS
def test_a_retried_send_carries_one_key_and_is_stored_once(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.refuse("SendMessage", Refusal(), Refusal(after_doing=True), Refusal(retry_after_sec=0.01))
        sent = await client.send("abc", "go")
        keys = [request.idempotency_key for request in daemon.requests["SendMessage"]]
        assert len(keys) == 4
        assert len(set(keys)) == 1
        again = await client.send("abc", "go")
        assert list(daemon.messages) == [sent.id, again.id], "another send has another key"

    play(kind, tmp_path, scene)


@KINDS
def test_a_given_idempotency_key_is_used_unchanged(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        first = await client.send("abc", "go", idempotency_key="mine")
        assert await client.send("abc", "go", idempotency_key="mine") == first
        assert len(daemon.messages) == 1

    play(kind, tmp_path, scene)


@KINDS
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.ALREADY_EXISTS, AlreadyExists),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.INTERNAL, MailroomError),
    ],
)
def test_a_refusal_is_typed_and_not_retried(
    kind: str, code: grpc.StatusCode, expected: type[MailroomError], tmp_path: Path
) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.refuse("SendMessage", Refusal(code, "SOME_REASON", "no, because", field="recipient"))
        with pytest.raises(expected, match="no, because") as caught:
            await client.send("abc", "go")
        assert type(caught.value) is expected
        assert (caught.value.code, caught.value.reason, caught.value.field) == (code.name, "SOME_REASON", "recipient")
        assert caught.value.retry_after_sec is None
        assert len(daemon.requests["SendMessage"]) == 1

    play(kind, tmp_path, scene)


@KINDS
def test_resource_exhausted_is_retried_after_the_daemons_delay(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        full = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WAITING", retry_after_sec=0.05)
        daemon.refuse("SendMessage", full, full)
        await client.send("abc", "go")
        assert len(daemon.requests["SendMessage"]) == 3

    play(kind, tmp_path, scene)


@KINDS
def test_retrying_ends_with_the_timeout(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.refuse("SendMessage", *[Refusal()] * 100)
        with pytest.raises(Unavailable) as caught:
            await client.send("abc", "go", timeout=1.0)
        assert caught.value.reason == "WORKER_RESTARTING"
        daemon.refuse("GetMailboxStats", Refusal(retry_after_sec=60))
        with pytest.raises(Unavailable) as caught:
            await client.stats()
        assert caught.value.retry_after_sec == 60

    play(kind, tmp_path, scene)


@KINDS
def test_a_missing_daemon_is_reported_within_the_grace_period(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        await daemon.stop()
        with pytest.raises(DaemonNotRunning) as caught:
            await client.send("abc", "go")
        assert str(daemon.socket) in caught.value.message
        assert "mailroomd" in caught.value.message
        assert "systemctl --user start mailroomd" in caught.value.message
        with pytest.raises(DaemonNotRunning):
            await anext(client.subscribe("abc"))

    play(kind, tmp_path, scene, grace=0.1)


@KINDS
def test_a_daemon_that_starts_within_the_grace_period_is_used(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        await daemon.stop()
        sending = asyncio.create_task(client.send("abc", "go"))
        await asyncio.sleep(0)
        await daemon.start()
        assert (await sending).message.content == "go"

    play(kind, tmp_path, scene, grace=8.0)


@KINDS
def test_a_daemon_that_has_answered_before_is_awaited_beyond_the_grace_period(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        assert await client.health() is Health.SERVING
        await daemon.stop()
        sending = asyncio.create_task(client.send("abc", "go"))
        await asyncio.sleep(0)
        await daemon.start()
        assert (await sending).message.content == "go"
        await daemon.stop()
        with pytest.raises(DaemonNotRunning):
            await client.send("abc", "go", timeout=0.2)

    play(kind, tmp_path, scene, grace=0.0)


@KINDS
def test_a_broadcast_returns_an_outcome_for_each_recipient(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        first, bad, last = await client.broadcast(["a", ".b", "c"], "all", type="news")
        assert first.sent is not None
        assert first.sent.message.recipient == "a"
        assert isinstance(bad.error, InvalidArgument)
        assert (bad.error.reason, bad.error.field) == ("RECIPIENT_INVALID", "recipient")
        assert last.recipient == "c"
        assert await client.broadcast([], "none") == []

    play(kind, tmp_path, scene)


@KINDS
def test_checking_an_inbox_can_wait_and_acknowledging_empties_it(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        waiting = asyncio.create_task(client.check_inbox("abc", wait=5.0, limit=1))
        await daemon.wait_until(lambda: bool(daemon.requests["CheckInbox"]))
        ids = [daemon.deliver("abc", text) for text in ("one", "two")]
        inbox = await waiting
        assert [message.id for message in inbox] == ids[:1]
        assert inbox.more or len(inbox) == 1
        await client.mark_offered("abc", ids[0])
        newest = await client.check_inbox("abc", unoffered_only=True, newest_first=True)
        assert [message.content for message in newest] == ["two"]
        done = await client.acknowledge("abc", [*ids, "00"])
        assert (done.acknowledged_ids, done.unknown_ids) == (tuple(ids), ("00",))
        assert not await client.check_inbox("abc")

    play(kind, tmp_path, scene)


@KINDS
def test_many_ids_are_acknowledged_in_portions(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        done = await client.acknowledge("abc", (f"{number:016x}" for number in range(2500)))
        assert len(done.unknown_ids) == 2500
        sizes = [len(request.message_ids) for request in daemon.requests["AcknowledgeMessages"]]
        assert sizes == [1000, 1000, 500]

    play(kind, tmp_path, scene)


@KINDS
def test_a_mailbox_is_listed_by_pages_or_completely(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        ids = [daemon.deliver("abc", str(number)) for number in range(5)][::-1]
        page = await client.list_messages("abc", page_size=2)
        assert [message.id for message in page] == ids[:2]
        page = await client.list_messages("abc", page_size=2, page_token=page.next_page_token)
        assert [message.id for message in page] == ids[2:4]
        assert [message.id async for message in client.iter_messages("abc", page_size=2)] == ids

    play(kind, tmp_path, scene)


@KINDS
def test_a_message_is_found_with_its_history(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        tracked = await client.get_message(daemon.deliver("abc", "go"))
        assert tracked.message.content == "go"
        assert [receipt.state for receipt in tracked.history] == [DeliveryState.FILED]
        with pytest.raises(NotFound) as caught:
            await client.get_message("00")
        assert caught.value.reason == "MESSAGE_NOT_FOUND"

    play(kind, tmp_path, scene)


@KINDS
def test_counts_and_workers_are_typed(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.mark_read(daemon.deliver("abc", "one"))
        daemon.deliver("abc", "two")
        daemon.deliver("xyz", "three")
        assert [(stats.agent_id, stats.total, stats.unread) for stats in await client.stats()] == [
            ("abc", 2, 1),
            ("xyz", 1, 1),
        ]
        assert [stats.agent_id for stats in await client.stats("xyz")] == ["xyz"]
        status = await client.status()
        assert [worker.name for worker in status.workers] == ["mailbox", "command-queue", "gateway"]
        assert status.started_at is None

    play(kind, tmp_path, scene)


@KINDS
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"content": "\udcff"}, "REQUEST_MALFORMED"),
        ({"content": "ü" * (1 << 19) + "x"}, "CONTENT_TOO_LARGE"),
        ({"content": "x" * (17 << 20)}, "CONTENT_TOO_LARGE"),
        ({"metadata": {"id": 1 << 60}}, "METADATA_INVALID"),
        ({"metadata": {"when": float("nan")}}, "METADATA_INVALID"),
        ({"priority": "asap"}, "PRIORITY_INVALID"),
        ({"ttl": float("inf")}, "TTL_INVALID"),
        ({"reply_by": float("nan")}, "REPLY_BY_INVALID"),
        ({"reply_by": datetime(2030, 1, 1)}, "REPLY_BY_INVALID"),
    ],
)
def test_values_that_would_not_arrive_unchanged_are_refused_before_sending(
    kind: str, arguments: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        everything: dict[str, Any] = {"content": "go", **arguments}
        with pytest.raises(InvalidArgument) as caught:
            await client.send("abc", **everything)
        assert caught.value.reason == reason
        assert caught.value.field in arguments
        with pytest.raises(InvalidArgument):
            await client.broadcast(["abc"], **everything)
        assert not daemon.requests

    play(kind, tmp_path, scene)


@KINDS
def test_content_may_be_as_large_as_its_limit(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        assert (await client.send("abc", "ü" * (1 << 19))).id in daemon.messages

    play(kind, tmp_path, scene)


@KINDS
def test_an_empty_sender_is_sent_to_the_daemon_and_never_replaced(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "SENDER_INVALID", "sender is empty", field="sender")
        daemon.refuse("SendMessage", refusal, refusal)
        for sender in ("", None):  # the call's own, then the client's
            with pytest.raises(InvalidArgument) as caught:
                await client.send("abc", "go", sender=sender)
            assert caught.value.reason == "SENDER_INVALID"
        assert [request.sender for request in daemon.requests["SendMessage"]] == ["", ""]

    monkeypatch.setenv("MAILROOM_AGENT", "from-env")
    play(kind, tmp_path, scene, sender="")


@KINDS
def test_the_sender_comes_from_the_call_the_client_or_the_environment(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        assert (await client.send("abc", "go", sender="me")).message.sender == "me"
        with pytest.raises(InvalidArgument, match="MAILROOM_AGENT"):
            await client.send("abc", "go")
        monkeypatch.setenv("MAILROOM_AGENT", "from-env")
        async with AsyncMailroom(daemon.address) as other:
            assert (await other.send("abc", "go")).message.sender == "from-env"

    monkeypatch.delenv("MAILROOM_AGENT", raising=False)
    play(kind, tmp_path, scene, sender=None)


@KINDS
def test_a_closed_client_raises_client_closed(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        waiting = asyncio.create_task(client.check_inbox("abc", wait=60))
        await daemon.wait_until(lambda: bool(daemon.requests["CheckInbox"]))
        await client.close()
        with pytest.raises(ClientClosed):
            await waiting
        with pytest.raises(ClientClosed):
            await client.stats()

    play(kind, tmp_path, scene)


def test_cancelling_a_task_cancels_its_call(tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.check_inbox("abc", wait=60)
        assert (await client.send("abc", "go")).id

    play("asyncio", tmp_path, scene)


def test_a_cancellation_by_an_anyio_scope_ends_only_that_scope(tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        scope = anyio.CancelScope()
        survived = False

        async def wait() -> None:
            with scope:
                await client.check_inbox("abc", wait=timedelta(minutes=1))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await daemon.wait_until(lambda: bool(daemon.requests["CheckInbox"]))
            scope.cancel()
            await client.check_inbox("abc")
            survived = True
        assert survived
        assert scope.cancelled_caught

    play("asyncio", tmp_path, scene)
