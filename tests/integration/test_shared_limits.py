"""A client that uses a shared limit as far as it can does not stop another one, with a real daemon."""

from collections.abc import Generator

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import connect, refusal_of, send_request
from support.harness.guarded import guarded_room
from support.harness.room import Room, running_room


@pytest.fixture(scope="module")
def room() -> Generator[Room]:
    with running_room("--max-unread", "40") as running:
        yield running


def test_a_mailbox_that_one_sender_floods_still_accepts_mail_of_another(room: Room) -> None:
    agent = room.new_agent()
    results = room.send_many([send_request(agent, "x", sender="eve") for _ in range(60)])
    assert [result.WhichOneof("result") for result in results].count("ok") == 38
    refusal = refusal_of(lambda: room.send(agent, "x", sender="eve"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MAILBOX_FULL")
    assert "reserved for other senders" in refusal.sentence
    assert room.send(agent, "urgent", sender="boss").message.id
    assert room.stats(agent).unread == 39


def test_a_restart_gives_a_sender_no_second_share_of_a_mailbox() -> None:
    with running_room("--max-unread", "200") as room:
        agent = room.new_agent()

        def flood(sender: str) -> int:
            results = room.send_many([send_request(agent, "x", sender=sender) for _ in range(205)])
            return [result.WhichOneof("result") for result in results].count("ok")

        assert flood("eve") == 190
        room.kill_worker("mailbox")
        assert flood("eve") == 0
        assert flood("bob") == 10
        assert room.stop() == 0
        room.start()
        assert (flood("eve"), flood("bob")) == (0, 0)
        assert room.stats(agent).unread == 200


def test_one_agent_makes_a_bounded_number_of_mailboxes_and_others_still_make_theirs() -> None:
    with guarded_room("--client-rate", "1000000") as guarded:
        room = guarded.room
        with connect(guarded.tcp, guarded.texts["bob"]) as bob, connect(guarded.tcp, guarded.texts["carol"]) as carol:
            results: list[pb.SendResult] = []
            for batch in range(4):
                names = [f"made-up-{batch}-{number}" for number in range(500)]
                results += bob.send_many([send_request(name, "x", sender="bob") for name in names])
            made = [result.WhichOneof("result") for result in results].count("ok")
            assert 1000 <= made < 1900, "a thousand, and one for each second that this has taken"
            refusal = refusal_of(lambda: [bob.send(f"m{n}", "x", sender="bob") for n in range(1000)])
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
            assert 0 < refusal.retry_after_sec <= 2
            assert "no mailbox yet" in refusal.sentence
            assert carol.send("new", "x", sender="carol").message.id
            assert bob.send("carol", "x", sender="bob").message.id, "she has a mailbox since she made a call"
        assert room.send("newer", "x", sender="bob").message.id, "the owner is not limited"
        assert len(list((room.root / "inbox").iterdir())) < 1900
        assert len(room.all_stats()) < 1900
