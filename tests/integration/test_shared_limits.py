"""A client that uses a shared limit as far as it can does not stop another one, with a real daemon."""

from collections.abc import Generator

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import connect, refusal_of, send_request
from support.harness.deployment import Deployment, running_deployment
from support.harness.guarded import guarded_deployment


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment("--max-unread", "40") as running:
        yield running


def test_a_mailbox_that_one_sender_floods_still_accepts_mail_of_another(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    results = deployment.send_many([send_request(agent, "x", sender="eve") for _ in range(60)])
    assert [result.WhichOneof("result") for result in results].count("ok") == 38
    refusal = refusal_of(lambda: deployment.send(agent, "x", sender="eve"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MAILBOX_FULL")
    assert "reserved for other senders" in refusal.sentence
    in_batch = results[-1].error
    assert (in_batch.code, in_batch.reason) == (refusal.code.value[0], refusal.reason)
    assert (in_batch.field, in_batch.message) == (refusal.field, refusal.sentence)
    assert in_batch.retry_delay.ToTimedelta().total_seconds() == refusal.retry_after_sec > 0
    assert deployment.send(agent, "urgent", sender="boss").message.id
    assert deployment.stats(agent).unread == 39


def test_a_restart_gives_a_sender_no_second_share_of_a_mailbox() -> None:
    with running_deployment("--max-unread", "200") as deployment:
        agent = deployment.new_agent()

        def flood(sender: str) -> int:
            results = deployment.send_many([send_request(agent, "x", sender=sender) for _ in range(205)])
            return [result.WhichOneof("result") for result in results].count("ok")

        assert flood("eve") == 190
        deployment.kill_worker("mailbox")
        assert flood("eve") == 0
        assert flood("bob") == 10
        assert deployment.stop() == 0
        deployment.start()
        assert (flood("eve"), flood("bob")) == (0, 0)
        assert deployment.stats(agent).unread == 200


def test_one_agent_makes_a_bounded_number_of_mailboxes_and_others_still_make_theirs() -> None:
    with guarded_deployment("--client-rate", "1000000") as guarded:
        deployment = guarded.deployment
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
        assert deployment.send("newer", "x", sender="bob").message.id, "the owner is not limited"
        assert len(list((deployment.root / "inbox").iterdir())) < 1900
        assert len(deployment.all_stats()) < 1900
