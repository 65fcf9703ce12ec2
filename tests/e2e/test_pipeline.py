"""Everything beyond the dual write: teams, outbox, taken files, retention, receipts, aliases, search, statistics.

Each test begins with what an agent or an operator does and ends with what is on the disk, in a stream or in an answer.
"""

import json
import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import Stream, duration, refusal_of
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import wait_until

STORED, FILED = pb.DELIVERY_STATE_STORED, pb.DELIVERY_STATE_FILED
OFFERED, READ, EXPIRED = pb.DELIVERY_STATE_OFFERED, pb.DELIVERY_STATE_READ, pb.DELIVERY_STATE_EXPIRED


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment("--sweep-every", "200ms") as deployment:
        yield deployment


def receipts(stream: Stream, number: int) -> list[pb.Receipt]:
    """Returns the next receipts; any other event is an error."""
    found: list[pb.Receipt] = []
    while len(found) < number:
        event = stream.next()
        assert event.WhichOneof("event") == "receipt", event
        found.append(event.receipt)
    return found


def responses(stream: Stream, number: int) -> list[pb.CommandResponse]:
    found: list[pb.CommandResponse] = []
    while len(found) < number:
        event = stream.next()
        assert event.WhichOneof("event") == "command_response", event
        found.append(event.command_response)
    return found


def states_of(history: pb.GetMessageResponse) -> list["pb.DeliveryState"]:
    return [step.state for step in history.history]


def leave_response(deployment: Deployment, session: str, name: str, body: object) -> Path:
    """Leaves a file in an outbox as a careful agent does."""
    directory = deployment.root / "outbox" / session
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / f".{name}"
    temporary.write_text(body if isinstance(body, str) else json.dumps(body))
    return temporary.rename(directory / name)


# -- native team inboxes ----------------------------------------------------------------------------------------------


def test_mail_for_a_team_agent_is_also_an_entry_in_its_native_inbox(deployment: Deployment) -> None:
    (deployment.root / "teams/alpha/inboxes").mkdir(parents=True)
    sent = deployment.send("bob@alpha", "hello", sender="dashboard", metadata={"summary": "greeting"})
    assert (sent.delivery.state, sent.delivery.team_inbox_error) == (FILED, "")
    assert sent.delivery.recipient_known, "a member of a team is known before it makes a call"
    assert deployment.filed("bob@alpha") == [sent.message.id]
    (entry,) = json.loads((deployment.root / "teams/alpha/inboxes/bob.json").read_text())
    assert entry["from"] == "dashboard"
    assert (entry["read"], entry["summary"]) == (False, "greeting")
    assert entry["text"].startswith("hello\n\n[Message ")
    assert entry["mailroom_id"] == sent.message.id


def put_team(deployment: Deployment, team: str, *members: str) -> Path:
    """Makes a team as Claude Code does; returns the directory of its inboxes."""
    inboxes = deployment.root / "teams" / team / "inboxes"
    inboxes.mkdir(parents=True)
    (inboxes.parent / "config.json").write_text(json.dumps({"members": [{"name": name} for name in members]}))
    return inboxes


def take_entries(inbox: Path, *message_ids: str) -> None:
    """Takes entries as Claude Code does: it removes them."""
    kept = [entry for entry in json.loads(inbox.read_bytes()) if entry["mailroom_id"] not in message_ids]
    draft = inbox.with_name("draft")
    draft.write_text(json.dumps(kept))
    draft.rename(inbox)


def test_a_taken_entry_is_offered_and_read_when_its_team_has_ended(deployment: Deployment) -> None:
    inboxes = put_team(deployment, "session-1", "team-lead", "helper")
    stream = deployment.live("boss", include_receipts=True)
    taken, left = (deployment.send("helper@session-1", text, sender="boss").message.id for text in "ab")
    take_entries(inboxes / "helper.json", taken)
    wait_until(lambda: deployment.get(taken).message.state == OFFERED, "the sender learns that it was taken")
    assert deployment.get(left).message.state == FILED
    assert deployment.filed("helper@session-1") == [taken, left], "it is unread until the team has ended"
    shutil.rmtree(inboxes.parent)  # as Claude Code does when its session ends
    wait_until(lambda: deployment.get(taken).message.state == READ, "nobody is left who could acknowledge it")
    wait_until(lambda: deployment.filed("helper@session-1") == [left], "its file is gone")
    assert deployment.get(left).message.state == FILED, "nobody has seen the other one"
    states = [(receipt.message_id, receipt.state) for receipt in receipts(stream, 4)]
    assert states == [(taken, FILED), (left, FILED), (taken, OFFERED), (taken, READ)]
    late = deployment.send("helper@session-1", "late")
    assert "there is no team session-1" in late.delivery.team_inbox_error
    assert not late.delivery.recipient_known
    assert not inboxes.parent.exists()


@pytest.mark.parametrize("is_taken_before", [True, False], ids=["taken before", "taken meanwhile"])
def test_an_entry_that_is_taken_around_a_crash_is_offered_once(*, is_taken_before: bool) -> None:
    with running_deployment() as deployment:
        inboxes = put_team(deployment, "session-2", "helper")
        sent = deployment.send("helper@session-2", "x", sender="boss").message.id
        if is_taken_before:
            take_entries(inboxes / "helper.json", sent)
        deployment.kill()
        if not is_taken_before:
            take_entries(inboxes / "helper.json", sent)
        deployment.start()
        wait_until(lambda: deployment.get(sent).message.state == OFFERED, "it is noticed after the crash")
        assert json.loads((inboxes / "helper.json").read_bytes()) == [], "it is not written again"
        stream = deployment.subscribe("boss", after_id="0" * 16, include_receipts=True)
        assert [receipt.state for receipt in receipts(stream, 2)] == [FILED, OFFERED]
        assert stream.until_caught_up()[0] == []


def test_bob_and_bob_of_a_team_are_two_mailboxes(deployment: Deployment) -> None:
    plain, team = deployment.send("rob", "plain").message.id, deployment.send("rob@alpha", "team").message.id
    assert [message.id for message in deployment.check("rob").messages] == [plain]
    assert [message.id for message in deployment.check("rob@alpha").messages] == [team]


def test_a_locked_team_inbox_is_reported_in_time_and_written_later(deployment: Deployment) -> None:
    inboxes = deployment.root / "teams/beta/inboxes"
    (inboxes / "ann.json.lock").mkdir(parents=True)
    sent = deployment.send("ann@beta", "wait for it")
    assert sent.delivery.state == FILED
    assert "will be retried" in sent.delivery.team_inbox_error
    assert deployment.get(sent.message.id).delivery.team_inbox_error
    (inboxes / "ann.json.lock").rmdir()
    wait_until(lambda: (inboxes / "ann.json").exists(), "the entry is written later")
    wait_until(lambda: not deployment.get(sent.message.id).delivery.team_inbox_error, "that is recorded")


def test_a_team_inbox_that_is_not_json_is_set_aside_and_mail_goes_on(deployment: Deployment) -> None:
    inboxes = deployment.root / "teams/gamma/inboxes"
    inboxes.mkdir(parents=True)
    (inboxes / "eve.json").write_text("{ this is no array")
    sent = deployment.send("eve@gamma", "x").message.id
    wait_until(lambda: not deployment.get(sent).delivery.team_inbox_error, "the entry is there")
    assert len(json.loads((inboxes / "eve.json").read_text())) == 1
    (aside,) = inboxes.glob("eve.json.corrupt-*")
    assert aside.read_text() == "{ this is no array"


def test_an_entry_that_was_not_written_before_a_crash_is_written_after_it_once() -> None:
    with running_deployment() as deployment:
        inboxes = deployment.root / "teams/alpha/inboxes"
        (inboxes / "bob.json.lock").mkdir(parents=True)
        sent = deployment.send("bob@alpha", "survives")
        deployment.kill()
        (inboxes / "bob.json.lock").rmdir()
        deployment.start()
        wait_until(lambda: (inboxes / "bob.json").exists(), "the entry is there")
        assert [entry["mailroom_id"] for entry in json.loads((inboxes / "bob.json").read_text())] == [sent.message.id]


# -- the outbox -------------------------------------------------------------------------------------------------------


def test_a_response_reaches_its_session_and_the_dashboard_and_its_file_is_gone(deployment: Deployment) -> None:
    session = deployment.new_agent()
    mine, dashboard = deployment.live(session), deployment.live(all_agents=True)
    path = leave_response(deployment, session, "result.json", {"ok": True, "lines": [1, 2]})
    (response,) = responses(mine, 1)
    assert (response.session_id, response.file_name) == (session, "result.json")
    assert MessageToDict(response.body) == {"ok": True, "lines": [1, 2]}
    assert responses(dashboard, 1)[0] == response
    wait_until(lambda: not path.exists(), "its file is taken away")
    mine.cancel()
    dashboard.cancel()


def test_a_response_nobody_was_subscribed_for_is_replayed_once(deployment: Deployment) -> None:
    session = deployment.new_agent()
    path = leave_response(deployment, session, "early.json", {"n": 1})
    wait_until(lambda: not path.exists(), "it is durable")
    deployment.send(deployment.new_agent())  # is answered behind it, so that it is no news to a later subscriber
    observer = deployment.subscribe(session, include_unread=True, observe=True)
    assert responses(observer, 1)[0].file_name == "early.json"
    first = deployment.subscribe(session, include_unread=True)
    assert responses(first, 1)[0].file_name == "early.json"
    assert first.next().WhichOneof("event") == "caught_up"
    for stream in (observer, first):
        stream.cancel()

    def is_replayed() -> bool:
        again = deployment.subscribe(session, include_unread=True)
        kind = again.next().WhichOneof("event")
        again.cancel()
        return kind == "command_response"

    wait_until(lambda: not is_replayed(), "it counts as handed over")


def test_messages_and_responses_come_in_one_order_also_on_replay(deployment: Deployment) -> None:
    session = deployment.new_agent()
    live = deployment.live(session)
    start = deployment.send(session, "before").message.id
    expected = ["before"]
    for number in range(5):
        path = leave_response(deployment, session, f"{number}.json", {"n": number})
        wait_until(lambda path=path: not path.exists(), "it is taken in")
        deployment.send(session, f"mail {number}")
        expected += [f"{number}.json", f"mail {number}"]

    def next_of(stream: Stream) -> str:
        event = stream.next()
        return event.command_response.file_name or event.message.content

    assert [next_of(live) for _ in expected] == expected
    replay = deployment.subscribe(session, after_id=start)
    assert [next_of(replay) for _ in expected[1:]] == expected[1:]
    live.cancel()
    replay.cancel()


def test_what_is_no_response_stays_where_it_is_and_harms_nobody(deployment: Deployment) -> None:
    session = deployment.new_agent()
    directory = deployment.root / "outbox" / session
    directory.mkdir(parents=True)
    large = leave_response(deployment, session, "large.json", '{"x": "' + "x" * (10 << 20) + '"}')
    torn = leave_response(deployment, session, "torn.json", '{"half": ')
    os.mkfifo(directory / "pipe.json")
    (directory / "link.json").symlink_to("/etc/passwd")
    (directory / "directory.json").mkdir()
    stream = deployment.live(session)
    good = leave_response(deployment, session, "good.json", {"fine": 1})
    assert responses(stream, 1)[0].file_name == "good.json"
    wait_until(lambda: not good.exists(), "the valid file is taken")
    wait_until(lambda: "torn.json" in deployment.log(), "the torn file is logged")
    assert large.exists()
    assert torn.read_text() == '{"half": '
    assert sorted(file.name for file in directory.iterdir()) == [
        "directory.json",
        "large.json",
        "link.json",
        "pipe.json",
        "torn.json",
    ]
    torn.unlink()
    stream.cancel()


def test_a_large_response_travels_as_text_that_every_client_can_take(deployment: Deployment) -> None:
    session = deployment.new_agent()
    stream = deployment.live(session)
    body = {"numbers": list(range(200_000))}
    leave_response(deployment, session, "numbers.json", body)
    (response,) = responses(stream, 1)
    assert not response.HasField("body")
    assert json.loads(response.body_json) == body
    assert response.ByteSize() < 4 << 20
    stream.cancel()


# -- files taken by agents --------------------------------------------------------------------------------------------


def test_a_file_that_its_agent_deletes_or_moves_away_is_read(deployment: Deployment) -> None:
    agent, sender = deployment.new_agent(), deployment.new_agent()
    listening = deployment.live(sender, include_receipts=True)
    ids = [deployment.send(agent, "x", sender=sender).message.id for _ in range(3)]
    receipts(listening, 3)
    deployment.inbox(agent).joinpath(f"{ids[0]}.json").unlink()
    deployment.inbox(agent).joinpath(f"{ids[1]}.json").rename(deployment.directory / "taken.json")
    wait_until(lambda: deployment.stats(agent).unread == 1, "two are read")
    assert {receipt.message_id for receipt in receipts(listening, 2)} == set(ids[:2])
    assert [deployment.state(message_id) for message_id in ids] == [READ, READ, FILED]
    assert [message.id for message in deployment.check(agent).messages] == [ids[2]]
    listening.cancel()


def test_a_directory_that_goes_away_is_no_reading_and_all_its_mail_is_filed_again(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 5)
    for path in deployment.inbox(agent).iterdir():
        path.unlink()
    deployment.inbox(agent).rmdir()
    wait_until(lambda: deployment.inbox(agent).exists() and deployment.filed(agent) == ids, "its files are there again")
    assert deployment.stats(agent).unread == 5
    wait_until(lambda: not deployment.get(ids[0]).delivery.inbox_file_error, "that is recorded")
    assert deployment.state(ids[0]) == FILED


# -- states and receipts ----------------------------------------------------------------------------------------------


def test_a_sender_hears_of_each_step_live_and_on_replay(deployment: Deployment) -> None:
    agent, sender = deployment.new_agent(), deployment.new_agent()
    live = deployment.live(sender, include_receipts=True)
    sent = deployment.send(agent, "x", sender=sender).message.id
    deployment.check(agent)
    assert [(receipt.message_id, receipt.state) for receipt in receipts(live, 2)] == [(sent, FILED), (sent, OFFERED)]
    deployment.acknowledge(agent, [sent])
    (read,) = receipts(live, 1)
    assert (read.message_id, read.recipient, read.state) == (sent, agent, READ)
    replay = deployment.subscribe(sender, include_receipts=True, after_id=sent)
    assert [receipt.state for receipt in receipts(replay, 3)] == [FILED, OFFERED, READ]
    history = deployment.get(sent)
    assert states_of(history) == [STORED, FILED, OFFERED, READ]
    times = [step.timestamp.ToNanoseconds() for step in history.history]
    assert times == sorted(times)
    for stream in (live, replay):
        stream.cancel()


def test_a_state_never_goes_back(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    sent = deployment.send(agent, "x").message.id
    deployment.acknowledge(agent, [sent])
    deployment.mark_offered(agent, [sent])
    deployment.check(agent)
    deployment.acknowledge(agent, [sent])
    assert states_of(deployment.get(sent)) == [STORED, FILED, READ]


def test_streams_check_inbox_and_mark_offered_offer_mail_and_observers_do_not(deployment: Deployment) -> None:
    agent, sender = deployment.new_agent(), deployment.new_agent()
    listening = deployment.live(sender, include_receipts=True)
    first = deployment.send(agent, "1", sender=sender).message.id
    second = deployment.send(agent, "2", sender=sender).message.id
    receipts(listening, 2)
    observer = deployment.subscribe(agent, include_unread=True, observe=True)
    assert len(observer.messages(2)) == 2
    deployment.check(agent, observe=True)
    deployment.mark_offered(agent, [second])
    (offered,) = receipts(listening, 1)
    assert (offered.message_id, offered.state) == (second, OFFERED)
    stream = deployment.subscribe(agent, include_unread=True)
    stream.messages(2)
    (offered,) = receipts(listening, 1)
    assert (offered.message_id, offered.state) == (first, OFFERED)
    for open_stream in (listening, observer, stream):
        open_stream.cancel()


def test_mail_with_a_late_file_is_stored_first_and_its_sender_gets_both_receipts() -> None:
    with running_deployment(minds_permissions=True) as deployment:
        deployment.send("abc", "first")
        listening = deployment.live("dash", include_receipts=True)
        deployment.inbox("abc").chmod(0o500)
        sent = deployment.send("abc", "late", sender="dash")
        assert sent.delivery.state == STORED
        assert receipts(listening, 1)[0].state == STORED
        deployment.inbox("abc").chmod(0o700)
        (filed,) = receipts(listening, 1)
        assert (filed.message_id, filed.state) == (sent.message.id, FILED)
        assert states_of(deployment.get(sent.message.id)) == [STORED, FILED]
        listening.cancel()


def test_receipts_outlive_a_restart_and_a_resumed_stream_misses_none() -> None:
    with running_deployment() as deployment:
        listening = deployment.live("dash", include_receipts=True)
        ids = [deployment.send("abc", "x", sender="dash").message.id for _ in range(20)]
        seen = [receipt.message_id for receipt in receipts(listening, 5)]
        last = int(ids[4], 16) + 1
        deployment.acknowledge("abc", ids[:10])
        deployment.kill()
        deployment.start()
        resumed = deployment.subscribe("dash", include_receipts=True, after_id=f"{last:016x}")
        rest = receipts(resumed, 15 + 10)
        assert seen + [receipt.message_id for receipt in rest if receipt.state == FILED] == ids
        assert [receipt.message_id for receipt in rest if receipt.state == READ] == ids[:10]
        resumed.cancel()


def test_receipts_outlive_messages_that_are_cleared_away(deployment: Deployment) -> None:
    agent, sender = deployment.new_agent(), deployment.new_agent()
    before = deployment.send(deployment.new_agent()).message.id
    ids = [deployment.send(agent, "x", sender=sender).message.id for _ in range(3)]
    deployment.acknowledge(agent, ids[:1])
    deployment.call("ClearMailbox", pb.ClearMailboxRequest(agent=agent))
    replay = deployment.subscribe(sender, include_receipts=True, after_id=before)
    assert [(receipt.message_id, receipt.state) for receipt in receipts(replay, 4)] == [
        *((message_id, FILED) for message_id in ids),
        (ids[0], READ),
    ]
    replay.cancel()


# -- time to live and retention ---------------------------------------------------------------------------------------


def test_mail_whose_time_runs_out_leaves_inbox_and_counters_and_its_sender_hears_it(deployment: Deployment) -> None:
    agent, sender = deployment.new_agent(), deployment.new_agent()
    listening = deployment.live(sender, include_receipts=True)
    stays = deployment.send(agent, "stays", sender=sender).message.id
    goes = deployment.send(agent, "goes", sender=sender, ttl_sec=0.3).message.id
    assert deployment.stats(agent).unread == 2
    states = [(receipt.message_id, receipt.state) for receipt in receipts(listening, 3)]
    assert states == [(stays, FILED), (goes, FILED), (goes, EXPIRED)]
    assert deployment.stats(agent).unread == 1
    wait_until(lambda: deployment.filed(agent) == [stays], "its file is gone")
    assert [message.id for message in deployment.check(agent).messages] == [stays]
    assert deployment.state(goes) == EXPIRED
    assert deployment.acknowledge(agent, [goes]).acknowledged_ids == [goes]
    assert deployment.state(goes) == EXPIRED
    listening.cancel()


def test_mail_that_expired_while_the_daemon_was_down_is_gone_when_it_is_back() -> None:
    with running_deployment() as deployment:
        goes = deployment.send("abc", "goes", ttl_sec=0.2).message.id
        deployment.kill()
        deployment.start()
        wait_until(lambda: deployment.state(goes) == EXPIRED, "it has expired")
        assert deployment.stats("abc").unread == 0
        wait_until(lambda: deployment.filed("abc") == [], "its file is gone")


def test_read_mail_goes_after_its_time_and_unread_mail_never(deployment: Deployment) -> None:
    with running_deployment("--sweep-every", "100ms", "--keep-read", "300ms") as deployment:
        read = deployment.fill("abc", 30)
        unread = deployment.fill("abc", 10)
        deployment.acknowledge("abc", read)
        wait_until(lambda: deployment.stats("abc").total == 10, "the read ones are gone")
        assert deployment.stats("abc").unread == 10
        assert [message.id for message in deployment.listed("abc")] == unread[::-1]
        assert deployment.filed("abc") == unread
        assert refusal_of(lambda: deployment.get(read[0])).reason == "MESSAGE_NOT_FOUND"
        assert [message.id for message in deployment.listed("abc", query="mail")] == unread[::-1]


def test_a_stream_that_resumes_before_deleted_mail_says_that_there_is_a_gap() -> None:
    with running_deployment("--sweep-every", "100ms", "--keep-read", "300ms") as deployment:
        first, *read, last, unread = deployment.fill("abc", 10)
        replay = deployment.subscribe("abc", after_id=first)
        assert [replay.next().message.id for _ in range(9)] == [*read, last, unread]
        assert not replay.next().caught_up.gap, "nothing has been deleted yet"
        replay.cancel()
        deployment.acknowledge("abc", [first, *read, last])
        wait_until(lambda: deployment.stats("abc").total == 1, "the read ones are gone")
        gaps: dict[str, bool] = {}
        for after_id in ("0" * 16, first, read[-1], last, unread):
            events = deployment.subscribe("abc", after_id=after_id)
            if after_id != unread:
                assert events.next().message.id == unread
            gaps[after_id] = events.next().caught_up.gap
            events.cancel()
        assert gaps == {"0" * 16: True, first: True, read[-1]: True, last: False, unread: False}
        unread_first = deployment.subscribe("abc", include_unread=True)
        assert unread_first.next().message.id == unread
        assert not unread_first.next().caught_up.gap
        assert not deployment.subscribe("abc").next().caught_up.gap


# -- clearing, counting, finding --------------------------------------------------------------------------------------


def test_clearing_deletes_a_mailbox_and_its_files_and_nothing_that_comes_later(deployment: Deployment) -> None:
    agent, other = deployment.new_agent(), deployment.new_agent()
    ids = deployment.fill(agent, 1200)
    kept = deployment.send(other, "kept").message.id
    deployment.acknowledge(agent, ids[:100])
    assert deployment.call("ClearMailbox", pb.ClearMailboxRequest(agent=agent)).deleted == 1200
    assert (deployment.stats(agent).total, deployment.stats(agent).unread, deployment.filed(agent)) == (0, 0, [])
    assert deployment.listed(agent) == []
    assert deployment.check(agent).messages == []
    assert refusal_of(lambda: deployment.get(ids[0])).reason == "MESSAGE_NOT_FOUND"
    later = deployment.send(agent, "later").message.id
    assert [message.id for message in deployment.listed(agent)] == [later]
    assert deployment.filed(other) == [kept]
    assert deployment.call("ClearMailbox", pb.ClearMailboxRequest(agent="nobody")).deleted == 0


def test_a_file_that_a_clearing_could_not_remove_goes_at_the_next_start() -> None:
    with running_deployment() as deployment:
        deployment.send("abc", "x")
        directory = deployment.root / "inbox" / "abc"
        (path,) = directory.iterdir()
        directory.rename(deployment.root / "aside")
        directory.touch()
        assert deployment.call("ClearMailbox", pb.ClearMailboxRequest(agent="abc")).deleted == 1
        directory.unlink()
        (deployment.root / "aside").rename(directory)
        assert path.exists()
        deployment.kill()
        deployment.start()
        assert not path.exists()


def test_queue_statistics_count_waiting_files_and_omit_empty_sessions(deployment: Deployment) -> None:
    agent, empty = deployment.new_agent(), deployment.new_agent()
    deployment.fill(agent, 3)
    deployment.acknowledge(empty, [deployment.send(empty).message.id])
    found = {queue.session_id: queue for queue in deployment.call("GetQueueStats", pb.GetQueueStatsRequest()).queues}
    assert found[agent].pending_count == 3
    assert found[agent].oldest_age_sec < 60
    assert empty not in found
    (queue,) = deployment.call("GetQueueStats", pb.GetQueueStatsRequest(session_id=agent)).queues
    assert queue.pending_count == 3


def test_words_find_messages_of_one_mailbox_or_of_all_newest_first(deployment: Deployment) -> None:
    agent, other = deployment.new_agent(), deployment.new_agent()
    texts = ["the quick brown fox", "a quick test of Käse", "slow brown bread"]
    ids = [deployment.send(agent, text).message.id for text in texts]
    elsewhere = deployment.send(other, "quick as well").message.id

    def found(query: str, whose: str = agent) -> list[str]:
        return [message.id for message in deployment.listed(whose, query=query)]

    assert found("quick") == [ids[1], ids[0]]
    assert found("QUICK brown") == [ids[0]]
    assert found('"brown fox"') == [ids[0]]
    assert found('"fox brown"') == []
    assert found("kase") == [ids[1]]
    assert found("bre*") == [ids[2]]
    assert found("quick", "")[:3] == [elsewhere, ids[1], ids[0]]
    assert found("nothing like it") == []
    assert found('"; DROP TABLE messages') == []


def test_pages_stay_put_while_mail_arrives(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 25)
    pages: list[list[str]] = []
    token = ""
    while True:
        page = deployment.page(agent, page_size=10, page_token=token)
        pages.append([message.id for message in page.messages])
        deployment.send(agent, "meanwhile")
        token = page.next_page_token
        if not token:
            break
    assert [message_id for page in pages for message_id in page] == ids[::-1]


# -- names that last --------------------------------------------------------------------------------------------------


def set_alias(deployment: Deployment, agent: str, session: str, ttl_sec: float | None = None) -> pb.SetAliasResponse:
    ttl = None if ttl_sec is None else duration(ttl_sec)
    return deployment.call("SetAlias", pb.SetAliasRequest(agent=agent, session=session, ttl=ttl))


def test_mail_for_a_session_goes_to_its_agent_and_both_names_read_it(deployment: Deployment) -> None:
    agent, session = deployment.new_agent(), deployment.new_agent()
    early = deployment.send(session, "before the alias").message.id
    live = deployment.live(session)
    set_alias(deployment, agent, session)
    sent = deployment.send(session, "behind it")
    assert sent.message.recipient == agent
    assert deployment.filed(agent) == [sent.message.id]
    for name in (agent, session):
        assert [message.id for message in deployment.check(name, observe=True).messages] == [early, sent.message.id]
        assert [message.id for message in deployment.listed(name)] == [sent.message.id, early]
    assert [message.id for message in live.messages(1)] == [sent.message.id]
    assert deployment.acknowledge(session, [early, sent.message.id]).acknowledged_ids == [sent.message.id, early]
    assert deployment.stats(session).unread == 0
    live.cancel()


def test_an_alias_ends_by_its_time_or_by_saying_so_and_survives_a_restart() -> None:
    with running_deployment() as deployment:
        set_alias(deployment, "bob", "s-1")
        set_alias(deployment, "bob", "s-2", 0.3)
        set_alias(deployment, "bob", "s-3")
        assert not set_alias(deployment, "bob", "s-3", 0).HasField("expires_at")
        assert deployment.send("s-3").message.recipient == "s-3"
        deployment.kill()
        deployment.start()
        assert deployment.send("s-1").message.recipient == "bob"
        wait_until(lambda: deployment.send("s-2").message.recipient == "s-2", "the alias is over")


def test_an_alias_never_leads_to_another(deployment: Deployment) -> None:
    agent, session, third = deployment.new_agent(), deployment.new_agent(), deployment.new_agent()
    set_alias(deployment, agent, session)
    assert refusal_of(lambda: set_alias(deployment, session, third)).reason == "ALIAS_CONFLICT"
    assert refusal_of(lambda: set_alias(deployment, third, agent)).reason == "ALIAS_CONFLICT"
    assert refusal_of(lambda: set_alias(deployment, agent, agent)).reason == "OPTIONS_CONFLICT"
    assert refusal_of(lambda: set_alias(deployment, agent, "../x")).reason == "SESSION_INVALID"


def test_a_repeated_send_to_a_session_is_recognized_after_an_alias_was_set(deployment: Deployment) -> None:
    agent, session = deployment.new_agent(), deployment.new_agent()
    first = deployment.send(session, "once", idempotency_key="k1").message
    set_alias(deployment, agent, session)
    assert deployment.send(session, "once", idempotency_key="k1").message.id == first.id
    second = deployment.send(session, "twice", idempotency_key="k2").message
    assert deployment.send(session, "twice", idempotency_key="k2").message.id == second.id


def test_a_repeated_send_names_the_mailbox_of_the_message_after_alias_changes(
    deployment: Deployment,
) -> None:
    agent, other, session = (deployment.new_agent() for _ in range(3))
    for behind, ttl_sec in ((agent, None), (other, None), (other, 0)):
        set_alias(deployment, behind, session, ttl_sec)
        answer = deployment.send(session, "once", idempotency_key=f"{session}-1").message
        assert answer.recipient == agent
    first = deployment.send(session, "at home", idempotency_key=f"{session}-2").message
    set_alias(deployment, agent, session)
    again = deployment.send(session, "at home", idempotency_key=f"{session}-2").message
    assert first.recipient == again.recipient == session


def test_an_agent_that_reports_what_it_was_handed_has_been_here(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    sent = deployment.send(agent, "x").message.id
    assert not deployment.get(sent).delivery.recipient_known
    deployment.mark_offered(agent, [sent])
    assert deployment.get(sent).delivery.recipient_known


def test_who_is_there_is_listed_with_its_sessions(deployment: Deployment) -> None:
    agent, session, written_to = deployment.new_agent(), deployment.new_agent(), deployment.new_agent()
    set_alias(deployment, agent, session)
    stream = deployment.live(session)
    sent = deployment.send(written_to, "hello", sender=agent)
    assert not sent.delivery.recipient_known
    found = {agent.name: agent for agent in deployment.call("ListAgents", pb.ListAgentsRequest()).agents}
    assert (found[agent].alive, found[agent].subscribers, list(found[agent].sessions)) == (True, 1, [session])
    assert session not in found
    assert written_to not in found
    names: list[str] = []
    token = ""
    while True:
        page = deployment.call("ListAgents", pb.ListAgentsRequest(page_size=3, page_token=token))
        names += [agent.name for agent in page.agents]
        token = page.next_page_token
        if not token:
            break
    assert names == sorted(found)
    stream.cancel()
