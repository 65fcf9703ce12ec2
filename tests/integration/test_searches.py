"""A search ends with its caller, and the searches of one client leave room for those of others."""

import string
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, cast

import grpc
import psutil
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.auth.token_file import TokenFile
from support.harness.client import SERVICE, Client, connect, refusal_of
from support.harness.deployment import new_deployment
from support.harness.guarded import NOW_MS, Guarded
from support.harness.storing import StoreHarness, draft
from support.harness.waiting import BOUND_SEC, pause, wait_until

# Each of these messages has every word, and a search for all of them in an absent thread looks at all of the messages:
# that takes more than a second, and on a slow machine is refused after two.
WORDS = " ".join(first + second for first in string.ascii_lowercase[:13] for second in string.ascii_lowercase)[:999]
MESSAGES = 10_000
MESSAGES_AT_ONCE = 1000
CANCELLED_SEARCHES = 3


@pytest.fixture(scope="module")
def searched() -> Generator[Guarded]:
    """A daemon that starts with many messages of bob and one of carol, all of them read and indexed."""
    with new_deployment("--listen", "127.0.0.1:0") as deployment:
        deployment.state_dir.mkdir(mode=0o700, exist_ok=True)
        harness = StoreHarness(deployment.state_dir)
        for _ in range(MESSAGES // MESSAGES_AT_ONCE):
            harness.commit(harness.reading("bob", *harness.send(*[draft("bob", WORDS)] * MESSAGES_AT_ONCE)))
        harness.commit(harness.reading("carol", *harness.send(draft("carol", "needle"))))
        while harness.store.index_more():
            pass
        harness.store.close()
        guarded = Guarded(deployment, TokenFile(deployment.state_dir))
        guarded.texts = {name: guarded.tokens.create(name, NOW_MS, 0)[0] for name in ("bob", "carol")}
        deployment.start()
        yield guarded


def start(client: Client, request: pb.ListMessagesRequest) -> "Future[Any]":
    method = cast("Any", client.channel.unary_unary(SERVICE + "ListMessages"))
    return method.future(request.SerializeToString(), timeout=BOUND_SEC)


LONG_SEARCH = pb.ListMessagesRequest(agent="bob", query=WORDS, thread_id="absent")


def wait_until_working(gateway: psutil.Process) -> None:
    started_sec = work_sec(gateway)
    wait_until(lambda: work_sec(gateway) - started_sec > 0.05, "the search has begun")


def work_until_idle_sec(gateway: psutil.Process) -> float:
    """Returns the processor time that the gateway spends until it rests."""
    started_sec = last_sec = work_sec(gateway)
    while True:
        pause(0.3)
        now_sec = work_sec(gateway)
        if now_sec - last_sec <= 0.02:
            return now_sec - started_sec
        last_sec = now_sec


def work_sec(gateway: psutil.Process) -> float:
    times = gateway.cpu_times()
    return times.user + times.system


def test_a_search_ends_when_its_caller_leaves(searched: Guarded) -> None:
    gateway = psutil.Process(searched.deployment.pid_of("gateway"))
    with connect(searched.tcp, searched.texts["bob"]) as bob:
        started_sec = work_sec(gateway)
        whole_search = start(bob, LONG_SEARCH)
        if whole_search.exception() is None:
            assert pb.ListMessagesResponse.FromString(whole_search.result()) == pb.ListMessagesResponse()
        else:
            assert refusal_of(whole_search.result).reason == "QUERY_TOO_LONG"
        whole_search_sec = work_sec(gateway) - started_sec
        spent_sec = 0.0
        for _ in range(CANCELLED_SEARCHES):
            search = start(bob, LONG_SEARCH)
            wait_until_working(gateway)
            search.cancel()
            spent_sec += work_until_idle_sec(gateway)
    assert spent_sec < whole_search_sec, (spent_sec, whole_search_sec)


def test_the_searches_of_one_client_delay_no_search_of_another(searched: Guarded) -> None:
    with connect(searched.tcp, searched.texts["bob"]) as bob, connect(searched.tcp, searched.texts["carol"]) as carol:
        searches = [start(bob, LONG_SEARCH) for _ in range(4)]
        found = carol.call("ListMessages", pb.ListMessagesRequest(agent="carol", query="needle"))
        ended = [search for search in searches if search.done()]
        assert [message.content for message in found.messages] == ["needle"]
        assert len(ended) <= 1, "bob's searches take turns, and carol's waits for none of them"
        bob.call("CheckInbox", pb.CheckInboxRequest(agent="bob", observe=True))
        assert not all(search.done() for search in searches), "nor do bob's other calls"
        for search in searches:
            search.cancel()
        with pytest.raises(grpc.FutureCancelledError):
            searches[-1].result()
