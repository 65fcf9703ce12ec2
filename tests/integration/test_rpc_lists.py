"""ListMessages and GetMailboxStats of a real daemon."""

import json
import sqlite3
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC
from typing import Any

import grpc
import pytest
from mailroom import Mailroom
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import connect, refusal_of
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import wait_until


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment() as deployment:
        yield deployment


@pytest.fixture(scope="module")
def small_deployment() -> Generator[Deployment]:
    with running_deployment("--table-size", "8MiB") as deployment:
        yield deployment


def ids_of(answer: pb.CheckInboxResponse | pb.ListMessagesResponse) -> list[str]:
    return [message.id for message in answer.messages]


def send_some(deployment: Deployment, agent: str, count: int) -> list[str]:
    return [deployment.send(agent, f"mail {index}").message.id for index in range(count)]


# -- ListMessages -----------------------------------------------------------------------------------------------------


def all_pages(deployment: Deployment, agent: str, *, between: bool = False, **fields: Any) -> list[list[str]]:
    pages: list[list[str]] = []
    token = ""
    while token or not pages:
        page = deployment.page(agent, page_token=token, **fields)
        pages.append(ids_of(page))
        token = page.next_page_token
        if between:
            deployment.send(agent, "arrives between two pages")
    return pages


def test_pages_are_newest_first_and_stable_while_mail_arrives(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 25)
    pages = all_pages(deployment, agent, between=True, page_size=10)
    assert pages == [ids[:14:-1], ids[14:4:-1], ids[4::-1]]
    assert deployment.stats(agent).total == 28


def test_the_last_page_has_no_token(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 20)
    assert all_pages(deployment, agent, page_size=10) == [ids[:9:-1], ids[9::-1]]
    assert all_pages(deployment, deployment.new_agent()) == [[]]


def test_the_default_page_size_is_fifty_and_the_maximum_a_thousand(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    deployment.fill(agent, 1010)
    assert [len(page) for page in all_pages(deployment, agent)][:2] == [50, 50]
    assert [len(page) for page in all_pages(deployment, agent, page_size=1_000_000)] == [1000, 10]


def test_read_messages_are_listed_unless_unread_only_is_set(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 10)
    deployment.acknowledge(agent, ids[::2])
    assert [message.read for message in deployment.listed(agent)] == [False, True] * 5
    assert all_pages(deployment, agent, unread_only=True, page_size=2) == [ids[9:5:-2], ids[5:1:-2], ids[1:2]]


def test_a_list_can_be_limited_to_one_thread(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = [deployment.send(agent, "x", thread_id=f"t{index % 3}").message.id for index in range(9)]
    assert all_pages(deployment, agent, thread_id="t1", page_size=2) == [[ids[7], ids[4]], [ids[1]]]
    deployment.acknowledge(agent, [ids[4]])
    assert all_pages(deployment, agent, thread_id="t1", unread_only=True) == [[ids[7], ids[1]]]
    assert all_pages(deployment, agent, thread_id="none") == [[]]


def test_a_list_can_be_limited_to_a_sender_and_to_states(deployment: Deployment) -> None:
    agent, senders = deployment.new_agent(), [deployment.new_agent() for _ in range(2)]
    ids = [deployment.send(agent, "x", sender=senders[index % 2]).message.id for index in range(8)]
    assert all_pages(deployment, agent, sender=senders[1], page_size=3) == [[ids[7], ids[5], ids[3]], [ids[1]]]
    assert all_pages(deployment, "", sender=senders[0]) == [ids[6::-2]]
    deployment.acknowledge(agent, ids[:2])
    deployment.mark_offered(agent, ids[2:4])
    read, offered, filed = pb.DELIVERY_STATE_READ, pb.DELIVERY_STATE_OFFERED, pb.DELIVERY_STATE_FILED
    assert all_pages(deployment, agent, states=[read]) == [ids[1::-1]]
    assert all_pages(deployment, agent, states=[filed], page_size=3) == [ids[:4:-1], [ids[4]]]
    assert all_pages(deployment, agent, states=[read, filed], sender=senders[0]) == [[ids[6], ids[4], ids[0]]]
    wait_until(lambda: all_pages(deployment, agent, states=[offered]) == [ids[3:1:-1]], "the database has the states")
    assert all_pages(deployment, agent, states=[pb.DELIVERY_STATE_OVERDUE]) == [[]], "no message is ever in it"


def test_a_preview_ends_with_a_character_and_says_how_large_the_whole_is(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    deployment.send(agent, "\u00e4" * 10, metadata={"a": 1})
    deployment.send(agent, "short", metadata={"a": 1})
    short, cut = deployment.listed(agent, preview_bytes=5)
    assert (cut.content, cut.content_size, cut.HasField("metadata")) == ("\u00e4" * 2, 20, False)
    assert (short.content, short.content_size, short.HasField("metadata")) == ("short", 0, False)
    assert [message.content_size for message in deployment.listed(agent)] == [0, 0]
    assert deployment.get(cut.id).message.content == "\u00e4" * 10


def test_evicted_messages_are_listed(small_deployment: Deployment) -> None:
    deployment, agent = small_deployment, small_deployment.new_agent()
    ids = deployment.fill(agent, 45, "x" * 300_000)
    pages = all_pages(deployment, agent)
    assert [message_id for page in pages for message_id in page] == ids[::-1]
    assert all(len(page) <= 10 for page in pages)


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"agent": "a/b"}, "AGENT_INVALID", "agent"),
        ({"agent": "a", "page_size": -1}, "LIMIT_INVALID", "page_size"),
        ({"agent": "a", "page_token": "next"}, "PAGE_TOKEN_INVALID", "page_token"),
        ({"agent": "a", "sender": "a/b"}, "SENDER_INVALID", "sender"),
        ({"agent": "a", "preview_bytes": -1}, "LIMIT_INVALID", "preview_bytes"),
    ],
)
def test_an_invalid_list_request_is_refused(
    deployment: Deployment, fields: dict[str, Any], reason: str, field: str
) -> None:
    refusal = refusal_of(lambda: deployment.page(**fields))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert (refusal.field, refusal.domain) == (field, "mailroom")


# -- GetTraffic -------------------------------------------------------------------------------------------------------


def test_traffic_counts_who_sent_how_much_to_whom(deployment: Deployment) -> None:
    ana, bob = deployment.new_agent(), deployment.new_agent()
    for _ in range(3):
        deployment.send(ana, "x", sender=bob)
    deployment.send(bob, "x", sender=ana)
    answer = deployment.traffic()
    counts = {(pair.sender, pair.recipient): pair.messages for pair in answer.pairs}
    assert (counts[bob, ana], counts[ana, bob]) == (3, 1)
    assert answer.messages == sum(counts.values())
    assert [pair.messages for pair in answer.pairs] == sorted(counts.values(), reverse=True)
    since_sec = time.time() - answer.since.ToDatetime(tzinfo=UTC).timestamp()
    assert 3599 < since_sec < 3700
    deployment.call("ClearMailbox", pb.ClearMailboxRequest(agent=ana))
    assert (bob, ana) not in {(pair.sender, pair.recipient) for pair in deployment.traffic(3600.0).pairs}


def test_the_log_says_who_cleared_a_mailbox(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    for _ in range(2):
        deployment.send(agent, "x")
    deployment.call("ClearMailbox", pb.ClearMailboxRequest(agent=agent, by="ops"))

    def lines() -> list[dict[str, Any]]:
        entries = map(json.loads, deployment.log().rpartition("\n")[0].splitlines())
        return [entry for entry in entries if entry.get("mailbox") == agent]

    wait_until(lambda: len(lines()) == 2, "the log has two lines about it")
    found = [(line["event"], line["by"], line.get("deleted")) for line in lines()]
    assert found == [("clearing mailbox", "ops", None), ("mailbox cleared", "ops", 2)]
    assert not deployment.stats(agent).HasField("last_seen"), "somebody else's doing does not show that it is there"
    invalid = pb.ClearMailboxRequest(agent=agent, by="a/b")
    refusal = refusal_of(lambda: deployment.call("ClearMailbox", invalid))
    assert (refusal.reason, refusal.field) == ("AGENT_INVALID", "by")


@pytest.mark.parametrize("period_sec", [0.0, -1.0, 4e8])
def test_traffic_of_an_invalid_period_is_refused(deployment: Deployment, period_sec: float) -> None:
    refusal = refusal_of(lambda: deployment.traffic(period_sec))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_INVALID")
    assert refusal.field == "period"


# -- GetMailboxStats --------------------------------------------------------------------------------------------------


def test_the_counts_of_one_mailbox_and_of_all_agree(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 7)
    deployment.acknowledge(agent, ids[:3])
    stats = deployment.stats(agent)
    assert (stats.agent_id, stats.total, stats.unread, stats.subscribers) == (agent, 7, 4, 0)
    everyone = deployment.all_stats()
    assert (everyone[agent].total, everyone[agent].unread) == (7, 4)
    names = [row.agent_id for row in deployment.call("GetMailboxStats", pb.GetMailboxStatsRequest()).mailboxes]
    assert names == sorted(set(names))


def test_an_unknown_mailbox_has_zero_counts_and_is_not_created(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    stats = deployment.stats(agent)
    assert (stats.agent_id, stats.total, stats.unread, stats.oldest_unread_age_sec) == (agent, 0, 0, 0)
    assert not stats.HasField("last_seen")
    assert agent not in deployment.all_stats()
    assert refusal_of(lambda: deployment.stats("../x")).reason == "AGENT_INVALID"


def test_the_age_of_the_oldest_unread_message_grows_and_falls_to_zero(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    first = send_some(deployment, agent, 1)
    assert deployment.stats(agent).oldest_unread_age_sec == 0
    wait_until(lambda: deployment.stats(agent).oldest_unread_age_sec == 1, "a second has passed", 3)
    second = send_some(deployment, agent, 1)
    assert deployment.stats(agent).oldest_unread_age_sec >= 1
    deployment.acknowledge(agent, first)
    assert deployment.stats(agent).oldest_unread_age_sec == 0
    deployment.acknowledge(agent, second)
    assert deployment.stats(agent).unread == 0
    assert deployment.stats(agent).oldest_unread_age_sec == 0


def test_queue_statistics_come_in_pages_that_the_sdk_follows(deployment: Deployment) -> None:
    agents = sorted(deployment.new_agent() for _ in range(5))
    for agent in agents:
        message = deployment.send(agent).message.id
        wait_until(lambda agent=agent, message=message: deployment.filed(agent) == [message], "the file is there")
    found: list[str] = []
    token = ""
    while True:
        request = pb.GetQueueStatsRequest(page_size=2, page_token=token)
        page = deployment.call("GetQueueStats", request)
        assert 1 <= len(page.queues) <= 2
        found += [queue.session_id for queue in page.queues]
        token = page.next_page_token
        if not token:
            break
    assert found == sorted(set(found))
    assert set(agents) <= set(found)
    refusal = refusal_of(lambda: deployment.call("GetQueueStats", pb.GetQueueStatsRequest(page_token="no name")))
    assert refusal.reason == "PAGE_TOKEN_INVALID"
    with Mailroom(deployment.target) as client:
        assert [queue.session_id for queue in client.queue_stats()] == found


def test_the_age_of_waiting_mail_survives_a_clock_that_was_ahead() -> None:
    with running_deployment() as deployment:
        deployment.send("bob")
        deployment.stop()
        with closing(sqlite3.connect(deployment.state_dir / "mailroom.db")) as connection:
            ahead_ms = (int(time.time()) + 86_400) * 1000
            connection.execute("UPDATE meta SET value = ? WHERE name = 'last_id'", (ahead_ms << 20,))
            connection.commit()
        deployment.start()
        sent = deployment.send("amy").message.id
        assert int(sent, 16) >> 20 > ahead_ms - 1000
        request = pb.GetQueueStatsRequest(session_id="amy")
        wait_until(lambda: deployment.stats("amy").oldest_unread_age_sec >= 1, "its message has an age")
        wait_until(lambda: deployment.call("GetQueueStats", request).queues[0].oldest_age_sec >= 1, "its file, too")


def test_counts_are_right_after_concurrent_sends_and_reads(deployment: Deployment) -> None:
    agent = deployment.new_agent()

    def work(index: int) -> int:
        with connect(deployment.target) as client:
            ids = [client.send(agent, "x", sender=f"s{index}").message.id for _ in range(40)]
            return len(client.acknowledge(agent, ids[:: index + 1]).acknowledged_ids)

    with ThreadPoolExecutor(4) as threads:
        read = sum(threads.map(work, range(4)))
    stats = deployment.stats(agent)
    assert (stats.total, stats.unread) == (160, 160 - read)
    unread = ids_of(deployment.check(agent, limit=1000))
    assert len(unread) == stats.unread
    wait_until(lambda: deployment.filed(agent) == unread, "the files agree")
