"""The command line and the SDK's bulk and mailbox calls with a real daemon."""

import re
import signal
import subprocess
from pathlib import Path

from mailroom import Draft, Mailroom
from support.harness.command_line import BOUND_SEC, Done, command, environment, run_here
from support.harness.daemon import Daemon
from support.harness.waiting import wait_until


def connections(daemon: Daemon) -> int:
    """How many clients are connected to the daemon's socket."""
    directory, connected = Path(daemon.address.removeprefix("unix:")).parent, " 03 "
    sockets = Path("/proc/net/unix").read_text().splitlines()  # they have the names that were bound, not renamed ones
    return len([line for line in sockets if f" {directory}/" in line and connected in line])


def run(daemon: Daemon, *arguments: str) -> Done:
    return run_here(daemon.address, *arguments)


def test_a_conversation_is_sent_shown_answered_found_and_cleared(daemon: Daemon) -> None:
    [question] = run(daemon, "send", "bob", "is the build green?", "--from", "ana", "--thread", "t", "--json").json
    name = question["message"]["id"]
    assert run(daemon, "wait", "bob", "--timeout", "0", "--json").json[0]["id"] == name
    assert [row[0] for row in run(daemon, "search", "green build", "--agent", "bob").rows] == [name]
    assert run(daemon, "reply", name, "it is", "--ack").code == 0
    history = [receipt["state"] for receipt in run(daemon, "show", name, "--json").json[0]["history"]]
    assert (history[0], history[-1]) == ("stored", "read")
    [answer] = run(daemon, "list", "ana", "--thread", "t", "--json").json
    assert (answer["content"], answer["in_reply_to"], answer["sender"]) == ("it is", name, "bob")
    assert re.search(rf"{name}  bob  read\n", run(daemon, "receipts", "ana").out)
    assert run(daemon, "queues", "ana").rows[0][:2] == ["ana", "1"]
    assert run(daemon, "clear", "ana", "--yes").out == "1 deleted\n"
    assert run(daemon, "queues", "ana").out == ""
    assert list((daemon.inbox / "ana").iterdir()) == []


def test_an_alias_delivers_to_the_agent_while_it_lasts(daemon: Daemon) -> None:
    assert run(daemon, "alias", "dora", "session-1").code == 0
    run(daemon, "inbox", "dora")
    run(daemon, "send", "session-1", "to whom it may concern")
    assert [line["recipient"] for line in run(daemon, "list", "dora", "--json").json] == ["dora"]
    [dora] = [line for line in run(daemon, "agents", "--alive", "--json").json if line["name"] == "dora"]
    assert dora["sessions"] == ["session-1"]
    assert run(daemon, "alias", "dora", "session-1", "--end").code == 0
    run(daemon, "send", "session-1", "to a stranger")
    assert len(run(daemon, "list", "dora", "--json").json) == 1


def test_a_bulk_send_survives_a_gateway_restart_without_loss_or_duplicates(daemon: Daemon) -> None:
    contents = [str(number) for number in range(3000)]
    with Mailroom(daemon.address, sender="bulk") as client:
        outcomes = client.send_many(Draft("bulky", content) for content in contents)
        ids = [sent.id for sent in [next(outcomes).sent] if sent]
        daemon.wait_replaced(daemon.signal_workers(["gateway"], signal.SIGKILL))
        ids += [outcome.sent.id for outcome in outcomes if outcome.sent]
        stored = list(client.iter_messages("bulky", page_size=1000))
    assert sorted(ids) == sorted(message.id for message in stored)
    assert sorted(message.content for message in stored) == sorted(contents)


def test_wait_survives_a_restart_of_the_daemon_and_doctor_finds_no_problem(daemon: Daemon) -> None:
    wait_until(lambda: connections(daemon) == 0, "the clients of other tests are gone")
    waiting = command("wait", "late", "--json")
    env = environment(daemon.address)
    with subprocess.Popen(waiting, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: connections(daemon) == 1, "it is connected")
        assert daemon.stop() == 0
        daemon.start()
        assert run(daemon, "send", "late", "at last").code == 0
        out, err = process.communicate(timeout=BOUND_SEC)
    assert (process.returncode, b"at last" in out) == (0, True), err
    places = ["--root", str(daemon.root), "--state-dir", str(daemon.state_dir)]
    done = run(daemon, "doctor", "--json", *places)
    assert [line for line in done.json if line["level"] == "problem"] == []
    assert done.code == 0
    assert {line["check"] for line in done.json} >= {"daemon", "worker mailbox", "socket", "database", "state lock"}
