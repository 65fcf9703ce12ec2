"""ListMessages and GetMailboxStats of a real daemon."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import connect, refusal_of
from support.harness.room import Room, running_room
from support.harness.waiting import wait_until


@pytest.fixture(scope="module")
def room() -> Generator[Room]:
    with running_room() as room:
        yield room


@pytest.fixture(scope="module")
def small_room() -> Generator[Room]:
    with running_room("--table-size", "8MiB") as room:
        yield room


def ids_of(answer: pb.CheckInboxResponse | pb.ListMessagesResponse) -> list[str]:
    return [message.id for message in answer.messages]


def send_some(room: Room, agent: str, count: int) -> list[str]:
    return [room.send(agent, f"mail {index}").message.id for index in range(count)]


# -- ListMessages -----------------------------------------------------------------------------------------------------


def all_pages(room: Room, agent: str, *, between: bool = False, **fields: Any) -> list[list[str]]:
    pages: list[list[str]] = []
    token = ""
    while token or not pages:
        page = room.page(agent, page_token=token, **fields)
        pages.append(ids_of(page))
        token = page.next_page_token
        if between:
            room.send(agent, "arrives between two pages")
    return pages


def test_pages_are_newest_first_and_stable_while_mail_arrives(room: Room) -> None:
    agent = room.new_agent()
    ids = room.fill(agent, 25)
    pages = all_pages(room, agent, between=True, page_size=10)
    assert pages == [ids[:14:-1], ids[14:4:-1], ids[4::-1]]
    assert room.stats(agent).total == 28


def test_the_last_page_has_no_token(room: Room) -> None:
    agent = room.new_agent()
    ids = room.fill(agent, 20)
    assert all_pages(room, agent, page_size=10) == [ids[:9:-1], ids[9::-1]]
    assert all_pages(room, room.new_agent()) == [[]]


def test_the_default_page_size_is_fifty_and_the_maximum_a_thousand(room: Room) -> None:
    agent = room.new_agent()
    room.fill(agent, 1010)
    assert [len(page) for page in all_pages(room, agent)][:2] == [50, 50]
    assert [len(page) for page in all_pages(room, agent, page_size=1_000_000)] == [1000, 10]


def test_read_messages_are_listed_unless_unread_only_is_set(room: Room) -> None:
    agent = room.new_agent()
    ids = room.fill(agent, 10)
    room.acknowledge(agent, ids[::2])
    assert [message.read for message in room.listed(agent)] == [False, True] * 5
    assert all_pages(room, agent, unread_only=True, page_size=2) == [ids[9:5:-2], ids[5:1:-2], ids[1:2]]


def test_a_list_can_be_limited_to_one_thread(room: Room) -> None:
    agent = room.new_agent()
    ids = [room.send(agent, "x", thread_id=f"t{index % 3}").message.id for index in range(9)]
    assert all_pages(room, agent, thread_id="t1", page_size=2) == [[ids[7], ids[4]], [ids[1]]]
    room.acknowledge(agent, [ids[4]])
    assert all_pages(room, agent, thread_id="t1", unread_only=True) == [[ids[7], ids[1]]]
    assert all_pages(room, agent, thread_id="none") == [[]]


def test_evicted_messages_are_listed(small_room: Room) -> None:
    room, agent = small_room, small_room.new_agent()
    ids = room.fill(agent, 45, "x" * 300_000)
    pages = all_pages(room, agent)
    assert [message_id for page in pages for message_id in page] == ids[::-1]
    assert all(len(page) <= 10 for page in pages)


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"agent": "a/b"}, "AGENT_INVALID", "agent"),
        ({"agent": "a", "page_size": -1}, "LIMIT_INVALID", "page_size"),
        ({"agent": "a", "page_token": "next"}, "PAGE_TOKEN_INVALID", "page_token"),
    ],
)
def test_an_invalid_list_request_is_refused(room: Room, fields: dict[str, Any], reason: str, field: str) -> None:
    refusal = refusal_of(lambda: room.page(**fields))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert (refusal.field, refusal.domain) == (field, "mailroom")


# -- GetMailboxStats --------------------------------------------------------------------------------------------------


def test_the_counts_of_one_mailbox_and_of_all_agree(room: Room) -> None:
    agent = room.new_agent()
    ids = room.fill(agent, 7)
    room.acknowledge(agent, ids[:3])
    stats = room.stats(agent)
    assert (stats.agent_id, stats.total, stats.unread, stats.subscribers) == (agent, 7, 4, 0)
    everyone = room.all_stats()
    assert (everyone[agent].total, everyone[agent].unread) == (7, 4)
    names = [row.agent_id for row in room.call("GetMailboxStats", pb.GetMailboxStatsRequest()).mailboxes]
    assert names == sorted(set(names))


def test_an_unknown_mailbox_has_zero_counts_and_is_not_created(room: Room) -> None:
    agent = room.new_agent()
    stats = room.stats(agent)
    assert (stats.agent_id, stats.total, stats.unread, stats.oldest_unread_age_sec) == (agent, 0, 0, 0)
    assert not stats.HasField("last_seen")
    assert agent not in room.all_stats()
    assert refusal_of(lambda: room.stats("../x")).reason == "AGENT_INVALID"


def test_the_age_of_the_oldest_unread_message_grows_and_falls_to_zero(room: Room) -> None:
    agent = room.new_agent()
    first = send_some(room, agent, 1)
    assert room.stats(agent).oldest_unread_age_sec == 0
    wait_until(lambda: room.stats(agent).oldest_unread_age_sec == 1, "a second has passed", 3)
    second = send_some(room, agent, 1)
    assert room.stats(agent).oldest_unread_age_sec >= 1
    room.acknowledge(agent, first)
    assert room.stats(agent).oldest_unread_age_sec == 0
    room.acknowledge(agent, second)
    assert room.stats(agent).unread == 0
    assert room.stats(agent).oldest_unread_age_sec == 0


def test_counts_are_right_after_concurrent_sends_and_reads(room: Room) -> None:
    agent = room.new_agent()

    def work(index: int) -> int:
        with connect(room.target) as client:
            ids = [client.send(agent, "x", sender=f"s{index}").message.id for _ in range(40)]
            return len(client.acknowledge(agent, ids[:: index + 1]).acknowledged_ids)

    with ThreadPoolExecutor(4) as threads:
        read = sum(threads.map(work, range(4)))
    stats = room.stats(agent)
    assert (stats.total, stats.unread) == (160, 160 - read)
    unread = ids_of(room.check(agent, limit=1000))
    assert len(unread) == stats.unread
    wait_until(lambda: room.filed(agent) == unread, "the files agree")
