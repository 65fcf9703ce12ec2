"""The commands for mailboxes, threads and agents, against a fake daemon."""

import re
import subprocess
import sys
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Protocol

import grpc
import pytest
from support.fakes.scenes import InThread, in_thread
from support.fakes.scripted import Refusal, StreamEnd
from support.harness.command_line import BOUND_SEC, Done, command, environment, run_here


class Run(Protocol):
    def __call__(self, *arguments: str, stdin: str = "", extra: dict[str, str] | None = None) -> Done: ...


@pytest.fixture
def fake(tmp_path: Path) -> Generator[InThread, None, None]:
    with in_thread(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def run(fake: InThread) -> Run:
    return partial(run_here, fake.address)


def last_message(fake: InThread) -> tuple[str, str, str, str]:
    message = fake.do(lambda daemon: list(daemon.messages.values())[-1])
    return message.sender, message.recipient, message.content, message.in_reply_to


def test_broadcast_shows_each_copy_and_fails_if_one_failed(fake: InThread, run: Run) -> None:
    fake.do(lambda daemon: daemon.known.add("bob"))
    done = run("broadcast", "lunch", "bob", ".x", "carl")
    assert done.code == 1
    bob, bad, carl = done.rows
    assert (bob[0], bob[2:]) == ("bob", ["filed"])
    assert bad[:3] == [".x", "-", "not sent"]
    assert carl[-1] == "unknown recipient"
    assert [line["recipient"] for line in run("broadcast", "lunch", "bob", "--json").json] == ["bob"]


def test_an_empty_content_needs_allow_empty(fake: InThread, run: Run) -> None:
    question = fake.do(lambda daemon: daemon.deliver("bob", "?", sender="ana"))
    for words in (["send", "bob", ""], ["broadcast", "", "bob"], ["reply", question, ""], ["reply", question]):
        refused = run(*words)
        assert (refused.code, "--allow-empty" in refused.err) == (2, True)
        assert run(*words, "--allow-empty").code == 0


@pytest.mark.parametrize("text", ["- item", "--", "-5", "--verbose", "-rf /", "—", "-\n- b"])
def test_text_that_starts_with_a_dash_is_sent_behind_two_dashes(fake: InThread, run: Run, text: str) -> None:
    assert run("send", "bob", "--", text).code == 0
    assert last_message(fake)[2] == text


def test_broadcast_to_all_alive_skips_the_sender_and_inactive_agents(fake: InThread, run: Run) -> None:
    fake.do(lambda daemon: daemon.known.update({"ana", "bob", "carl", "me"}) or daemon.asleep.add("carl"))
    assert [row[0] for row in run("broadcast", "-", "--all-alive", "--from", "me", stdin="hi").rows] == ["ana", "bob"]
    assert last_message(fake)[2] == "hi"
    assert run("broadcast", "hi").code == 2
    assert run("broadcast", "hi", "bob", "--all-alive").code == 2


def test_broadcast_without_live_agents_sends_nothing(run: Run) -> None:
    done = run("broadcast", "hi", "--all-alive")
    assert (done.code, done.out, done.err) == (0, "", "mailroom: no agent is alive; nothing was sent\n")


def test_a_reply_goes_to_the_sender_in_the_thread_under_the_name_it_was_sent_to(fake: InThread, run: Run) -> None:
    question = fake.do(lambda daemon: daemon.deliver("bob", "?", sender="ana", thread_id="t"))
    assert run("reply", question, "!").code == 0
    assert last_message(fake) == ("bob", "ana", "!", question)
    assert fake.do(lambda daemon: list(daemon.messages.values())[-1].thread_id) == "t"
    assert not fake.do(lambda daemon: daemon.messages[question].read)
    assert run("reply", question, "--ack", stdin="piped", extra={"MAILROOM_AGENT": "robert"}).code == 0
    assert last_message(fake) == ("robert", "ana", "piped", question)
    assert fake.do(lambda daemon: daemon.messages[question].read)


def test_a_reply_to_an_unknown_message_is_one_sentence(run: Run) -> None:
    done = run("reply", "00aa", "hi")
    assert (done.code, done.out, done.err) == (1, "", "mailroom: there is no message 00aa\n")


def test_show_has_metadata_expiry_and_history(fake: InThread, run: Run) -> None:
    run("send", "bob", "line one\nline two", "--metadata", '{"task": "\\u001b"}', "--ttl", "1h", "--reply-by", "2h")
    [name] = fake.do(lambda daemon: list(daemon.messages))
    shown = run("show", name).out
    assert "ana-b (unverified) -> bob" in shown
    assert "  line one\n  line two\n" in shown
    assert '"task": "\\u001b"' in shown
    assert "expires: " in shown
    assert re.search(r"^20.* bob  answer by 20..-", shown)
    assert re.search(r"^STATE +WHEN\nfiled +20..-", shown, re.MULTILINE)
    [line] = run("show", name, "--json").json
    assert [receipt["state"] for receipt in line["history"]] == ["filed"]


def test_list_is_newest_first_and_continues_with_a_page_token(fake: InThread, run: Run) -> None:
    ids = fake.do(lambda daemon: [daemon.deliver("bob", f"number {n}\nmore") for n in range(5)])[::-1]
    first = run("list", "bob", "--limit", "2")
    assert [row[0] for row in first.rows] == ids[:2]
    assert first.rows[0][-1] == "number 4…"
    [token] = re.findall(r"--page (\w+),", first.err)
    rest = run("list", "bob", "--page", token, "--json")
    assert [line["id"] for line in rest.json] == ids[2:]
    assert rest.err == ""


@pytest.mark.parametrize("words", [["inbox", "bob"], ["list", "bob"], ["search", "hi"], ["show"], ["wait", "bob"]])
@pytest.mark.parametrize("verified", [True, False])
def test_every_command_marks_unverified_senders(fake: InThread, run: Run, words: list[str], verified: bool) -> None:
    name = fake.do(lambda daemon: daemon.deliver("bob", "hi", sender="eve", sender_verified=verified))
    shown = run(*words, *([name] if words == ["show"] else [])).out
    assert ("eve (unverified)" in shown) is not verified


def test_list_filters_and_reports_an_empty_result(fake: InThread, run: Run) -> None:
    fake.do(lambda daemon: daemon.mark_read(daemon.deliver("bob", "old", thread_id="t")))
    wanted = fake.do(lambda daemon: daemon.deliver("bob", "new", thread_id="t"))
    fake.do(lambda daemon: daemon.deliver("bob", "other"))
    assert [row[0] for row in run("list", "bob", "--unread", "--thread", "t").rows] == [wanted]
    assert run("list", "carl", "--unread").err == "mailroom: no unread messages for carl\n"
    sent = fake.do(lambda daemon: daemon.deliver("bob", "by eve", sender="eve"))
    assert [row[0] for row in run("list", "bob", "--from", "eve").rows] == [sent]
    assert [row[0] for row in run("list", "bob", "--from", "eve", "--state", "read").rows] == []
    assert run("list", "bob", "--state", "gone").code == 2


def test_who_acknowledged_in_an_agents_place_is_shown(fake: InThread, run: Run) -> None:
    message_id = fake.do(lambda daemon: daemon.deliver("bob", "x"))
    assert run("ack", "bob", message_id, "--by", "ops").out == "1 acknowledged\n"
    assert fake.do(lambda daemon: daemon.requests["AcknowledgeMessages"][-1].by) == "ops"
    assert "read (by ops)" in run("receipts", "dashboard").out


def test_why_a_message_was_returned_is_shown(fake: InThread, run: Run) -> None:
    message_id = fake.do(lambda daemon: daemon.deliver("bob:far", "x"))
    fake.do(lambda daemon: daemon.give_back(message_id, "MAILBOX_FULL: bob\x1b is full"))
    assert "returned: MAILBOX_FULL: bob\\x1b is full" in run("receipts", "dashboard").out


def test_search_covers_every_mailbox_or_one(fake: InThread, run: Run) -> None:
    first, second = fake.do(lambda daemon: [daemon.deliver(name, "build is red") for name in ("bob", "carl")])
    assert [row[0] for row in run("search", "red build").rows] == [second, first]
    assert [line["id"] for line in run("search", "red", "--agent", "bob", "--json").json] == [first]
    assert run("search", "green").err == "mailroom: no matching messages\n"
    assert run("search", " ").code == 2
    assert "repeat the command with --page" in run("search", "red", "--limit", "1").err


def test_wait_shows_an_existing_message_at_once_and_marks_nothing(fake: InThread, run: Run) -> None:
    name = fake.do(lambda daemon: daemon.deliver("bob", "hi"))
    assert [line["id"] for line in run("wait", "bob", "--json").json] == [name]
    [request] = fake.do(lambda daemon: daemon.requests["Subscribe"])
    assert request.observe
    assert "hi" in run("wait", "bob", "--timeout", "0").out


def test_wait_exits_with_1_if_no_message_arrives(run: Run) -> None:
    timed_out = run("wait", "bob", "--timeout", "300ms")
    assert (timed_out.code, timed_out.out, timed_out.err) == (
        1,
        "",
        "mailroom: no message for bob within the timeout\n",
    )
    looked = run("wait", "bob", "--timeout", "0")
    assert (looked.code, looked.err) == (1, "mailroom: no unread messages for bob\n")


def test_wait_survives_a_restart_and_does_not_poll(fake: InThread) -> None:
    fake.do(lambda daemon: daemon.stream_ends.append((1, StreamEnd.GOING_AWAY)))
    waiting = command("wait", "bob", "--timeout", "9s")
    with subprocess.Popen(waiting, env=environment(fake.address), stdout=subprocess.PIPE) as process:
        fake.wait_until(lambda daemon: len(daemon.requests["Subscribe"]) == 2 and daemon.open_streams == 1)
        fake.do(lambda daemon: daemon.deliver("bob", "at last"))
        out, _ = process.communicate(timeout=BOUND_SEC)
    assert process.returncode == 0
    assert b"at last" in out
    assert fake.do(lambda daemon: {rpc for rpc, requests in daemon.requests.items() if requests}) == {"Subscribe"}


def test_clear_requires_yes_without_a_terminal(fake: InThread, run: Run) -> None:
    fake.do(lambda daemon: [daemon.deliver("bob", "x") for _ in range(3)])
    refused = run("clear", "bob")
    assert (refused.code, refused.out) == (2, "")
    assert "--yes" in refused.err
    assert fake.do(lambda daemon: len(daemon.messages)) == 3
    assert run("clear", "bob", "--yes").out == "3 deleted\n"
    assert run("clear", "bob", "-y", "--json").json == [{"agent": "bob", "deleted": 0}]
    assert run("clear", "bob", "-y", "--by", "ops").code == 0
    assert fake.do(lambda daemon: [request.by for request in daemon.requests["ClearMailbox"]]) == ["", "", "ops"]


@pytest.mark.parametrize(("answer", "left"), [("n", 1), ("y", 0)])
def test_clear_in_a_terminal_asks_and_obeys_the_answer(fake: InThread, answer: str, left: int) -> None:
    fake.do(lambda daemon: daemon.deliver("bob", "x"))
    script = f"{sys.executable} -m mailroom_apps clear bob"
    done = subprocess.run(
        ["script", "-qec", script, "/dev/null"],
        env=environment(fake.address),
        input=f"{answer}\n".encode(),
        capture_output=True,
        timeout=BOUND_SEC,
        check=False,
    )
    assert b"Delete all 1 messages of bob (1 unread)?" in done.stdout
    assert fake.do(lambda daemon: len(daemon.messages)) == left


def test_queues_and_agents_are_tables_or_json(fake: InThread, run: Run) -> None:
    assert run("queues").err == "mailroom: no pending files\n"
    assert run("agents", "--alive").err == "mailroom: no agent is alive\n"
    fake.do(lambda daemon: daemon.known.update({"ana", "bob", "carl"}) or daemon.asleep.add("carl"))
    fake.do(lambda daemon: daemon.deliver("bob", "x") and daemon.aliases.update({"s-1": "bob", "s-2": "bob"}))
    assert run("queues").rows == [["bob", "1", "1m"]]
    assert run("queues", "bob", "--json").json == [{"session_id": "bob", "pending_count": 1, "oldest_age_sec": 60}]
    assert [row[:2] for row in run("agents").rows] == [["ana", "yes"], ["bob", "yes"], ["carl", "no"]]
    assert run("agents").rows[1][-1] == "s-1, s-2"
    assert [line["name"] for line in run("agents", "--alive", "--json").json] == ["ana", "bob"]


def test_agents_of_other_hosts_are_listed_and_named_to_who_writes_to_a_stranger(fake: InThread, run: Run) -> None:
    assert run("agents", "--hub").err == "mailroom: no agent of another host is known\n"
    fake.do(lambda daemon: daemon.known.add("ana") or daemon.elsewhere.update({"bob:build7", "bob:laptop"}))
    assert [line["name"] for line in run("agents", "--hub", "--json").json] == ["bob:build7", "bob:laptop"]
    assert [row[:2] for row in run("agents", "--hub").rows] == [["bob:build7", "yes"], ["bob:laptop", "yes"]]
    note = run("send", "bob", "hello", "--from", "ana").err
    assert "An agent of this name is on another host: bob:build7 or bob:laptop." in note
    assert "this host is here, connected; 2 other hosts, 2,400 messages wait for them" in run("status").out


def test_an_alias_is_set_and_ended(fake: InThread, run: Run) -> None:
    assert re.fullmatch(r"s-1 is an alias of bob until 20..-.*\n", run("alias", "bob", "s-1", "--ttl", "2h").out)
    assert fake.do(lambda daemon: daemon.requests["SetAlias"][0].ttl.seconds) == 7200
    assert fake.do(lambda daemon: daemon.aliases) == {"s-1": "bob"}
    assert run("alias", "bob", "s-1", "--end").out == "s-1 is no longer an alias of bob\n"
    assert fake.do(lambda daemon: daemon.aliases) == {}
    assert run("alias", "bob", "s-1", "--end", "--ttl", "1h").code == 2
    assert run("alias", "bob", "s-1", "--ttl", "0").code == 2


def test_receipts_shows_only_the_senders_own_and_ends_at_the_present(fake: InThread, run: Run) -> None:
    sent = fake.do(lambda daemon: daemon.deliver("bob", "x", sender="ana"))
    fake.do(lambda daemon: daemon.mark_read(sent))
    fake.do(lambda daemon: daemon.mark_read(daemon.deliver("carl", "x", sender="bob")))
    shown = run("receipts", "ana")
    assert re.fullmatch(rf"20.*  {sent}  bob  read\n", shown.out)
    assert [line["state"] for line in run("receipts", "ana", "--json").json] == ["read"]
    assert run("receipts", "carl").err == "mailroom: no receipts for carl\n"


def test_watch_shows_receipts_on_request(fake: InThread) -> None:
    sent = fake.do(lambda daemon: daemon.deliver("bob", "x", sender="ana"))
    watching = command("watch", "ana", "--receipts", "--after", sent)
    with subprocess.Popen(watching, env=environment(fake.address), stdout=subprocess.PIPE) as process:
        fake.do(lambda daemon: daemon.mark_read(sent))
        assert process.stdout is not None
        assert process.stdout.readline().decode().endswith(f"{sent}  bob  read\n")
        process.terminate()


def test_a_call_that_the_daemon_does_not_know_is_explained(fake: InThread, run: Run) -> None:
    fake.do(
        lambda daemon: daemon.refuse("GetQueueStats", Refusal(grpc.StatusCode.UNIMPLEMENTED, "", "Method not found!"))
    )
    done = run("queues")
    assert (done.code, done.out) == (1, "")
    assert "it is older than this client" in done.err


@pytest.mark.parametrize("typed", ["ack bob ", "show ", "reply "])
def test_the_shell_completes_message_ids(fake: InThread, run: Run, typed: str) -> None:
    name = fake.do(lambda daemon: daemon.deliver("bob", "hello"))
    fake.do(lambda daemon: daemon.known.add("bob"))
    completion = {"_MAILROOM_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": f"mailroom {typed}{name[:4]}"}
    shown = run(extra=completion).out
    assert name in shown
    assert f'"{name}":"dashboard, hello"' in shown
