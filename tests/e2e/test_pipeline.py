"""Everything beyond the dual write: teams, outbox, taken files, retention, receipts, aliases, search, statistics.

Each test begins with what an agent or an operator does and ends with what is on the disk, in a stream or in an answer.
"""

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import Stream, duration, refusal_of
from support.harness.room import Room, running_room
from support.harness.waiting import wait_until

STORED, FILED = pb.DELIVERY_STATE_STORED, pb.DELIVERY_STATE_FILED
OFFERED, READ, EXPIRED = pb.DELIVERY_STATE_OFFERED, pb.DELIVERY_STATE_READ, pb.DELIVERY_STATE_EXPIRED


@pytest.fixture(scope="module")
def room() -> Generator[Room]:
    with running_room("--sweep-every", "200ms") as room:
        yield room


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


def leave_response(room: Room, session: str, name: str, body: object) -> Path:
    """Leaves a file in an outbox as a careful agent does."""
    directory = room.root / "outbox" / session
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / f".{name}"
    temporary.write_text(body if isinstance(body, str) else json.dumps(body))
    return temporary.rename(directory / name)


# -- native team inboxes ----------------------------------------------------------------------------------------------


def test_mail_for_a_team_agent_is_also_an_entry_in_its_native_inbox(room: Room) -> None:
    sent = room.send("bob@alpha", "hello", sender="dashboard", metadata={"summary": "greeting"})
    assert (sent.delivery.state, sent.delivery.team_inbox_error) == (FILED, "")
    assert room.filed("bob@alpha") == [sent.message.id]
    (entry,) = json.loads((room.root / "teams/alpha/inboxes/bob.json").read_text())
    assert entry["from"] == "dashboard"
    assert (entry["text"], entry["read"], entry["summary"]) == ("hello", False, "greeting")
    assert entry["mailroom_id"] == sent.message.id


def test_bob_and_bob_of_a_team_are_two_mailboxes(room: Room) -> None:
    plain, team = room.send("rob", "plain").message.id, room.send("rob@alpha", "team").message.id
    assert [message.id for message in room.check("rob").messages] == [plain]
    assert [message.id for message in room.check("rob@alpha").messages] == [team]


def test_a_locked_team_inbox_is_reported_in_time_and_written_later(room: Room) -> None:
    inboxes = room.root / "teams/beta/inboxes"
    (inboxes / "ann.json.lock").mkdir(parents=True)
    sent = room.send("ann@beta", "wait for it")
    assert sent.delivery.state == FILED
    assert "tried again" in sent.delivery.team_inbox_error
    assert room.get(sent.message.id).delivery.team_inbox_error
    (inboxes / "ann.json.lock").rmdir()
    wait_until(lambda: (inboxes / "ann.json").exists(), "the entry is written later")
    wait_until(lambda: not room.get(sent.message.id).delivery.team_inbox_error, "that is recorded")


def test_a_team_inbox_that_is_not_json_is_set_aside_and_mail_goes_on(room: Room) -> None:
    inboxes = room.root / "teams/gamma/inboxes"
    inboxes.mkdir(parents=True)
    (inboxes / "eve.json").write_text("{ this is no array")
    sent = room.send("eve@gamma", "x").message.id
    wait_until(lambda: not room.get(sent).delivery.team_inbox_error, "the entry is there")
    assert len(json.loads((inboxes / "eve.json").read_text())) == 1
    (aside,) = inboxes.glob("eve.json.corrupt-*")
    assert aside.read_text() == "{ this is no array"


def test_an_entry_that_was_not_written_before_a_crash_is_written_after_it_once() -> None:
    with running_room() as room:
        inboxes = room.root / "teams/alpha/inboxes"
        (inboxes / "bob.json.lock").mkdir(parents=True)
        sent = room.send("bob@alpha", "survives")
        room.kill()
        (inboxes / "bob.json.lock").rmdir()
        room.start()
        wait_until(lambda: (inboxes / "bob.json").exists(), "the entry is there")
        assert [entry["mailroom_id"] for entry in json.loads((inboxes / "bob.json").read_text())] == [sent.message.id]


# -- the outbox -------------------------------------------------------------------------------------------------------


def test_a_response_reaches_its_session_and_the_dashboard_and_its_file_is_gone(room: Room) -> None:
    session = room.new_agent()
    mine, dashboard = room.live(session), room.live(all_agents=True)
    path = leave_response(room, session, "result.json", {"ok": True, "lines": [1, 2]})
    (response,) = responses(mine, 1)
    assert (response.session_id, response.file_name) == (session, "result.json")
    assert MessageToDict(response.body) == {"ok": True, "lines": [1, 2]}
    assert responses(dashboard, 1)[0] == response
    wait_until(lambda: not path.exists(), "its file is taken away")
    mine.cancel()
    dashboard.cancel()


def test_a_response_nobody_was_subscribed_for_is_replayed_once(room: Room) -> None:
    session = room.new_agent()
    path = leave_response(room, session, "early.json", {"n": 1})
    wait_until(lambda: not path.exists(), "it is durable")
    room.send(room.new_agent())  # is answered behind it, so that it is no news to a later subscriber
    observer = room.subscribe(session, include_unread=True, observe=True)
    assert responses(observer, 1)[0].file_name == "early.json"
    first = room.subscribe(session, include_unread=True)
    assert responses(first, 1)[0].file_name == "early.json"
    assert first.next().WhichOneof("event") == "caught_up"
    for stream in (observer, first):
        stream.cancel()

    def is_replayed() -> bool:
        again = room.subscribe(session, include_unread=True)
        kind = again.next().WhichOneof("event")
        again.cancel()
        return kind == "command_response"

    wait_until(lambda: not is_replayed(), "it counts as handed over")


def test_messages_and_responses_come_in_one_order_also_on_replay(room: Room) -> None:
    session = room.new_agent()
    live = room.live(session)
    start = room.send(session, "before").message.id
    expected = ["before"]
    for number in range(5):
        path = leave_response(room, session, f"{number}.json", {"n": number})
        wait_until(lambda path=path: not path.exists(), "it is taken in")
        room.send(session, f"mail {number}")
        expected += [f"{number}.json", f"mail {number}"]

    def next_of(stream: Stream) -> str:
        event = stream.next()
        return event.command_response.file_name or event.message.content

    assert [next_of(live) for _ in expected] == expected
    replay = room.subscribe(session, after_id=start)
    assert [next_of(replay) for _ in expected[1:]] == expected[1:]
    live.cancel()
    replay.cancel()


def test_what_is_no_response_stays_where_it_is_and_harms_nobody(room: Room) -> None:
    session = room.new_agent()
    directory = room.root / "outbox" / session
    directory.mkdir(parents=True)
    large = leave_response(room, session, "large.json", '{"x": "' + "x" * (10 << 20) + '"}')
    torn = leave_response(room, session, "torn.json", '{"half": ')
    os.mkfifo(directory / "pipe.json")
    (directory / "link.json").symlink_to("/etc/passwd")
    (directory / "directory.json").mkdir()
    stream = room.live(session)
    good = leave_response(room, session, "good.json", {"fine": 1})
    assert responses(stream, 1)[0].file_name == "good.json"
    wait_until(lambda: not good.exists(), "the valid file is taken")
    wait_until(lambda: "torn.json" in room.log(), "the torn file is logged")
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


def test_a_large_response_travels_as_text_that_every_client_can_take(room: Room) -> None:
    session = room.new_agent()
    stream = room.live(session)
    body = {"numbers": list(range(200_000))}
    leave_response(room, session, "numbers.json", body)
    (response,) = responses(stream, 1)
    assert not response.HasField("body")
    assert json.loads(response.body_json) == body
    assert response.ByteSize() < 4 << 20
    stream.cancel()


# -- files taken by agents --------------------------------------------------------------------------------------------


def test_a_file_that_its_agent_deletes_or_moves_away_is_read(room: Room) -> None:
    agent, sender = room.new_agent(), room.new_agent()
    listening = room.live(sender, include_receipts=True)
    ids = [room.send(agent, "x", sender=sender).message.id for _ in range(3)]
    receipts(listening, 3)
    room.inbox(agent).joinpath(f"{ids[0]}.json").unlink()
    room.inbox(agent).joinpath(f"{ids[1]}.json").rename(room.directory / "taken.json")
    wait_until(lambda: room.stats(agent).unread == 1, "two are read")
    assert {receipt.message_id for receipt in receipts(listening, 2)} == set(ids[:2])
    assert [room.state(message_id) for message_id in ids] == [READ, READ, FILED]
    assert [message.id for message in room.check(agent).messages] == [ids[2]]
    listening.cancel()


def test_a_directory_that_goes_away_is_no_reading_and_all_its_mail_is_filed_again(room: Room) -> None:
    agent = room.new_agent()
    ids = room.fill(agent, 5)
    for path in room.inbox(agent).iterdir():
        path.unlink()
    room.inbox(agent).rmdir()
    wait_until(lambda: room.inbox(agent).exists() and room.filed(agent) == ids, "its files are there again")
    assert room.stats(agent).unread == 5
    wait_until(lambda: not room.get(ids[0]).delivery.inbox_file_error, "that is recorded")
    assert room.state(ids[0]) == FILED


# -- states and receipts ----------------------------------------------------------------------------------------------


def test_a_sender_hears_of_each_step_live_and_on_replay(room: Room) -> None:
    agent, sender = room.new_agent(), room.new_agent()
    live = room.live(sender, include_receipts=True)
    sent = room.send(agent, "x", sender=sender).message.id
    room.check(agent)
    assert [(receipt.message_id, receipt.state) for receipt in receipts(live, 2)] == [(sent, FILED), (sent, OFFERED)]
    room.acknowledge(agent, [sent])
    (read,) = receipts(live, 1)
    assert (read.message_id, read.recipient, read.state) == (sent, agent, READ)
    replay = room.subscribe(sender, include_receipts=True, after_id=sent)
    assert [receipt.state for receipt in receipts(replay, 3)] == [FILED, OFFERED, READ]
    history = room.get(sent)
    assert states_of(history) == [STORED, FILED, OFFERED, READ]
    times = [step.timestamp.ToNanoseconds() for step in history.history]
    assert times == sorted(times)
    for stream in (live, replay):
        stream.cancel()


def test_a_state_never_goes_back(room: Room) -> None:
    agent = room.new_agent()
    sent = room.send(agent, "x").message.id
    room.acknowledge(agent, [sent])
    room.mark_offered(agent, [sent])
    room.check(agent)
    room.acknowledge(agent, [sent])
    assert states_of(room.get(sent)) == [STORED, FILED, READ]


def test_streams_check_inbox_and_mark_offered_offer_mail_and_observers_do_not(room: Room) -> None:
    agent, sender = room.new_agent(), room.new_agent()
    listening = room.live(sender, include_receipts=True)
    first = room.send(agent, "1", sender=sender).message.id
    second = room.send(agent, "2", sender=sender).message.id
    receipts(listening, 2)
    observer = room.subscribe(agent, include_unread=True, observe=True)
    assert len(observer.messages(2)) == 2
    room.check(agent, observe=True)
    room.mark_offered(agent, [second])
    (offered,) = receipts(listening, 1)
    assert (offered.message_id, offered.state) == (second, OFFERED)
    stream = room.subscribe(agent, include_unread=True)
    stream.messages(2)
    (offered,) = receipts(listening, 1)
    assert (offered.message_id, offered.state) == (first, OFFERED)
    for open_stream in (listening, observer, stream):
        open_stream.cancel()


def test_mail_with_a_late_file_is_stored_first_and_its_sender_gets_both_receipts() -> None:
    with running_room(minds_permissions=True) as room:
        room.send("abc", "first")
        listening = room.live("dash", include_receipts=True)
        room.inbox("abc").chmod(0o500)
        sent = room.send("abc", "late", sender="dash")
        assert sent.delivery.state == STORED
        assert receipts(listening, 1)[0].state == STORED
        room.inbox("abc").chmod(0o700)
        (filed,) = receipts(listening, 1)
        assert (filed.message_id, filed.state) == (sent.message.id, FILED)
        assert states_of(room.get(sent.message.id)) == [STORED, FILED]
        listening.cancel()


def test_receipts_outlive_a_restart_and_a_resumed_stream_misses_none() -> None:
    with running_room() as room:
        listening = room.live("dash", include_receipts=True)
        ids = [room.send("abc", "x", sender="dash").message.id for _ in range(20)]
        seen = [receipt.message_id for receipt in receipts(listening, 5)]
        last = int(ids[4], 16) + 1
        room.acknowledge("abc", ids[:10])
        room.kill()
        room.start()
        resumed = room.subscribe("dash", include_receipts=True, after_id=f"{last:016x}")
        rest = receipts(resumed, 15 + 10)
        assert seen + [receipt.message_id for receipt in rest if receipt.state == FILED] == ids
        assert [receipt.message_id for receipt in rest if receipt.state == READ] == ids[:10]
        resumed.cancel()


def test_receipts_outlive_messages_that_are_cleared_away(room: Room) -> None:
    agent, sender = room.new_agent(), room.new_agent()
    before = room.send(room.new_agent()).message.id
    ids = [room.send(agent, "x", sender=sender).message.id for _ in range(3)]
    room.acknowledge(agent, ids[:1])
    room.call("ClearMailbox", pb.ClearMailboxRequest(agent=agent))
    replay = room.subscribe(sender, include_receipts=True, after_id=before)
    assert [(receipt.message_id, receipt.state) for receipt in receipts(replay, 4)] == [
        *((message_id, FILED) for message_id in ids),
        (ids[0], READ),
    ]
    replay.cancel()


# -- time to live and retention ---------------------------------------------------------------------------------------


def test_mail_whose_time_runs_out_leaves_inbox_and_counters_and_its_sender_hears_it(room: Room) -> None:
    agent, sender = room.new_agent(), room.new_agent()
    listening = room.live(sender, include_receipts=True)
    stays = room.send(agent, "stays", sender=sender).message.id
    goes = room.send(agent, "goes", sender=sender, ttl_sec=0.3).message.id
    assert room.stats(agent).unread == 2
    states = [(receipt.message_id, receipt.state) for receipt in receipts(listening, 3)]
    assert states == [(stays, FILED), (goes, FILED), (goes, EXPIRED)]
    assert room.stats(agent).unread == 1
    wait_until(lambda: room.filed(agent) == [stays], "its file is gone")
    assert [message.id for message in room.check(agent).messages] == [stays]
    assert room.state(goes) == EXPIRED
    assert room.acknowledge(agent, [goes]).acknowledged_ids == [goes]
    assert room.state(goes) == EXPIRED
    listening.cancel()


def test_mail_that_expired_while_the_daemon_was_down_is_gone_when_it_is_back() -> None:
    with running_room() as room:
        goes = room.send("abc", "goes", ttl_sec=0.2).message.id
        room.kill()
        room.start()
        wait_until(lambda: room.state(goes) == EXPIRED, "it has expired")
        assert room.stats("abc").unread == 0
        wait_until(lambda: room.filed("abc") == [], "its file is gone")


def test_read_mail_goes_after_its_time_and_unread_mail_never(room: Room) -> None:
    with running_room("--sweep-every", "100ms", "--keep-read", "300ms") as room:
        read = room.fill("abc", 30)
        unread = room.fill("abc", 10)
        room.acknowledge("abc", read)
        wait_until(lambda: room.stats("abc").total == 10, "the read ones are gone")
        assert room.stats("abc").unread == 10
        assert [message.id for message in room.listed("abc")] == unread[::-1]
        assert room.filed("abc") == unread
        assert refusal_of(lambda: room.get(read[0])).reason == "MESSAGE_NOT_FOUND"
        assert [message.id for message in room.listed("abc", query="mail")] == unread[::-1]


# -- clearing, counting, finding --------------------------------------------------------------------------------------


def test_clearing_deletes_a_mailbox_and_its_files_and_nothing_that_comes_later(room: Room) -> None:
    agent, other = room.new_agent(), room.new_agent()
    ids = room.fill(agent, 1200)
    kept = room.send(other, "kept").message.id
    room.acknowledge(agent, ids[:100])
    assert room.call("ClearMailbox", pb.ClearMailboxRequest(agent=agent)).deleted == 1200
    assert (room.stats(agent).total, room.stats(agent).unread, room.filed(agent)) == (0, 0, [])
    assert room.listed(agent) == []
    assert room.check(agent).messages == []
    assert refusal_of(lambda: room.get(ids[0])).reason == "MESSAGE_NOT_FOUND"
    later = room.send(agent, "later").message.id
    assert [message.id for message in room.listed(agent)] == [later]
    assert room.filed(other) == [kept]
    assert room.call("ClearMailbox", pb.ClearMailboxRequest(agent="nobody")).deleted == 0


def test_a_file_that_a_clearing_could_not_remove_goes_at_the_next_start() -> None:
    with running_room() as room:
        room.send("abc", "x")
        directory = room.root / "inbox" / "abc"
        (path,) = directory.iterdir()
        directory.rename(room.root / "aside")
        directory.touch()
        assert room.call("ClearMailbox", pb.ClearMailboxRequest(agent="abc")).deleted == 1
        directory.unlink()
        (room.root / "aside").rename(directory)
        assert path.exists()
        room.kill()
        room.start()
        assert not path.exists()


def test_queue_statistics_count_waiting_files_and_omit_empty_sessions(room: Room) -> None:
    agent, empty = room.new_agent(), room.new_agent()
    room.fill(agent, 3)
    room.acknowledge(empty, [room.send(empty).message.id])
    found = {queue.session_id: queue for queue in room.call("GetQueueStats", pb.GetQueueStatsRequest()).queues}
    assert found[agent].pending_count == 3
    assert found[agent].oldest_age_sec < 60
    assert empty not in found
    (queue,) = room.call("GetQueueStats", pb.GetQueueStatsRequest(session_id=agent)).queues
    assert queue.pending_count == 3


def test_words_find_messages_of_one_mailbox_or_of_all_newest_first(room: Room) -> None:
    agent, other = room.new_agent(), room.new_agent()
    texts = ["the quick brown fox", "a quick test of Käse", "slow brown bread"]
    ids = [room.send(agent, text).message.id for text in texts]
    elsewhere = room.send(other, "quick as well").message.id

    def found(query: str, whose: str = agent) -> list[str]:
        return [message.id for message in room.listed(whose, query=query)]

    assert found("quick") == [ids[1], ids[0]]
    assert found("QUICK brown") == [ids[0]]
    assert found('"brown fox"') == [ids[0]]
    assert found('"fox brown"') == []
    assert found("kase") == [ids[1]]
    assert found("bre*") == [ids[2]]
    assert found("quick", "")[:3] == [elsewhere, ids[1], ids[0]]
    assert found("nothing like it") == []
    assert found('"; DROP TABLE messages') == []


def test_pages_stay_put_while_mail_arrives(room: Room) -> None:
    agent = room.new_agent()
    ids = room.fill(agent, 25)
    pages: list[list[str]] = []
    token = ""
    while True:
        page = room.page(agent, page_size=10, page_token=token)
        pages.append([message.id for message in page.messages])
        room.send(agent, "meanwhile")
        token = page.next_page_token
        if not token:
            break
    assert [message_id for page in pages for message_id in page] == ids[::-1]


# -- names that last --------------------------------------------------------------------------------------------------


def set_alias(room: Room, agent: str, session: str, ttl_sec: float | None = None) -> pb.SetAliasResponse:
    ttl = None if ttl_sec is None else duration(ttl_sec)
    return room.call("SetAlias", pb.SetAliasRequest(agent=agent, session=session, ttl=ttl))


def test_mail_for_a_session_goes_to_its_agent_and_both_names_read_it(room: Room) -> None:
    agent, session = room.new_agent(), room.new_agent()
    early = room.send(session, "before the alias").message.id
    live = room.live(session)
    set_alias(room, agent, session)
    sent = room.send(session, "behind it")
    assert sent.message.recipient == agent
    assert room.filed(agent) == [sent.message.id]
    for name in (agent, session):
        assert [message.id for message in room.check(name, observe=True).messages] == [early, sent.message.id]
        assert [message.id for message in room.listed(name)] == [sent.message.id, early]
    assert [message.id for message in live.messages(1)] == [sent.message.id]
    assert room.acknowledge(session, [early, sent.message.id]).acknowledged_ids == [sent.message.id, early]
    assert room.stats(session).unread == 0
    live.cancel()


def test_an_alias_ends_by_its_time_or_by_saying_so_and_survives_a_restart() -> None:
    with running_room() as room:
        set_alias(room, "bob", "s-1")
        set_alias(room, "bob", "s-2", 0.3)
        set_alias(room, "bob", "s-3")
        assert not set_alias(room, "bob", "s-3", 0).HasField("expires_at")
        assert room.send("s-3").message.recipient == "s-3"
        room.kill()
        room.start()
        assert room.send("s-1").message.recipient == "bob"
        wait_until(lambda: room.send("s-2").message.recipient == "s-2", "the alias is over")


def test_an_alias_never_leads_to_another(room: Room) -> None:
    agent, session, third = room.new_agent(), room.new_agent(), room.new_agent()
    set_alias(room, agent, session)
    assert refusal_of(lambda: set_alias(room, session, third)).reason == "ALIAS_CONFLICT"
    assert refusal_of(lambda: set_alias(room, third, agent)).reason == "ALIAS_CONFLICT"
    assert refusal_of(lambda: set_alias(room, agent, agent)).reason == "OPTIONS_CONFLICT"
    assert refusal_of(lambda: set_alias(room, agent, "../x")).reason == "SESSION_INVALID"


def test_a_repeated_send_to_a_session_is_recognized_after_an_alias_was_set(room: Room) -> None:
    agent, session = room.new_agent(), room.new_agent()
    first = room.send(session, "once", idempotency_key="k1").message
    set_alias(room, agent, session)
    assert room.send(session, "once", idempotency_key="k1").message.id == first.id
    second = room.send(session, "twice", idempotency_key="k2").message
    assert room.send(session, "twice", idempotency_key="k2").message.id == second.id


def test_a_repeated_send_names_the_mailbox_of_the_message_after_alias_changes(
    room: Room,
) -> None:
    agent, other, session = (room.new_agent() for _ in range(3))
    for behind, ttl_sec in ((agent, None), (other, None), (other, 0)):
        set_alias(room, behind, session, ttl_sec)
        answer = room.send(session, "once", idempotency_key=f"{session}-1").message
        assert answer.recipient == agent
    first = room.send(session, "at home", idempotency_key=f"{session}-2").message
    set_alias(room, agent, session)
    again = room.send(session, "at home", idempotency_key=f"{session}-2").message
    assert first.recipient == again.recipient == session


def test_an_agent_that_reports_what_it_was_handed_has_been_here(room: Room) -> None:
    agent = room.new_agent()
    sent = room.send(agent, "x").message.id
    assert not room.get(sent).delivery.recipient_known
    room.mark_offered(agent, [sent])
    assert room.get(sent).delivery.recipient_known


def test_who_is_there_is_listed_with_its_sessions(room: Room) -> None:
    agent, session, written_to = room.new_agent(), room.new_agent(), room.new_agent()
    set_alias(room, agent, session)
    stream = room.live(session)
    sent = room.send(written_to, "hello", sender=agent)
    assert not sent.delivery.recipient_known
    found = {agent.name: agent for agent in room.call("ListAgents", pb.ListAgentsRequest()).agents}
    assert (found[agent].alive, found[agent].subscribers, list(found[agent].sessions)) == (True, 1, [session])
    assert session not in found
    assert written_to not in found
    names: list[str] = []
    token = ""
    while True:
        page = room.call("ListAgents", pb.ListAgentsRequest(page_size=3, page_token=token))
        names += [agent.name for agent in page.agents]
        token = page.next_page_token
        if not token:
            break
    assert names == sorted(found)
    stream.cancel()
