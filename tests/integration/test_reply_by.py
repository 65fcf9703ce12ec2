"""`reply_by` of a real daemon: the sender gets an answer, or one receipt OVERDUE."""

import time
from collections.abc import Generator

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import Stream, refusal_of, send_request
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import wait_until

FILED, OVERDUE, READ = pb.DELIVERY_STATE_FILED, pb.DELIVERY_STATE_OVERDUE, pb.DELIVERY_STATE_READ
SOON_SEC = 1.5  # long enough to answer in time
BEGINNING = "0" * 16


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment() as deployment:
        yield deployment


def ask(deployment: Deployment, recipient: str, sender: str, in_sec: float, key: str = "") -> pb.Message:
    request = send_request(recipient, "well?", sender=sender, idempotency_key=key)
    request.reply_by.FromNanoseconds(time.time_ns() + round(in_sec * 1e9))
    return deployment.call("SendMessage", request).message


def overdue(stream: Stream) -> str:
    """Returns the message of the next receipt OVERDUE."""
    while True:
        event = stream.next()
        if event.WhichOneof("event") == "receipt" and event.receipt.state == OVERDUE:
            return event.receipt.message_id


def test_a_sender_without_an_answer_gets_one_receipt_and_the_message_keeps_its_state(deployment: Deployment) -> None:
    agent, sender = deployment.new_agent(), deployment.new_agent()
    before = deployment.metric("mailroom_overdue_total")
    listening = deployment.live(sender, include_receipts=True)
    asked = ask(deployment, agent, sender, 0.3)
    assert overdue(listening) == asked.id
    shown = deployment.get(asked.id)
    assert (shown.message.state, shown.message.reply_by) == (FILED, asked.reply_by)
    assert [step.state for step in shown.history][-1] == OVERDUE
    assert [message.id for message in deployment.check(agent).messages] == [asked.id]
    deployment.acknowledge(agent, [asked.id])
    assert deployment.state(asked.id) == READ
    second = ask(deployment, agent, sender, -5)
    assert overdue(listening) == second.id, "the first is not reported again, and one that is too late comes at once"
    replay = deployment.subscribe(sender, include_receipts=True, after_id=BEGINNING)
    assert [overdue(replay), overdue(replay)] == [asked.id, second.id]
    for stream in (listening, replay):
        stream.cancel()
    assert deployment.metric("mailroom_overdue_total") == before + 2


def test_an_answer_in_time_means_no_receipt(deployment: Deployment) -> None:
    agent, sender = deployment.new_agent(), deployment.new_agent()
    listening = deployment.live(sender, include_receipts=True)
    answered, unanswered = (ask(deployment, agent, sender, SOON_SEC) for _ in range(2))
    deployment.send(sender, "yes", sender=agent, in_reply_to=answered.id)
    assert overdue(listening) == unanswered.id
    assert OVERDUE not in [step.state for step in deployment.get(answered.id).history]
    assert deployment.query("SELECT id FROM deadlines WHERE sender = ?", sender) == []
    listening.cancel()


def test_the_agent_behind_a_session_answers_for_it(deployment: Deployment) -> None:
    agent, session, sender = (deployment.new_agent() for _ in range(3))
    deployment.call("SetAlias", pb.SetAliasRequest(agent=agent, session=session))
    asked = ask(deployment, session, sender, 60)
    assert deployment.query("SELECT recipient FROM deadlines WHERE sender = ?", sender) == [(agent,)]
    deployment.send(sender, "yes", sender=session, in_reply_to=asked.id)
    assert deployment.query("SELECT id FROM deadlines WHERE sender = ?", sender) == []


def test_a_deadline_that_passes_while_the_daemon_is_down_is_reported_when_it_is_back() -> None:
    with running_deployment() as deployment:
        asked = ask(deployment, "abc", "amy", 0.2)
        deployment.kill()
        deployment.start()
        stream = deployment.subscribe("amy", include_receipts=True, after_id=BEGINNING)
        assert overdue(stream) == asked.id
        stream.cancel()
        deployment.stop()
        deployment.start()
        wait_until(lambda: deployment.query("SELECT id FROM deadlines") == [], "nothing is open")
        assert deployment.query("SELECT count(*) FROM receipts WHERE state = ?", OVERDUE) == [(1,)]


def test_the_deadline_is_in_every_view_of_the_message(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent)
    sent = ask(deployment, agent, "amy", 3600.0005)
    for copy in (stream.messages(1)[0], deployment.listed(agent)[0], deployment.get(sent.id).message):
        assert copy.reply_by == sent.reply_by
    assert sent.reply_by.ToJsonString().removesuffix("Z")[:19] == deployment.file(agent, sent.id)["reply_by"][:19]
    assert not deployment.send(agent, "x").message.HasField("reply_by")
    stream.cancel()


def test_a_repeated_send_with_a_later_deadline_is_the_same_message(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    first, again = ask(deployment, agent, "amy", 600, "key"), ask(deployment, agent, "amy", 700, "key")
    assert first.id == again.id
    assert deployment.query("SELECT reply_by_ms FROM deadlines WHERE recipient = ?", agent) == [
        (first.reply_by.ToMilliseconds(),)
    ]


@pytest.mark.parametrize("seconds", [0, -1, 11 * 365 * 86_400 + 2_000_000_000, 1 << 60], ids=str)
def test_a_deadline_before_1970_or_after_ten_years_is_refused(deployment: Deployment, seconds: int) -> None:
    request = send_request(deployment.new_agent(), "x")
    request.reply_by.seconds = seconds
    refusal = refusal_of(lambda: deployment.call("SendMessage", request))
    assert (refusal.reason, refusal.field) == ("REPLY_BY_INVALID", "reply_by")
