"""Deletions whose outcome died with the command-queue: no deleted message is shown to anyone."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.crash_points import BEFORE, Shot
from support.faults.fuses import burnt, daemon_with_fuses
from support.harness.contract import BlockingStubs
from support.harness.daemon import Daemon, short_directory
from support.harness.waiting import wait_until

pytestmark = pytest.mark.faults

CALL_SEC = 20.0


@contextmanager
def dying(shot: Shot, *flags: str) -> Generator[tuple[Daemon, BlockingStubs]]:
    """Yields a daemon whose command-queue dies once."""
    with short_directory() as directory:
        daemon = daemon_with_fuses(directory, {"command-queue": [shot]}, flags)
        try:
            daemon.start()
            with daemon.calls() as calls:
                yield daemon, calls
            assert burnt(daemon) == [f"command-queue: {shot.moment} {shot.name}"]
            assert daemon.stop() == 0
        except BaseException:
            print(daemon.log()[-4000:])
            raise
        finally:
            daemon.kill_everything()


def send(calls: BlockingStubs, recipient: str, count: int) -> list[str]:
    requests = [pb.SendMessageRequest(recipient=recipient, sender="s", content=str(index)) for index in range(count)]
    return [calls.send(request, timeout=CALL_SEC).message.id for request in requests]


def counts(calls: BlockingStubs, agent: str) -> tuple[int, int]:
    found = calls.stats(pb.GetMailboxStatsRequest(agent=agent), timeout=CALL_SEC).mailboxes
    return (found[0].total, found[0].unread) if found else (0, 0)


def test_cleared_mail_stays_gone_if_the_command_queue_dies_before_it_reports() -> None:
    with dying(Shot("forget cleared files", BEFORE, 1)) as (_, calls):
        send(calls, "abc", 5)
        send(calls, "other", 1)
        calls.clear(pb.ClearMailboxRequest(agent="abc"), timeout=CALL_SEC)
        unread = calls.check_inbox(pb.CheckInboxRequest(agent="abc", observe=True), timeout=CALL_SEC).messages
        assert [message.content for message in unread] == []
        assert counts(calls, "abc") == (0, 0)
        assert counts(calls, "other") == (1, 1)


def test_swept_mail_is_subtracted_if_the_command_queue_dies_before_it_reports() -> None:
    with dying(Shot("forget old keys", BEFORE, 2), "--keep-read", "0.2s", "--sweep-every", "0.5s") as (daemon, calls):
        ids = send(calls, "abc", 3)
        calls.acknowledge(pb.AcknowledgeMessagesRequest(agent="abc", message_ids=ids[:2]), timeout=CALL_SEC)
        wait_until(lambda: burnt(daemon), "the command-queue has died behind a sweep")
        wait_until(lambda: counts(calls, "abc") == (1, 1), "what was swept is counted off")
