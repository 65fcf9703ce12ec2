"""A process killed around an answer that does not pass the mailbox: the message is there once, for every reader."""

import time
from collections.abc import Iterator
from contextlib import suppress

import grpc
import pytest
from support.faults.crash_points import AFTER, BEFORE, Shot
from support.faults.fuses import burnt, daemon_with_fuses
from support.harness.client import Client, connect
from support.harness.daemon import short_directory
from support.harness.waiting import pause, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

BOUND_SEC = 60.0
STEPS = [
    ("command-queue", Shot("answer senders", BEFORE, 2)),
    ("command-queue", Shot("say how far senders were answered", BEFORE, 2)),
    ("command-queue", Shot("say how far senders were answered", AFTER, 2)),
    ("command-queue", Shot("answer senders", AFTER, 2)),  # the gateway has the answer, the mailbox no outcome
    ("mailbox", Shot("process a stored message", BEFORE, 2)),  # likewise; the message is above the high-water mark
    ("mailbox", Shot("process a stored message", AFTER, 2)),
    ("gateway", Shot("receive direct answers", BEFORE, 2)),
    ("gateway", Shot("receive direct answers", AFTER, 2)),
]


def send_until_answered(client: Client, number: int) -> str:
    """Sends a message under its key, as often as a killed gateway makes that necessary; returns its id."""
    for _ in rounds_of_patience():
        with suppress(grpc.RpcError):
            sent = client.send("bob", f"mail {number}", idempotency_key=f"key-{number}", timeout=10)
            return sent.message.id
    raise AssertionError(f"message {number} was not answered")


def rounds_of_patience() -> Iterator[None]:
    end_sec = time.monotonic() + BOUND_SEC
    while time.monotonic() < end_sec:
        yield
        pause(0.1)


@pytest.mark.parametrize(
    ("process", "shot"), STEPS, ids=[f"{process} {shot.moment} {shot.name}" for process, shot in STEPS]
)
def test_a_crash_around_a_direct_answer_leaves_each_message_once(process: str, shot: Shot) -> None:
    with short_directory() as directory:
        daemon = daemon_with_fuses(directory, {process: [shot]})
        daemon.start()
        try:
            with connect(daemon.address) as client:
                ids = [send_until_answered(client, number) for number in range(3)]
                wait_until(lambda: burnt(daemon), f"{process} has passed: {shot}", BOUND_SEC)
                assert [send_until_answered(client, number) for number in range(3)] == ids, "no message is doubled"
                assert [message.id for message in client.check("bob", observe=True).messages] == ids
                assert sorted(message.id for message in client.listed("bob")) == ids
                replay = client.subscribe("bob", after_id="0" * 16, observe=True)
                assert [message.id for message in replay.messages(3)] == ids
                replay.cancel()
            assert sorted(path.stem for path in (daemon.root / "inbox" / "bob").glob("*.json")) == ids
            assert burnt(daemon) == [f"{process}: {shot.moment} {shot.name}"]
            assert daemon.stop() == 0
        finally:
            daemon.kill_everything()
