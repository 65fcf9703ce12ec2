"""A process killed before or after each step of a receipt OVERDUE: the sender gets it exactly once."""

import time

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.crash_points import AFTER, BEFORE, Shot
from support.faults.fuses import burnt, daemon_with_fuses
from support.harness.client import Client, Stream, connect, send_request
from support.harness.daemon import short_directory
from support.harness.waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

BOUND_SEC = 60.0
SOON_SEC = 1.0  # after the stream is live
STEPS = [
    ("command-queue", Shot("ask for ids", BEFORE, 1)),
    ("command-queue", Shot("ask for ids", AFTER, 1)),
    ("command-queue", Shot("commit a local event", BEFORE, 1)),
    ("command-queue", Shot("write receipts", AFTER, 1)),
    ("command-queue", Shot("commit a local event", AFTER, 1)),
    ("command-queue", Shot("release a local event", BEFORE, 2)),  # committed; the first passing is that of the send
    ("mailbox", Shot("allocate ids for a local event", BEFORE, 1)),
    ("mailbox", Shot("allocate ids for a local event", AFTER, 1)),
]


def ask(client: Client, in_sec: float) -> str:
    request = send_request("bob", "well?", sender="amy")
    request.reply_by.FromNanoseconds(time.time_ns() + round(in_sec * 1e9))
    return client.call("SendMessage", request, BOUND_SEC).message.id


def next_overdue(stream: Stream) -> str:
    while True:
        event = stream.next()
        if event.WhichOneof("event") == "receipt" and event.receipt.state == pb.DELIVERY_STATE_OVERDUE:
            return event.receipt.message_id


@pytest.mark.parametrize(
    ("process", "shot"), STEPS, ids=[f"{process} {shot.moment} {shot.name}" for process, shot in STEPS]
)
def test_a_crash_around_the_commit_leaves_exactly_one_receipt(process: str, shot: Shot) -> None:
    with short_directory() as directory:
        daemon = daemon_with_fuses(directory, {process: [shot]})
        daemon.start()
        try:
            with connect(daemon.address) as client:
                live = client.live("amy", include_receipts=True)
                first = ask(client, SOON_SEC)
                wait_until(lambda: burnt(daemon), f"{process} has passed: {shot}", BOUND_SEC)
                assert next_overdue(live) == first, "the live stream has it, too"
                second = ask(client, -1)
                assert next_overdue(live) == second, "the first is not repeated"
                live.cancel()
                replay = client.subscribe("amy", include_receipts=True, after_id="0" * 16)
                assert [next_overdue(replay), next_overdue(replay)] == [first, second]
                replay.cancel()
            assert burnt(daemon) == [f"{process}: {shot.moment} {shot.name}"]
            assert daemon.stop() == 0
        finally:
            daemon.kill_everything()
