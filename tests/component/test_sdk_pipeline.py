"""Concurrent sends of both clients share a stream: batches, errors, deadlines, cancellation, broken streams."""

import asyncio
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from mailroom import (
    AsyncMailroom,
    ClientClosed,
    DeadlineExceeded,
    InvalidArgument,
    PermissionDenied,
    SentMessage,
    Unavailable,
)
from mailroom.pipeline import MAX_SHARED_MESSAGES
from support.fakes.fake_daemon import FakeDaemon
from support.fakes.scenes import in_thread, play
from support.fakes.scripted import Refusal

KINDS = pytest.mark.parametrize("kind", ["asyncio", "blocking"])


async def start_sharing(daemon: FakeDaemon, client: AsyncMailroom) -> list["asyncio.Task[SentMessage]"]:
    """Starts two sends and holds at least one of them on the stream, so that later ones join it."""
    daemon.held |= {"SendMessage", "SendMessages"}
    sending = [asyncio.create_task(client.send("abc", f"first {place}")) for place in range(2)]
    await daemon.wait_until(lambda: bool(daemon.requests["SendMessages"]))
    daemon.release("SendMessage")
    return sending


async def send_at_once(daemon: FakeDaemon, client: AsyncMailroom, number: int) -> list[SentMessage]:
    """Sends messages at once; the first ones certainly use the stream."""
    daemon.held.add("SendMessage")
    sending = [asyncio.create_task(client.send("abc", str(place))) for place in range(number)]
    await daemon.wait_until(lambda: bool(daemon.requests["SendMessages"]))
    daemon.release("SendMessage")
    return await asyncio.gather(*sending)


@KINDS
def test_concurrent_sends_share_a_stream_and_each_gets_its_own_message(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        first = await start_sharing(daemon, client)
        sending = [
            asyncio.create_task(client.send("abc", str(place), metadata={"place": place}, priority="high"))
            for place in range(20)
        ]
        await asyncio.sleep(0.05)
        daemon.release("SendMessages")
        sent = await asyncio.gather(*sending)
        await asyncio.gather(*first)
        assert [one.message.content for one in sent] == [str(place) for place in range(20)]
        assert [one.message.metadata for one in sent] == [{"place": place} for place in range(20)]
        for one in sent:
            assert daemon.messages[one.id].content == one.message.content
            assert one.message.priority == "high"
        assert len(daemon.messages) == 22
        assert len(daemon.requests["SendMessage"]) <= 1
        assert len(daemon.requests["SendMessages"]) < 20

    play(kind, tmp_path, scene)


def test_sends_of_one_turn_travel_in_batches_and_are_stored_in_their_order(tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        sent = await asyncio.gather(*(client.send("abc", str(place)) for place in range(1024)))
        assert [one.id for one in sent] == sorted(one.id for one in sent)
        assert [message.content for message in daemon.messages.values()] == [str(place) for place in range(1024)]
        assert [len(request.messages) for request in daemon.requests["SendMessages"]] == [MAX_SHARED_MESSAGES] * 8

    play("asyncio", tmp_path, scene)


def test_sends_made_while_the_first_one_travels_alone_are_stored_behind_it(tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.held.add("SendMessage")
        sending = [asyncio.create_task(client.send("abc", "first"))]
        await daemon.wait_until(lambda: bool(daemon.requests["SendMessage"]))
        sending += [asyncio.create_task(client.send("abc", str(place))) for place in range(10)]
        await asyncio.sleep(0.05)
        daemon.release("SendMessage")
        sent = await asyncio.gather(*sending)
        assert [one.id for one in sent] == sorted(one.id for one in sent)
        assert [len(request.messages) for request in daemon.requests["SendMessages"]] == [10]

    play("asyncio", tmp_path, scene)


def test_sends_do_not_wait_for_a_first_one_that_gets_no_answer(tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.held.add("SendMessage")
        first = asyncio.create_task(client.send("abc", "first", timeout=5))
        await daemon.wait_until(lambda: bool(daemon.requests["SendMessage"]))
        second = asyncio.create_task(client.send("abc", "second", timeout=0.4))
        await daemon.wait_until(lambda: len(daemon.requests["SendMessage"]) == 2)
        first.cancel()
        third = await client.send("abc", "third", timeout=5)
        daemon.release("SendMessage")
        await asyncio.gather(first, second, return_exceptions=True)
        assert third.message.content == "third"

    play("asyncio", tmp_path, scene)


@KINDS
def test_a_single_send_makes_a_unary_call_and_opens_no_stream(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        await client.send("abc", "one")
        assert len(daemon.requests["SendMessage"]) == 1
        assert not daemon.requests["SendMessages"]

    play(kind, tmp_path, scene)


def test_a_loop_of_sends_uses_a_stream_which_ends_a_moment_later(tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        for place in range(10):
            await client.send("abc", str(place))
        assert len(daemon.requests["SendMessage"]) == 1
        assert len(daemon.requests["SendMessages"]) == 9
        await daemon.wait_until(lambda: daemon.open_send_streams == 0)
        assert (await client.send("abc", "much later")).message.content == "much later"

    play("asyncio", tmp_path, scene)


@KINDS
def test_a_stream_ends_soon_after_the_last_send(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        sending = await start_sharing(daemon, client)
        assert daemon.open_send_streams == 1
        daemon.release("SendMessages")
        await asyncio.gather(*sending)
        await daemon.wait_until(lambda: daemon.open_send_streams == 0)

    play(kind, tmp_path, scene)


@KINDS
def test_mail_for_a_team_makes_a_unary_call(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        sending = await start_sharing(daemon, client)
        before = len(daemon.requests["SendMessage"])
        assert (await client.send("abc@team", "go")).message.recipient == "abc@team"
        assert len(daemon.requests["SendMessage"]) == before + 1
        daemon.release("SendMessages")
        await asyncio.gather(*sending)

    play(kind, tmp_path, scene)


@KINDS
def test_a_refused_message_fails_its_own_caller_only(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        first = await start_sharing(daemon, client)
        sending = [asyncio.create_task(client.send(name, "go")) for name in ("a", ".b", "c")]
        await asyncio.sleep(0.05)
        daemon.release("SendMessages")
        good, bad, last = await asyncio.gather(*sending, return_exceptions=True)
        await asyncio.gather(*first)
        assert isinstance(good, SentMessage)
        assert isinstance(last, SentMessage)
        assert isinstance(bad, InvalidArgument)
        assert (bad.code, bad.reason) == ("INVALID_ARGUMENT", "RECIPIENT_INVALID")
        assert bad.message == ".b is not a valid name"

    play(kind, tmp_path, scene)


@KINDS
def test_a_message_refused_during_a_restart_is_sent_again_with_its_key(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        first = await start_sharing(daemon, client)
        daemon.busy.add("b")
        sending = [asyncio.create_task(client.send(name, "go")) for name in ("a", "b", "c")]
        await asyncio.sleep(0.05)
        daemon.release("SendMessages")
        await asyncio.gather(*first, *sending)
        requests = [message for request in daemon.requests["SendMessages"] for message in request.messages]
        requests += daemon.requests["SendMessage"]
        keys = [message.idempotency_key for message in requests if message.recipient == "b"]
        assert len(keys) == 2
        assert len(set(keys)) == 1
        assert sorted(message.recipient for message in daemon.messages.values()) == ["a", "abc", "abc", "b", "c"]

    play(kind, tmp_path, scene)


@KINDS
def test_a_broken_stream_is_replaced_without_loss_or_duplicates(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.refuse("SendMessages", Refusal(), Refusal(after_doing=True), Refusal(grpc.StatusCode.CANCELLED))
        sent = await send_at_once(daemon, client, 100)
        assert [one.message.content for one in sent] == [str(place) for place in range(100)]
        assert len(daemon.refusals["SendMessages"]) < 3
        assert sorted(daemon.messages) == sorted(one.id for one in sent)

    play(kind, tmp_path, scene)


@KINDS
def test_sends_survive_a_restart_of_the_daemon(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        sending = await start_sharing(daemon, client)
        await daemon.stop()
        daemon.release("SendMessages")
        await daemon.start()
        sent = await asyncio.gather(*sending)
        assert sorted(daemon.messages) == sorted(one.id for one in sent)

    play(kind, tmp_path, scene)


@KINDS
@pytest.mark.parametrize(
    ("code", "reason", "retry_after_sec"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS", 1.0),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", 60.0),
        (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", None),
        (grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS", None),
        (grpc.StatusCode.UNIMPLEMENTED, "", None),
        (grpc.StatusCode.INTERNAL, "INTERNAL", None),
    ],
)
def test_a_refused_stream_does_not_concern_the_callers_whose_own_calls_succeed(
    kind: str, code: grpc.StatusCode, reason: str, retry_after_sec: float | None, tmp_path: Path
) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        daemon.refuse("SendMessages", *[Refusal(code, reason, "no", retry_after_sec=retry_after_sec)] * 10)
        sent = await send_at_once(daemon, client, 20)
        assert [one.message.content for one in sent] == [str(place) for place in range(20)]
        assert len(daemon.messages) == 20
        assert len(daemon.requests["SendMessages"]) == 1, "the daemon is not asked for another stream at once"

    play(kind, tmp_path, scene)


@KINDS
def test_each_caller_gets_the_error_of_its_own_call_after_a_refused_stream(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        refusal = Refusal(grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS", "not yours", field="sender")
        sending = await start_sharing(daemon, client)
        daemon.refuse("SendMessages", refusal)
        daemon.refuse("SendMessage", refusal)
        sending += [asyncio.create_task(client.send("abc", str(place))) for place in range(4)]
        await asyncio.sleep(0.05)
        daemon.release("SendMessages")
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        errors = [outcome for outcome in outcomes if not isinstance(outcome, SentMessage)]
        assert len(errors) == 1
        assert isinstance(errors[0], PermissionDenied)
        assert (errors[0].reason, errors[0].field) == ("NOT_YOURS", "sender")
        assert len(daemon.messages) == len(outcomes) - 1

    play(kind, tmp_path, scene)


@KINDS
def test_a_caller_whose_time_is_over_fails_alone_and_its_late_answer_is_dropped(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        sending = await start_sharing(daemon, client)
        daemon.refuse("SendMessage", Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "", "Deadline Exceeded"))
        with pytest.raises(DeadlineExceeded):
            await client.send("abc", "impatient", timeout=0.1)
        assert daemon.open_send_streams == 1
        daemon.release("SendMessages")
        sent = await asyncio.gather(*sending)
        assert [one.message.content for one in sent] == ["first 0", "first 1"]
        assert (await client.send("abc", "last")).message.content == "last"

    play(kind, tmp_path, scene)


@KINDS
def test_a_caller_that_is_not_answered_in_time_asks_in_a_call_of_its_own(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        sending = await start_sharing(daemon, client)
        sent = await client.send("abc", "patient", timeout=1.0)
        assert "SendMessages" in daemon.held
        daemon.release("SendMessages")
        await asyncio.gather(*sending)
        assert [one.id for one in daemon.messages.values() if one.content == "patient"] == [sent.id]

    play(kind, tmp_path, scene)


@KINDS
def test_a_stream_that_stands_still_is_given_up_and_its_sends_are_repeated(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        sending = await start_sharing(daemon, client)
        sent = await asyncio.gather(*sending)
        assert "SendMessages" in daemon.held
        assert sorted(daemon.messages) == sorted(one.id for one in sent)
        daemon.release("SendMessages")

    monkeypatch.setattr("mailroom.pipeline.MAX_SHARED_SEC", 0.2)
    play(kind, tmp_path, scene)


def test_a_cancelled_send_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        in_flight = await start_sharing(daemon, client)
        sending = [asyncio.create_task(client.send("abc", str(place))) for place in range(5)]
        await asyncio.sleep(0.05)
        for one in (in_flight[0], sending[2]):
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
        daemon.release("SendMessages")
        sent = await asyncio.gather(in_flight[1], *sending[:2], *sending[3:])
        assert [one.message.content for one in sent] == ["first 1", "0", "1", "3", "4"]
        assert {one.id for one in sent} <= set(daemon.messages)

    play("asyncio", tmp_path, scene)


@KINDS
def test_closing_the_client_ends_the_sends_that_wait(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        sending = await start_sharing(daemon, client)
        sending += [asyncio.create_task(client.send("abc", str(place))) for place in range(3)]
        await asyncio.sleep(0.05)
        await client.close()
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        unanswered = [outcome for outcome in outcomes if not isinstance(outcome, SentMessage)]
        assert len(unanswered) >= 4, "one may have travelled alone"
        assert all(isinstance(outcome, ClientClosed) for outcome in unanswered)
        daemon.release("SendMessages")

    play(kind, tmp_path, scene)


@KINDS
def test_retrying_ends_with_the_timeout_of_each_caller(kind: str, tmp_path: Path) -> None:
    async def scene(daemon: FakeDaemon, client: AsyncMailroom) -> None:
        for rpc in ("SendMessage", "SendMessages"):
            daemon.refuse(rpc, *[Refusal()] * 1000)
        sending = [asyncio.create_task(client.send("abc", str(place), timeout=0.3)) for place in range(10)]
        for outcome in await asyncio.gather(*sending, return_exceptions=True):
            assert isinstance(outcome, Unavailable | DeadlineExceeded), "the last attempt may have had no time left"
        assert not daemon.messages

    play(kind, tmp_path, scene)


UNCLOSED = {
    "asyncio": """
import asyncio, sys
from mailroom import AsyncMailroom
async def main():
    client = AsyncMailroom(sys.argv[1], sender="me")
    await asyncio.gather(*(client.send("abc", str(place)) for place in range(50)))
    print("sent")
asyncio.run(main(), debug=True)
""",
    "blocking": """
import sys
from concurrent.futures import ThreadPoolExecutor
from mailroom import Mailroom
client = Mailroom(sys.argv[1], sender="me")
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda place: client.send("abc", str(place)), range(50)))
print("sent")
""",
}


@KINDS
def test_a_program_that_never_closes_its_client_ends_by_itself_and_quietly(kind: str, tmp_path: Path) -> None:
    with in_thread(tmp_path) as fake:
        program = [sys.executable, "-X", "dev", "-c", UNCLOSED[kind], fake.address]
        ended = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)
        assert (ended.returncode, ended.stdout) == (0, "sent\n"), ended.stderr
        for complaint in ("was destroyed", "never retrieved", "Traceback", "never awaited"):
            assert complaint not in ended.stderr
        assert fake.do(lambda daemon: len(daemon.messages)) == 50
