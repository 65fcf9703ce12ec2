"""A mailbox with a million messages, and a hundred thousand mailboxes: the daemon starts, answers, and stays small.

The stores are filled through the storage layer by benchmarks/stores.py, which keeps the large store below /var/tmp.
`make faults` uses these sizes, `make test` a fiftieth of them.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.footprint import footprint
from support.harness.deployment import Deployment, new_deployment
from support.harness.waiting import is_campaign

from benchmarks.stores import Mail, prepare

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

PART = 1 if is_campaign() else 50
MESSAGES = 1_000_000 // PART
MAILBOXES = 100_000 // PART
UNREAD = 1000
START_BOUND_SEC = 120  # 6 s with a warm cache; with a cold one, and beside another campaign, 25 s were too few
GROWN_BYTES = 200 << 20  # of all processes, over those of an empty daemon


@contextmanager
def deployment_with(mail: Mail) -> Generator[Deployment]:
    """Yields a started daemon with this mail; its memory afterwards is bounded by that of an empty one."""
    with new_deployment() as empty:
        empty.start()
        empty.send("abc")
        small = footprint(empty.family())
    data = prepare(mail)
    with new_deployment() as deployment:
        deployment.root, deployment.state_dir = (
            data / "root",
            data / "state",
        )  # under another path it would write every file again
        deployment.daemon.start_bound_sec = START_BOUND_SEC
        begun = time.monotonic()
        deployment.start()
        print(f"started in {time.monotonic() - begun:.1f} s")
        yield deployment
        large = footprint(deployment.family())
        print(f"empty: {small}; with {mail}: {large}")
        assert large.memory_bytes - small.memory_bytes < GROWN_BYTES
        assert {worker.name: worker.restarts for worker in deployment.status().workers if worker.restarts} == {}
        assert deployment.stop() == 0


def test_a_mailbox_with_a_million_messages_is_read_listed_and_written_like_any_other() -> None:
    with deployment_with(Mail("abc", read=MESSAGES, unread=UNREAD)) as deployment:
        assert (deployment.stats("abc").total, deployment.stats("abc").unread) == (MESSAGES + UNREAD, UNREAD)
        unread = [message.id for message in deployment.check("abc", limit=1000).messages]
        assert len(unread) == UNREAD
        assert unread == deployment.filed("abc")
        seen = 0
        token = ""
        for _ in range(20):  # beyond what the table holds
            page = deployment.page("abc", page_size=1000, page_token=token)
            seen, token = seen + len(page.messages), page.next_page_token
        assert seen == min(20_000, MESSAGES + UNREAD)
        stream = deployment.subscribe("abc", include_unread=True)
        assert [message.id for message in stream.until_caught_up()[0]] == unread
        sent = deployment.send("abc", "the latest").message.id
        assert [message.id for message in stream.messages(1)] == [sent]
        stream.cancel()
        deployment.acknowledge("abc", unread)
        assert deployment.stats("abc").unread == 1


def test_a_hundred_thousand_mailboxes_are_counted_listed_and_written_to() -> None:
    with deployment_with(Mail("many", unread=MAILBOXES, mailboxes=MAILBOXES)) as deployment:
        counted: dict[str, int] = {}
        token = ""
        while not counted or token:
            answer = deployment.call("GetMailboxStats", pb.GetMailboxStatsRequest(page_token=token))
            counted |= {mailbox.agent_id: mailbox.unread for mailbox in answer.mailboxes}
            token = answer.next_page_token
        assert len(counted) == MAILBOXES
        assert set(counted.values()) == {1}
        for number in range(0, MAILBOXES, MAILBOXES // 50):
            first = deployment.check(f"many-{number}").messages[0].id
            assert deployment.send(f"many-{number}").message.id > first
            assert len(deployment.filed(f"many-{number}")) == 2
        for number in range(3000 // PART):  # mailboxes of visitors displace no other
            deployment.check(f"passer-by-{number}")
        assert all(deployment.stats(f"many-{number}").unread >= 1 for number in range(0, MAILBOXES, MAILBOXES // 50))
