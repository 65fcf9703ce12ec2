"""BroadcastMessage and SendMessages of a real daemon: order, limits, idempotency, partial failures."""

from collections.abc import Generator

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import Refusal, refusal_of, send_request
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import pause, wait_until


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment() as deployment:
        yield deployment


def is_invalid(refusal: Refusal, reason: str, field: str) -> bool:
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, refusal
    assert (refusal.reason, refusal.domain, refusal.field) == (reason, "mailroom", field), refusal
    assert len(refusal.sentence) > 10, refusal
    return True


# -- broadcast --------------------------------------------------------------------------------------------------------


def test_a_broadcast_returns_independent_copies_in_recipient_order(deployment: Deployment) -> None:
    agents = [deployment.new_agent() for _ in range(20)]
    results = deployment.broadcast(agents, send_request("", "all", metadata={"a": 1}, type="news"))
    assert [result.ok.message.recipient for result in results] == agents
    assert len({result.ok.message.id for result in results}) == 20
    for agent, result in zip(agents, results, strict=True):
        assert result.ok.message.content == ""
        assert not result.ok.message.HasField("metadata")
        (stored,) = deployment.listed(agent)
        assert (stored.id, stored.content, stored.type) == (result.ok.message.id, "all", "news")
        assert deployment.file(agent, stored.id)["metadata"] == {"a": 1}
    deployment.acknowledge(agents[0], [results[0].ok.message.id])
    assert [deployment.stats(agent).unread for agent in agents] == [0] + [1] * 19


def test_an_invalid_recipient_of_a_broadcast_stops_no_other_copy(deployment: Deployment) -> None:
    good = [deployment.new_agent(), deployment.new_agent()]
    results = deployment.broadcast([good[0], "../../x", "", good[1]], send_request("", "x"))
    assert [result.WhichOneof("result") for result in results] == ["ok", "error", "error", "ok"]
    for result in results[1:3]:
        assert result.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert (result.error.reason, result.error.field) == ("RECIPIENT_INVALID", "recipient")
        assert result.error.message
        assert not result.error.HasField("retry_delay")
    assert "missing" in results[2].error.message
    assert [deployment.stats(agent).unread for agent in good] == [1, 1]


def test_a_broadcast_without_recipients_returns_no_results(deployment: Deployment) -> None:
    before = deployment.everything_written()
    assert deployment.broadcast([], send_request("", "x")) == []
    assert deployment.everything_written() == before


def test_a_broadcast_of_an_invalid_message_fails_for_every_recipient(deployment: Deployment) -> None:
    before = deployment.everything_written()
    results = deployment.broadcast(["a", "b"], send_request("", "x", sender=""))
    assert [result.error.reason for result in results] == ["SENDER_INVALID"] * 2
    assert deployment.everything_written() == before


def test_a_broadcast_whose_message_names_a_recipient_is_refused(deployment: Deployment) -> None:
    before = deployment.everything_written()
    refusal = refusal_of(lambda: deployment.broadcast(["a"], send_request("b", "x")))
    assert is_invalid(refusal, "OPTIONS_CONFLICT", "message.recipient")
    assert deployment.everything_written() == before


def test_a_broadcast_may_have_a_thousand_recipients_but_not_more(deployment: Deployment) -> None:
    agents = [f"crowd-{index}" for index in range(1001)]
    results = deployment.broadcast(agents[:1000], send_request("", "x"))
    assert [result.ok.message.recipient for result in results] == agents[:1000]
    before = deployment.everything_written()
    refusal = refusal_of(lambda: deployment.broadcast(agents, send_request("", "x")))
    assert is_invalid(refusal, "TOO_MANY", "recipients")
    assert deployment.everything_written() == before


def test_a_repeated_broadcast_with_a_key_stores_nothing_twice(deployment: Deployment) -> None:
    agents = [deployment.new_agent() for _ in range(5)]
    message = send_request("", "x", sender=agents[0], idempotency_key="k" * 128)
    first = deployment.broadcast(agents[:3], message)
    again = deployment.broadcast(agents[::-1], message)
    ids = {result.ok.message.recipient: result.ok.message.id for result in first}
    assert {answer.ok.message.recipient: answer.ok.message.id for answer in again}.items() >= ids.items()
    assert [deployment.stats(agent).total for agent in agents] == [1] * 5
    single = deployment.send(agents[0], "x", sender=agents[0], idempotency_key="k" * 128)
    assert single.message.id not in ids.values()


def test_a_recipient_named_twice_gets_two_copies_once_for_each_key(deployment: Deployment) -> None:
    agent, other = deployment.new_agent(), deployment.new_agent()
    two = deployment.broadcast([agent, agent], send_request("", "x"))
    assert len({result.ok.message.id for result in two}) == 2
    keyed = send_request("", "x", idempotency_key="twice", sender=other)
    first, again = (
        [result.ok.message.id for result in deployment.broadcast([other, agent, other], keyed)] for _ in range(2)
    )
    assert first == again
    assert len(set(first)) == 3
    assert deployment.stats(other).total == 2


# -- bulk -------------------------------------------------------------------------------------------------------------


def test_a_bulk_send_returns_results_in_the_order_of_its_requests(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    requests = [send_request(agent, str(index)) for index in range(10)]
    requests[3].recipient = "../x"
    requests[7].sender = ""
    results = deployment.send_many(requests)
    kinds = [result.error.reason or result.WhichOneof("result") for result in results]
    assert kinds == ["ok"] * 3 + ["RECIPIENT_INVALID"] + ["ok"] * 3 + ["SENDER_INVALID"] + ["ok"] * 2
    sent = [result.ok.message for result in results if result.HasField("ok")]
    assert all(message.content == "" and not message.HasField("metadata") for message in sent)
    assert [message.content for message in deployment.check(agent).messages] == ["0", "1", "2", "4", "5", "6", "8", "9"]
    assert [message.id for message in sent] == deployment.filed(agent)


def test_a_bulk_stream_accepts_many_batches_of_a_thousand_messages(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 1501)
    assert len(set(ids)) == 1501
    assert ids == sorted(ids)
    assert deployment.stats(agent).unread == 1501
    assert deployment.filed(agent) == ids


def test_the_next_batch_of_a_stream_is_on_its_way_while_one_is_stored() -> None:
    with running_deployment("--stuck-after", "60") as deployment:
        agent = deployment.new_agent()
        batches = [
            pb.SendMessagesRequest(messages=[send_request(agent, f"{batch}{place}") for place in range(10)])
            for batch in range(3)
        ]
        with deployment.stopped(deployment.pid_of("command-queue")):
            answers = deployment.call("SendMessages", iter(batches))
            wait_until(lambda: deployment.metric("mailroom_calls_waiting") == 20, "two batches wait")
            pause(0.5)
            assert deployment.metric("mailroom_calls_waiting") == 20, "and not the third"
        sent = [result.ok.message.id for answer in answers for result in answer.results]
        assert sent == sorted(sent)
        assert [message.content for message in deployment.check(agent).messages] == [
            request.content for batch in batches for request in batch.messages
        ]
        assert deployment.filed(agent) == sent


def test_an_oversized_batch_ends_the_stream_but_keeps_answered_batches(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    small = pb.SendMessagesRequest(messages=[send_request(agent, "x")])
    large = pb.SendMessagesRequest(messages=[send_request(agent, "x")] * 1001)
    answers = deployment.call("SendMessages", iter([small, large]))
    assert next(answers).results[0].HasField("ok")
    assert is_invalid(refusal_of(lambda: next(answers)), "TOO_MANY", "messages")
    assert deployment.stats(agent).total == 1


def test_an_empty_batch_and_an_empty_stream_succeed(deployment: Deployment) -> None:
    assert [len(answer.results) for answer in deployment.call("SendMessages", iter([pb.SendMessagesRequest()]))] == [0]
    assert list(deployment.call("SendMessages", iter(()))) == []
