"""A command-queue that dies while it files the mail of a removed directory again: none of it counts as read."""

import json
import os
import shutil
import signal
from collections.abc import Generator
from contextlib import contextmanager
from itertools import product

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.crash_points import AFTER, BEFORE, MOMENTS, Shot
from support.faults.crashing_worker import PLAN
from support.faults.fuses import burnt, daemon_with_fuses
from support.harness.daemon import Daemon, short_directory
from support.harness.waiting import chosen, wait_until

pytestmark = pytest.mark.faults

CALL_SEC = 20.0
AGENT = "abc"
MESSAGES = 30
LOST = ("inbox", f"inbox/{AGENT}")
SHOTS = (("write a file", BEFORE), ("write a file", AFTER), ("file a commit", AFTER))


@contextmanager
def daemon_with_mail() -> Generator[tuple[Daemon, set[str]]]:
    """Yields a stopped daemon with unread mail, which was synced at its stop, and the ids of that mail."""
    with short_directory() as directory:
        daemon = daemon_with_fuses(directory, {})
        try:
            daemon.start()
            ids = {send(daemon, str(number)) for number in range(MESSAGES)}
            assert daemon.stop() == 0
            yield daemon, ids
        except BaseException:
            print(daemon.log()[-4000:])
            raise
        finally:
            daemon.kill_everything()


def send(daemon: Daemon, content: str) -> str:
    with daemon.calls() as calls:
        request = pb.SendMessageRequest(recipient=AGENT, sender="s", content=content, idempotency_key=content)
        return calls.send(request, timeout=CALL_SEC).message.id


def lay_fuses(daemon: Daemon, *shots: Shot) -> None:
    daemon.environment[PLAN] = json.dumps({"command-queue": shots})


def require_unread(daemon: Daemon, ids: set[str]) -> None:
    """All mail is unread, and has its file."""
    directory = daemon.root / "inbox" / AGENT
    wait_until(lambda: {path.stem for path in directory.glob("*.json")} == ids, "every file is there again")
    with daemon.calls() as calls:
        request = pb.CheckInboxRequest(agent=AGENT, observe=True, limit=1000)
        assert {message.id for message in calls.check_inbox(request, timeout=CALL_SEC).messages} == ids
    assert daemon.stop() == 0
    daemon.start()  # what recovery thinks of the files is the same
    with daemon.calls() as calls:
        assert {message.id for message in calls.check_inbox(request, timeout=CALL_SEC).messages} == ids
    assert daemon.stop() == 0


@pytest.mark.parametrize("moment", chosen(MOMENTS, AFTER))
def test_mail_stays_unread_if_recovery_dies_among_the_files_of_a_lost_directory(moment: str) -> None:
    with daemon_with_mail() as (daemon, ids):
        shutil.rmtree(daemon.root / "inbox")
        lay_fuses(daemon, *(Shot("write a file", moment, passing) for passing in (1, 2, MESSAGES // 2)))
        daemon.start()
        wait_until(lambda: len(burnt(daemon)) == 3, "it has died three times")
        require_unread(daemon, ids)


@pytest.mark.parametrize(("what", "shot"), chosen(list(product(LOST, SHOTS)), (LOST[0], SHOTS[1]), (LOST[1], SHOTS[0])))
def test_mail_stays_unread_if_new_mail_makes_a_lost_directory_again(what: str, shot: tuple[str, str]) -> None:
    with daemon_with_mail() as (daemon, ids):
        lay_fuses(daemon, Shot(*shot, 1))
        daemon.start()
        pid = daemon.workers()["command-queue"].pid
        with daemon.calls() as calls:
            os.kill(pid, signal.SIGSTOP)
            request = pb.SendMessageRequest(recipient=AGENT, sender="s", content="new", idempotency_key="new")
            sending = calls.start_send(request, timeout=CALL_SEC)
            shutil.rmtree(daemon.root / what)
            os.kill(pid, signal.SIGCONT)
            ids.add(sending.result().message.id)
        assert len(burnt(daemon)) == 1
        require_unread(daemon, ids)
