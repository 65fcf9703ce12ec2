"""The command line as people and scripts use it, in a process of its own against a fake daemon."""

import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import grpc
import orjson
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.fakes.scenes import InThread, in_thread
from support.fakes.scripted import Refusal, StreamEnd
from support.harness.command_line import BOUND_SEC, cli, command, environment, lines_of

pytestmark = pytest.mark.slow

HOSTILE = "\x1b[2Jgone [bold]not markup[/bold]\r\nline two \u202etxt.exe\x07"


@pytest.fixture
def fake(tmp_path: Path) -> Generator[InThread, None, None]:
    with in_thread(tmp_path) as daemon:
        yield daemon


def watching(address: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command("watch", *arguments), env=environment(address), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_send_prints_one_line_and_warns_of_an_unknown_recipient(fake: InThread) -> None:
    fake.do(lambda daemon: daemon.known.update({"reviewer"}) or daemon.deliver("reviewer", "x"))
    done = cli(fake.address, "send", "reviewr", "go")
    message = fake.do(lambda daemon: list(daemon.messages.values())[-1])
    assert done.stdout.decode().split("  ") == [message.id, "filed", "recipient unknown\n"]
    assert 'Unknown recipient "reviewr"' in done.stderr.decode()
    assert "Did you mean reviewer?" in done.stderr.decode()
    assert (done.returncode, message.sender, message.content) == (0, "ana-b", "go")


def test_send_accepts_every_option_and_prints_json(fake: InThread) -> None:
    fake.do(lambda daemon: daemon.known.add("abc"))
    options = ["--from", "me", "--type", "note", "--thread", "t", "--reply-to", "00aa", "--priority", "urgent"]
    more = ["--ttl", "1h30m", "--reply-by", "2h", "--metadata", '{"task": 7}', "--key", "k", "--json"]
    done = cli(fake.address, "send", "abc", "go", *options, *more)
    [sent] = lines_of(done.stdout)
    [request] = fake.do(lambda daemon: daemon.requests["SendMessage"])
    assert done.stderr == b""
    assert (request.ttl.seconds, request.idempotency_key) == (5400, "k")
    assert 7000 < request.reply_by.seconds - time.time() <= 7200
    message = sent["message"]
    assert (message["sender"], message["type"], message["thread_id"], message["in_reply_to"], message["priority"]) == (
        "me",
        "note",
        "t",
        "00aa",
        "urgent",
    )
    assert message["metadata"] == {"task": 7}
    assert sent["delivery"] == {
        "state": "filed",
        "inbox_file_error": None,
        "reason": None,
        "also_at": [],
        "team_inbox_error": None,
        "subscribers": 0,
        "recipient_known": True,
        "recipient_last_seen": None,
    }


@pytest.mark.parametrize("arguments", [("-",), ()])
def test_send_reads_stdin_exactly(fake: InThread, arguments: Sequence[str]) -> None:
    fake.do(lambda daemon: setattr(daemon, "inbox_file_error", "disk \x1b full"))
    done = cli(
        fake.address, "send", "abc", *arguments, stdin="zwei\nZeilen ü\n".encode(), extra={"MAILROOM_AGENT": "bot"}
    )
    message = fake.do(lambda daemon: next(iter(daemon.messages.values())))
    assert (message.content, message.sender) == ("zwei\nZeilen ü\n", "bot")
    assert "stored  recipient unknown  inbox file not written yet: disk \\x1b full" in done.stdout.decode()


def test_missing_or_empty_content_is_a_usage_error_without_allow_empty(fake: InThread) -> None:
    refused = cli(fake.address, "send", "abc")
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert "nothing to send" in refused.stderr.decode()
    closed = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m mailroom_apps send abc <&-"],
        env=environment(fake.address),
        capture_output=True,
        timeout=BOUND_SEC,
        check=False,
    )
    assert (closed.returncode, "nothing to send" in closed.stderr.decode()) == (2, True)
    assert not fake.do(lambda daemon: daemon.requests["SendMessage"])
    assert [cli(fake.address, "send", "abc", text).returncode for text in ("", "-")] == [2, 2]
    assert not fake.do(lambda daemon: daemon.requests["SendMessage"])
    assert [cli(fake.address, "send", "abc", text, "--allow-empty").returncode for text in ("", "-")] == [0, 0]
    assert fake.do(lambda daemon: [message.content for message in daemon.messages.values()]) == ["", ""]


def test_an_empty_sender_is_sent_unchanged(fake: InThread) -> None:
    refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "SENDER_INVALID", "sender is empty")
    fake.do(lambda daemon: daemon.refuse("SendMessage", refusal))
    done = cli(fake.address, "send", "abc", "hi", "--from", "", extra={"MAILROOM_AGENT": "bot"})
    assert (done.returncode, done.stderr) == (1, b"mailroom: sender is empty\n")
    assert fake.do(lambda daemon: [request.sender for request in daemon.requests["SendMessage"]]) == [""]


@pytest.mark.parametrize("arguments", [("--address", "bogus", "stats"), ("stats", "--address", "bogus")])
def test_an_invalid_address_names_its_source(arguments: Sequence[str]) -> None:
    done = cli("unix:/nowhere.sock", *arguments)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"'bogus' is not a valid address" in done.stderr
    assert b"MAILROOM_ADDRESS" not in done.stderr
    assert b"MAILROOM_ADDRESS: 'wrong' is not a valid address" in cli("wrong", "stats").stderr


def test_stats_of_an_unknown_agent_are_empty(fake: InThread) -> None:
    done = cli(fake.address, "stats", "nobody")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"mailroom: no mailbox of nobody yet\n")
    [row] = lines_of(cli(fake.address, "stats", "nobody", "--json").stdout)
    assert (row["agent_id"], row["total"], row["last_seen"]) == ("nobody", 0, None)
    fake.do(lambda daemon: daemon.known.add("reader"))
    assert b"reader" in cli(fake.address, "stats", "reader").stdout


@pytest.mark.parametrize(
    "arguments", [("--all", "--unread"), ("abc", "--all"), ("abc", "--unread", "--after", ""), ("abc", "--recipts")]
)
def test_contradictory_options_of_watch_are_usage_errors(fake: InThread, arguments: Sequence[str]) -> None:
    done = cli(fake.address, "watch", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert not fake.do(lambda daemon: daemon.requests)


def test_a_refusal_is_one_sentence_and_exit_code_1(fake: InThread) -> None:
    refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "RECIPIENT_INVALID", "recipient: '../x' is no name\x1b")
    fake.do(lambda daemon: daemon.refuse("SendMessage", refusal))
    done = cli(fake.address, "send", "../x", "go")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"mailroom: recipient: '../x' is no name\\x1b\n"


def test_a_mistyped_command_is_exit_code_2_with_a_suggestion() -> None:
    done = cli("unix:/nowhere.sock", "sedn", "abc")
    assert done.returncode == 2
    assert "Did you mean 'send'?" in done.stderr.decode()


def test_a_missing_daemon_is_exit_code_69_with_instructions(tmp_path: Path) -> None:
    done = cli(f"unix:{tmp_path}/none.sock", "send", "abc", "go")
    assert (done.returncode, done.stdout) == (69, b"")
    assert f"{tmp_path}/none.sock" in done.stderr.decode()
    assert "systemctl --user start mailroomd" in done.stderr.decode()


def test_inbox_escapes_hostile_messages(fake: InThread) -> None:
    fake.do(lambda daemon: daemon.deliver("abc", HOSTILE, priority=pb.PRIORITY_HIGH, thread_id="\x1b"))
    done = cli(fake.address, "inbox", "abc", "--observe")
    header, *content = done.stdout.decode().split("\n")
    assert header.endswith("dashboard (unverified) -> abc  priority high  thread \\x1b")
    assert content == ["  \\x1b[2Jgone [bold]not markup[/bold]\\r", "  line two \\u202etxt.exe\\x07", ""]
    [request] = fake.do(lambda daemon: daemon.requests["CheckInbox"])
    assert request.observe


def test_inbox_as_json_prints_one_unchanged_message_per_line(fake: InThread) -> None:
    ids = fake.do(lambda daemon: [daemon.deliver("abc", text) for text in (HOSTILE, "two", "three")])
    done = cli(fake.address, "inbox", "abc", "--limit", "2", "--json")
    assert [(message["id"], message["content"]) for message in lines_of(done.stdout)] == [
        (ids[0], HOSTILE),
        (ids[1], "two"),
    ]
    assert b"there are more unread messages" in done.stderr


def test_inbox_waits_for_the_first_message(fake: InThread) -> None:
    with subprocess.Popen(
        command("inbox", "abc", "--wait", "8s", "--json"), env=environment(fake.address), stdout=subprocess.PIPE
    ) as process:
        fake.wait_until(lambda daemon: bool(daemon.requests["CheckInbox"]))
        fake.do(lambda daemon: daemon.deliver("abc", "at last"))
        stdout, _ = process.communicate(timeout=BOUND_SEC)
    assert [message["content"] for message in lines_of(stdout)] == ["at last"]


def test_ack_marks_ids_or_all_messages_as_read(fake: InThread) -> None:
    ids = fake.do(lambda daemon: [daemon.deliver("abc", str(number)) for number in range(4)])
    assert cli(fake.address, "ack", "abc", ids[0]).stdout == b"1 acknowledged\n"
    some = cli(fake.address, "ack", "abc", ids[1], "00", "--json")
    assert (some.returncode, lines_of(some.stdout)) == (1, [{"acknowledged_ids": [ids[1]], "unknown_ids": ["00"]}])
    assert b"no message 00" in some.stderr
    assert cli(fake.address, "ack", "abc", "--all").stdout == b"2 acknowledged\n"
    assert fake.do(lambda daemon: all(message.read for message in daemon.messages.values()))


def test_stats_and_status_are_aligned_text_or_json(fake: InThread) -> None:
    fake.do(lambda daemon: [daemon.deliver("abc", "x"), daemon.deliver("a-long-name", "y"), daemon.deliver("abc", "z")])
    table = cli(fake.address, "stats").stdout.decode().splitlines()
    assert [line.split()[:3] for line in table] == [
        ["AGENT", "UNREAD", "TOTAL"],
        ["a-long-name", "1", "1"],
        ["abc", "2", "2"],
    ]
    assert table[1].index("1") == table[0].index("UNREAD")
    [stats] = lines_of(cli(fake.address, "stats", "abc", "--json").stdout)
    assert (stats["agent_id"], stats["unread"]) == ("abc", 2)
    status = cli(fake.address, "status").stdout.decode()
    assert status.startswith(f"mailroomd 9.9.9  serving  {fake.address}\n")
    assert "command-queue  running" in status
    [status] = lines_of(cli("unix:/nowhere.sock", "--address", fake.address, "status", "--json").stdout)
    assert (status["health"], len(status["workers"])) == ("serving", 3)


def test_watch_shows_messages_through_a_restart_and_ends_on_ctrl_c(fake: InThread) -> None:
    fake.do(lambda daemon: daemon.stream_ends.append((3, StreamEnd.GOING_AWAY)))
    fake.do(lambda daemon: daemon.deliver("abc", "unread"))
    with watching(fake.address, "abc", "--unread", "--json") as process:
        assert process.stdout is not None
        shown = [orjson.loads(process.stdout.readline())]
        fake.do(lambda daemon: daemon.deliver("abc", HOSTILE))
        shown.append(orjson.loads(process.stdout.readline()))
        fake.wait_until(lambda daemon: len(daemon.requests["Subscribe"]) == 2)
        fake.do(lambda daemon: daemon.deliver("abc", "after the restart"))
        shown.append(orjson.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=BOUND_SEC)
    assert [event["content"] for event in shown] == ["unread", HOSTILE, "after the restart"]
    assert {event["event"] for event in shown} == {"message"}
    assert process.returncode == 130
    assert "connection lost" in stderr.decode()
    assert "reconnected" in stderr.decode()
    assert "Traceback" not in stderr.decode()


def test_watch_says_when_events_were_deleted_before_it_could_show_them(fake: InThread) -> None:
    fake.do(lambda daemon: setattr(daemon, "has_gap", True))
    with watching(fake.address, "abc", "--after", "0" * 16) as process:
        assert process.stderr is not None
        assert "some earlier events are missing" in process.stderr.readline().decode()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=BOUND_SEC)


def test_watch_all_shows_receipts_and_responses_as_text(fake: InThread) -> None:
    with watching(fake.address, "--all", "--after", "0" * 16) as process:
        assert process.stdout is not None
        fake.do(lambda daemon: daemon.mark_read(daemon.deliver("abc", "go\x1b")))
        fake.do(lambda daemon: daemon.respond("xyz", {"done": "\u202e"}))
        lines = [process.stdout.readline().decode().rstrip("\n") for _ in range(5)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=BOUND_SEC)
    assert lines[0].endswith("dashboard (unverified) -> abc")
    assert lines[1] == "  go\\x1b"
    assert lines[2].endswith("abc  read")
    assert lines[3].endswith("xyz left answer.json")
    assert lines[4] == '  {"done":"\\u202e"}'


def test_watch_ends_quietly_when_its_reader_goes_away(fake: InThread) -> None:
    with watching(fake.address, "abc", "--unread") as process:
        fake.do(lambda daemon: daemon.deliver("abc", "one"))
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        _, stderr = process.communicate(timeout=BOUND_SEC)
    assert (process.returncode, stderr) == (0, b"")


def test_a_broken_pipe_is_not_an_error(fake: InThread) -> None:
    fake.do(lambda daemon: [daemon.deliver("abc", "x" * 10_000) for _ in range(40)])
    script = f"{sys.executable} -m mailroom_apps inbox abc --json | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], env=environment(fake.address), capture_output=True, timeout=BOUND_SEC, check=True
    )
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_the_shell_completes_agent_names(fake: InThread) -> None:
    fake.do(lambda daemon: [daemon.deliver(name, "x") for name in ("alpha", "alp", "beta")])
    completion: dict[str, str] = {
        "_MAILROOM_COMPLETE": "complete_bash",
        "COMP_WORDS": "mailroom inbox al",
        "COMP_CWORD": "2",
    }
    assert cli(fake.address, extra=completion).stdout.split() == [b"alp", b"alpha"]


def test_version_needs_no_daemon() -> None:
    assert cli("unix:/nowhere.sock", "--version").stdout.startswith(b"mailroom")
