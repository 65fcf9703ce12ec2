"""CheckInbox, AcknowledgeMessages, MarkOffered and GetMessage of a real daemon."""

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import refusal_of, send_request
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import wait_until

NO_ID = "0" * 15 + "7"
MIB = 1 << 20


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


def states_of(deployment: Deployment, agent: str) -> list[pb.DeliveryState]:
    return [message.state for message in deployment.check(agent).messages]


def send_some(deployment: Deployment, agent: str, count: int) -> list[str]:
    return [deployment.send(agent, f"mail {index}").message.id for index in range(count)]


# -- CheckInbox -------------------------------------------------------------------------------------------------------


def test_check_inbox_returns_the_oldest_first_and_leaves_it_unread(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = send_some(deployment, agent, 5)
    for answer in (deployment.check(agent), deployment.check(agent)):
        assert (ids_of(answer), answer.more) == (ids, False)
        assert not any(message.read for message in answer.messages)
        assert [message.content for message in answer.messages] == [f"mail {count}" for count in range(5)]
    assert deployment.stats(agent).unread == 5
    assert deployment.filed(agent) == ids


def test_check_inbox_can_return_the_newest_first(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = send_some(deployment, agent, 5)
    answer = deployment.check(agent, newest_first=True, limit=3)
    assert (ids_of(answer), answer.more) == (ids[:1:-1], True)
    assert ids_of(deployment.check(agent, newest_first=True)) == ids[::-1]


def test_a_limit_cuts_the_response_and_sets_more(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = send_some(deployment, agent, 5)
    for limit, expected, more in [(1, ids[:1], True), (4, ids[:4], True), (5, ids, False), (6, ids, False)]:
        answer = deployment.check(agent, limit=limit)
        assert (ids_of(answer), answer.more) == (expected, more)


def test_the_default_limit_is_fifty_and_the_maximum_a_thousand(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 1100)
    assert (ids_of(deployment.check(agent)), deployment.check(agent).more) == (ids[:50], True)
    for limit in (1000, 5000, (1 << 31) - 1):
        answer = deployment.check(agent, limit=limit)
        assert (ids_of(answer), answer.more) == (ids[:1000], True)
    answer = deployment.check(agent, limit=1000, newest_first=True)
    assert (ids_of(answer), answer.more) == (ids[:-1001:-1], True)


def test_repeated_checks_for_unoffered_mail_return_everything_once(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 1100)
    seen = ids_of(deployment.check(agent, limit=40, newest_first=True, unoffered_only=True))
    assert seen == ids[:-41:-1]
    turns: list[str] = []
    while answer := ids_of(deployment.check(agent, limit=300, unoffered_only=True)):
        turns += answer
    assert turns == ids[:-40]
    assert deployment.stats(agent).unread == 1100


def test_checks_for_unoffered_mail_include_evicted_messages(small_deployment: Deployment) -> None:
    deployment, agent = small_deployment, small_deployment.new_agent()
    ids = deployment.fill(agent, 60, "x" * 200_000)
    turns: list[str] = []
    while answer := ids_of(deployment.check(agent, limit=8, unoffered_only=True)):
        turns += answer
    assert turns == ids
    assert deployment.check(agent, unoffered_only=True).messages == []


def test_the_newest_unoffered_message_is_found_after_its_mailbox_was_evicted(small_deployment: Deployment) -> None:
    deployment, agent = small_deployment, small_deployment.new_agent()
    ids = deployment.fill(agent, 60, "x" * 200_000)
    turns = [ids_of(deployment.check(agent, limit=5, unoffered_only=True, newest_first=True)) for _ in range(12)]
    assert [message_id for turn in turns for message_id in turn] == ids[::-1]


def test_check_inbox_marks_messages_offered_unless_it_observes(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = send_some(deployment, agent, 2)
    deployment.check(agent, observe=True)
    deployment.mark_offered(agent, [])
    assert not deployment.stats(agent).HasField("last_seen")
    assert ids_of(deployment.check(agent, unoffered_only=True, observe=True)) == ids
    assert ids_of(deployment.check(agent, limit=1)) == ids[:1]
    assert ids_of(deployment.check(agent, unoffered_only=True)) == ids[1:]
    assert ids_of(deployment.check(agent, unoffered_only=True)) == []
    wait_until(lambda: states_of(deployment, agent) == [pb.DELIVERY_STATE_OFFERED] * 2, "the mailbox has heard of both")
    assert deployment.stats(agent).HasField("last_seen")


def test_check_inbox_without_wait_answers_at_once(deployment: Deployment) -> None:
    started = time.monotonic()
    answer = deployment.check(deployment.new_agent())
    assert (ids_of(answer), answer.more) == ([], False)
    assert deployment.check(deployment.new_agent(), wait_sec=0).messages == []
    assert time.monotonic() - started < 2


def test_a_waiting_check_answers_when_mail_arrives(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(deployment.check, agent, wait_sec=25) for _ in range(4)]
        wait_until(lambda: agent in deployment.all_stats(), "somebody waits")
        started = time.monotonic()
        sent = deployment.send(agent, "here").message.id
        assert [ids_of(future.result()) for future in waiting] == [[sent]] * 4
        assert time.monotonic() - started < 5


def test_a_waiting_check_answers_at_once_if_there_is_mail(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = send_some(deployment, agent, 1)
    started = time.monotonic()
    assert ids_of(deployment.check(agent, wait_sec=25)) == ids
    assert time.monotonic() - started < 5


def test_a_check_waiting_for_unoffered_mail_ignores_offered_mail(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    known = send_some(deployment, agent, 1)
    deployment.mark_offered(agent, known)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(deployment.check, agent, wait_sec=25, unoffered_only=True)
        wait_until(lambda: deployment.stats(agent).HasField("last_seen"), "somebody waits")
        fresh = deployment.send(agent, "fresh").message.id
        assert ids_of(waiting.result()) == [fresh]


def test_a_waiting_check_answers_with_nothing_when_its_wait_ends(deployment: Deployment) -> None:
    started = time.monotonic()
    answer = deployment.check(deployment.new_agent(), wait_sec=0.3)
    assert (ids_of(answer), answer.more) == ([], False)
    assert 0.3 <= time.monotonic() - started < 3


def test_a_check_answers_before_a_deadline_shorter_than_its_wait(deployment: Deployment) -> None:
    request = pb.CheckInboxRequest(agent=deployment.new_agent())
    request.wait.FromSeconds(3600)
    started = time.monotonic()
    answer = deployment.call("CheckInbox", request, timeout=1.0)
    assert list(answer.messages) == []
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("seconds", [10**8, 315_576_000_000, 2**62])
def test_an_extremely_long_wait_ends_with_the_first_message(deployment: Deployment, seconds: int) -> None:
    agent = deployment.new_agent()
    request = pb.CheckInboxRequest(agent=agent)
    request.wait.seconds = seconds
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(deployment.call, "CheckInbox", request)
        wait_until(lambda: agent in deployment.all_stats(), "somebody waits")
        sent = deployment.send(agent, "x").message.id
        assert ids_of(waiting.result()) == [sent]


def test_an_extremely_long_wait_without_a_deadline_is_accepted(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    request = pb.CheckInboxRequest(agent=agent)
    request.wait.seconds = 2**62
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(deployment.call, "CheckInbox", request, None)
        wait_until(lambda: agent in deployment.all_stats(), "somebody waits")
        sent = deployment.send(agent, "x").message.id
        assert ids_of(waiting.result()) == [sent]


def test_responses_end_at_three_mebibytes_but_carry_at_least_one_message(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = [deployment.send(agent, "x" * 900_000).message.id for _ in range(5)]
    answer = deployment.check(agent)
    assert (ids_of(answer), answer.more) == (ids[:3], True)
    assert answer.ByteSize() <= 3 * MIB
    listed = deployment.page(agent)
    assert ids_of(listed) == ids[:1:-1]
    assert ids_of(deployment.page(agent, page_token=listed.next_page_token)) == ids[1::-1]


def test_responses_with_multi_byte_text_stay_below_four_mebibytes(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = [deployment.send(agent, "\U0001f4ec" * (MIB // 4)).message.id for _ in range(4)]
    seen: list[str] = []
    while len(seen) < 4:
        answer = deployment.check(agent)
        assert answer.messages
        assert answer.ByteSize() < 4 * MIB
        seen += ids_of(answer)
        deployment.acknowledge(agent, ids_of(answer))
    assert seen == ids


def test_responses_with_much_metadata_stay_below_four_mebibytes(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    request = send_request(agent, metadata={"n": list(range(12_000))})
    ids = [result.ok.message.id for result in deployment.send_many([request] * 60)]
    answer = deployment.check(agent, limit=1000)
    assert answer.more
    assert ids_of(answer) == ids[: len(answer.messages)]
    assert answer.ByteSize() < 4 * MIB


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"agent": "a/b"}, "AGENT_INVALID", "agent"),
        ({"agent": "../x"}, "AGENT_INVALID", "agent"),
        ({"agent": "a", "limit": -1}, "LIMIT_INVALID", "limit"),
        ({"agent": "a", "wait_sec": -1}, "WAIT_INVALID", "wait"),
    ],
)
def test_an_invalid_check_is_refused(deployment: Deployment, fields: dict[str, Any], reason: str, field: str) -> None:
    refusal = refusal_of(lambda: deployment.check(**fields))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert (refusal.field, refusal.domain) == (field, "mailroom")


# -- AcknowledgeMessages ----------------------------------------------------------------------------------------------


def test_acknowledging_marks_messages_read_everywhere_and_removes_their_files(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = send_some(deployment, agent, 4)
    answer = deployment.acknowledge(agent, [ids[2], ids[0]])
    assert (list(answer.acknowledged_ids), list(answer.unknown_ids)) == ([ids[2], ids[0]], [])
    wait_until(lambda: deployment.filed(agent) == [ids[1], ids[3]], "the files are gone")
    assert ids_of(deployment.check(agent)) == [ids[1], ids[3]]
    assert [message.read for message in deployment.listed(agent)] == [False, True, False, True]
    assert (deployment.stats(agent).total, deployment.stats(agent).unread) == (4, 2)
    rows = deployment.query("SELECT state = 4 FROM messages WHERE recipient = ? ORDER BY id", agent)
    assert rows == [(1,), (0,), (1,), (0,)]


def test_acknowledging_twice_is_harmless(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = send_some(deployment, agent, 2)
    first = deployment.acknowledge(agent, ids[:1])
    read_at = deployment.get(ids[0]).history[-1].timestamp
    again = deployment.acknowledge(agent, ids[:1])
    assert first == again
    assert deployment.get(ids[0]).history[-1].timestamp == read_at
    assert (deployment.stats(agent).total, deployment.stats(agent).unread) == (2, 1)
    twice = deployment.acknowledge(agent, [ids[1], ids[1]])
    assert set(twice.acknowledged_ids) == {ids[1]}
    assert deployment.stats(agent).unread == 0


def test_unknown_ids_and_ids_of_another_mailbox_are_returned_and_change_nothing(deployment: Deployment) -> None:
    agent, other = deployment.new_agent(), deployment.new_agent()
    (mine,), (theirs,) = send_some(deployment, agent, 1), send_some(deployment, other, 1)
    answer = deployment.acknowledge(agent, [NO_ID, theirs, mine, "7" + "f" * 15])
    assert list(answer.acknowledged_ids) == [mine]
    assert list(answer.unknown_ids) == [NO_ID, theirs, "7" + "f" * 15]
    assert deployment.state(theirs) == pb.DELIVERY_STATE_FILED
    assert deployment.stats(other).unread == 1
    assert deployment.filed(other) == [theirs]


def test_who_acknowledged_in_an_agents_place_is_in_receipt_and_history(deployment: Deployment) -> None:
    agent, sender = deployment.new_agent(), deployment.new_agent()
    mail = [deployment.send(agent, "x", sender=sender).message.id for _ in range(2)]
    stream = deployment.live(sender, include_receipts=True, observe=True)
    deployment.acknowledge(agent, mail[:1], by="ops")
    deployment.acknowledge(agent, mail)
    receipts = [stream.next().receipt for _ in range(2)]
    stream.cancel()
    read = pb.DELIVERY_STATE_READ
    assert [(one.message_id, one.state, one.by) for one in receipts] == [(mail[0], read, "ops"), (mail[1], read, "")]
    assert [step.by for step in deployment.get(mail[0]).history] == ["", "", "ops"]
    assert [step.by for step in deployment.get(mail[1]).history] == ["", "", ""]


def test_an_agent_does_not_seem_present_because_somebody_acknowledged_for_it(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    mail = deployment.send(agent, "x").message.id
    deployment.acknowledge(agent, [mail], by="ops")
    assert not deployment.stats(agent).HasField("last_seen")
    deployment.acknowledge(agent, [mail])
    wait_until(lambda: deployment.stats(agent).HasField("last_seen"), "the agent's own call shows that it is there")


def test_acknowledging_nothing_or_in_an_unknown_mailbox_succeeds(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    assert deployment.acknowledge(agent, []) == pb.AcknowledgeMessagesResponse()
    assert list(deployment.acknowledge(agent, [NO_ID]).unknown_ids) == [NO_ID]
    assert not deployment.inbox(agent).exists()


def test_a_thousand_ids_can_be_acknowledged_at_once_but_not_more(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 1001)
    for call in (deployment.acknowledge, deployment.mark_offered):
        refusal = refusal_of(lambda call=call: call(agent, ids))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY")
        assert refusal.field == "message_ids"
    assert list(deployment.acknowledge(agent, ids[:1000]).acknowledged_ids) == ids[:1000]
    assert deployment.stats(agent).unread == 1
    wait_until(lambda: deployment.filed(agent) == ids[1000:], "the files are gone")


@pytest.mark.parametrize("bad", ["", "x", "1A205A4C1E800000", "f" * 16, "../../../etc/pas"])
def test_a_malformed_id_is_refused_and_nothing_is_acknowledged(deployment: Deployment, bad: str) -> None:
    agent = deployment.new_agent()
    ids = send_some(deployment, agent, 1)
    for call in (deployment.acknowledge, deployment.mark_offered):
        refusal = refusal_of(lambda call=call: call(agent, [*ids, bad]))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_ID_INVALID")
        assert refusal.field == "message_ids"
    assert deployment.state(ids[0]) == pb.DELIVERY_STATE_FILED
    assert refusal_of(lambda: deployment.acknowledge("../x", ids)).reason == "AGENT_INVALID"
    refusal = refusal_of(lambda: deployment.acknowledge(agent, ids, by="../x"))
    assert (refusal.reason, refusal.field) == ("AGENT_INVALID", "by")


def test_evicted_messages_can_be_acknowledged(small_deployment: Deployment) -> None:
    deployment, agent = small_deployment, small_deployment.new_agent()
    ids = deployment.fill(agent, 50, "x" * 300_000)
    assert list(deployment.acknowledge(agent, ids[:10]).acknowledged_ids) == ids[:10]
    assert ids_of(deployment.check(agent, limit=1)) == [ids[10]]
    assert deployment.get(ids[0]).message.read
    assert deployment.stats(agent).unread == 40


# -- MarkOffered and GetMessage ---------------------------------------------------------------------------------------


def test_mark_offered_is_visible_at_once_and_changes_nothing_else(deployment: Deployment) -> None:
    agent, other = deployment.new_agent(), deployment.new_agent()
    ids = send_some(deployment, agent, 2)
    theirs = send_some(deployment, other, 1)
    deployment.mark_offered(agent, [ids[0], NO_ID])
    assert deployment.state(ids[0]) == pb.DELIVERY_STATE_OFFERED
    assert ids_of(deployment.check(agent, unoffered_only=True, observe=True)) == ids[1:]
    assert deployment.filed(agent) == ids
    assert deployment.stats(agent).unread == 2
    deployment.mark_offered(agent, theirs)
    assert deployment.state(theirs[0]) == pb.DELIVERY_STATE_FILED


def test_marking_a_read_message_offered_leaves_it_read(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = send_some(deployment, agent, 1)
    deployment.acknowledge(agent, ids)
    deployment.mark_offered(agent, ids)
    assert deployment.get(ids[0]).message.read
    assert deployment.state(ids[0]) == pb.DELIVERY_STATE_READ


def test_get_message_returns_the_history_in_order(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    sent = deployment.send(agent, "x").message
    history = deployment.get(sent.id).history
    assert [step.state for step in history] == [pb.DELIVERY_STATE_STORED, pb.DELIVERY_STATE_FILED]
    deployment.check(agent)
    offered = deployment.get(sent.id)
    assert offered.message.state == offered.history[-1].state == pb.DELIVERY_STATE_OFFERED
    deployment.acknowledge(agent, [sent.id])
    got = deployment.get(sent.id)
    assert got.message.read
    assert got.message.state == got.delivery.state == pb.DELIVERY_STATE_READ
    assert [step.state for step in got.history] == [
        pb.DELIVERY_STATE_STORED,
        pb.DELIVERY_STATE_FILED,
        pb.DELIVERY_STATE_OFFERED,
        pb.DELIVERY_STATE_READ,
    ]
    times = [step.timestamp.ToMilliseconds() for step in got.history]
    assert times == sorted(times)
    assert times[0] == sent.timestamp.ToMilliseconds()
    assert {(step.message_id, step.recipient) for step in got.history} == {(sent.id, agent)}
    assert (got.delivery.recipient_known, got.delivery.inbox_file_error) == (True, "")


def test_a_message_that_is_read_at_once_was_offered_before(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    for _ in range(10):
        sent = deployment.send(agent, "x").message
        deployment.check(agent)
        deployment.acknowledge(agent, [sent.id])
        assert [step.state for step in deployment.get(sent.id).history] == [
            pb.DELIVERY_STATE_STORED,
            pb.DELIVERY_STATE_FILED,
            pb.DELIVERY_STATE_OFFERED,
            pb.DELIVERY_STATE_READ,
        ]


def test_a_returned_message_is_offered_before_the_mailbox_knows_it(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    sent = deployment.send(agent, "x").message
    with deployment.stopped(deployment.pid_of("mailbox")):
        assert [message.id for message in deployment.check(agent).messages] == [sent.id]
        assert deployment.state(sent.id) == pb.DELIVERY_STATE_OFFERED


def test_a_message_that_does_not_exist_is_not_found(deployment: Deployment) -> None:
    for missing in (NO_ID, "7" + "f" * 15):
        refusal = refusal_of(lambda missing=missing: deployment.get(missing))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "MESSAGE_NOT_FOUND")
        assert missing in refusal.sentence
    for bad in ("", "x", "f" * 16):
        refusal = refusal_of(lambda bad=bad: deployment.get(bad))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_ID_INVALID")
        assert refusal.field == "id"
