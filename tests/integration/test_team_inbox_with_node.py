"""Team inboxes between programs and users: proper-lockfile in Node, two daemons, sudden deaths, another owner."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest
from mailroomd.storage.team_inbox.directory_lock import DirectoryLock, LockBusy
from mailroomd.storage.team_inbox.inboxes import TeamInboxes
from support.harness import team_inbox_children as children
from support.harness.team_inbox_children import AGENT, TEAM, numbered
from support.harness.waiting import BOUND_SEC, chance, wait_until

pytestmark = pytest.mark.system

RACE_SEC = 3.0
KILLS = 5
SHORT_STALE_SEC = 0.3
NODES_LEAST_STALE_SEC = 2.0  # proper-lockfile takes no less
LEAST_APPENDED = 10  # by each writer in a race, however slow the machine
PROJECT = Path(__file__).resolve().parents[2]

spawn = get_context("spawn")
Start = Callable[..., SpawnProcess]
StartNode = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def node_modules() -> str:
    found = subprocess.run([PROJECT / "scripts/need-npm"], capture_output=True, text=True, timeout=100)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


@pytest.fixture
def start_node(node_modules: str) -> Iterator[StartNode]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> "subprocess.Popen[str]":
        command = ["node", str(PROJECT / "tests/support/node/team_writer.mjs"), *map(str, arguments)]
        environment = {**os.environ, "MAILROOM_NODE_MODULES": node_modules}
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[SpawnProcess] = []

    def start_child(target: Callable[..., None], *args: object) -> SpawnProcess:
        child = spawn.Process(target=target, args=args, daemon=True)
        child.start()
        started.append(child)
        return child

    yield start_child
    for child in started:
        child.kill()
        child.join(BOUND_SEC)
        child.close()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    directory = tmp_path / "teams" / TEAM / "inboxes"
    directory.mkdir(parents=True)
    return directory / f"{AGENT}.json"


@pytest.fixture
def handle(inbox: Path) -> Iterator[int]:
    opened = os.open(inbox.parent, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def entries_of(inbox: Path) -> list[dict[str, Any]]:
    found = json.loads(inbox.read_bytes())
    assert isinstance(found, list)
    return found  # pyright: ignore[reportUnknownVariableType]


def check_daemons(entries: list[dict[str, Any]], writer: str, count: int) -> None:
    """Every entry of a daemon's writer is there once, whole and in order."""
    written = [entry for entry in entries if entry["from"] == writer]
    expected = [numbered(writer, number) for number in range(count)]
    assert [entry["mailroom_id"] for entry in written] == [f"{message.id:016x}" for message in expected]
    contents = [entry["text"].partition("\n\n[Message ")[0] for entry in written]
    assert contents == [message.draft.content for message in expected]


def check_nodes(entries: list[dict[str, Any]], writer: str, count: int) -> None:
    """Every entry of a Node writer is there once, whole and in order, with the field that Mailroom does not know."""
    nodes = [entry for entry in entries if entry["from"] == writer]
    assert [entry["number"] for entry in nodes] == list(range(count))
    assert [entry["text"] for entry in nodes] == [f"{number} {'é' * (number % 300)}" for number in range(count)]


def receive(end: Any) -> Any:
    assert end.poll(BOUND_SEC)
    return end.recv()


def next_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def make_stale(lock: Path) -> None:
    """As if eleven seconds had passed."""
    then = lock.stat().st_mtime - 11
    os.utime(lock, (then, then))


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_two_daemons_and_a_node_writer_at_full_speed_lose_nothing(
    tmp_path: Path, inbox: Path, start: Start, start_node: StartNode
) -> None:
    told = {name: spawn.Pipe(duplex=False) for name in ("daemon-1", "daemon-2")}
    for name, (_, result) in told.items():
        start(children.append_for, tmp_path, name, RACE_SEC, result)
    node = start_node("append", inbox, "node", int(RACE_SEC * 1000))
    output, _ = node.communicate(timeout=BOUND_SEC)
    assert node.returncode == 0
    counts = {name: receive(end) for name, (end, _) in told.items()}
    nodes = json.loads(output)
    print(counts, nodes)
    entries = entries_of(inbox)
    for name, (count, _) in counts.items():
        check_daemons(entries, name, count)
        assert count >= LEAST_APPENDED
    check_nodes(entries, "node", nodes["appended"])
    assert nodes["appended"] >= LEAST_APPENDED
    assert len(entries) == nodes["appended"] + sum(count for count, _ in counts.values())
    assert names_in(inbox.parent) == [inbox.name]
    for pipe in told.values():
        for end in pipe:
            end.close()


def test_two_daemons_lose_nothing_and_a_reader_always_sees_a_whole_array(
    tmp_path: Path, inbox: Path, start: Start
) -> None:
    told = {name: spawn.Pipe(duplex=False) for name in ("daemon-1", "daemon-2")}
    running = [start(children.append_for, tmp_path, name, 1.0, result) for name, (_, result) in told.items()]
    wait_until(inbox.exists, "the first entry is there")
    reads, longest = 0, 0
    while any(child.is_alive() for child in running):
        length = len(entries_of(inbox))
        assert length >= longest
        reads, longest = reads + 1, length
        running[0].join(0.005)
    assert reads > 0
    for name, (end, _) in told.items():
        count, _ = receive(end)
        assert count >= LEAST_APPENDED
        check_daemons(entries_of(inbox), name, count)
    for pipe in told.values():
        for end in pipe:
            end.close()


def test_a_killed_writer_leaves_a_whole_inbox(tmp_path: Path, inbox: Path, start: Start) -> None:
    random = chance("killed writers")
    others = '{"from":"node","huge":123456789012345678901234567890}'
    inbox.write_text(f"[{others}]")
    said: Counter[str] = Counter()
    for kill in range(KILLS):
        told, result = spawn.Pipe(duplex=False)
        writer = f"daemon-{kill}"
        child = start(children.append_until_killed, tmp_path, writer, SHORT_STALE_SEC, result)
        while said[writer] < 3:
            said[writer] = receive(told) + 1
        child.join(random.random() * 0.02)
        child.kill()
        child.join(BOUND_SEC)
        while told.poll():
            said[writer] = told.recv() + 1
        told.close()
        result.close()
        entries = entries_of(inbox)
        for name, count in said.items():
            written = sum(entry["from"] == name for entry in entries)
            assert count <= written <= count + 1  # the last one may be there without having been said
            check_daemons(entries, name, written)
    assert inbox.read_text().startswith(f"[{others},")


def test_the_stale_lock_of_a_killed_daemon_is_taken_over(tmp_path: Path, inbox: Path, start: Start) -> None:
    told, result = spawn.Pipe(duplex=False)
    child = start(children.hold, inbox.parent, inbox.name, 10.0, result)
    assert receive(told) == "held"
    child.kill()
    child.join(BOUND_SEC)
    lock = inbox.with_name(f"{inbox.name}.lock")
    left_ns = lock.stat().st_mtime_ns
    TeamInboxes(tmp_path, BOUND_SEC, SHORT_STALE_SEC).append(AGENT, TEAM, numbered("daemon-1", 0))
    assert time.time_ns() - left_ns > SHORT_STALE_SEC * 1e9
    assert not lock.exists()
    check_daemons(entries_of(inbox), "daemon-1", 1)
    told.close()
    result.close()


def test_the_new_file_has_the_owner_of_the_old_one(tmp_path: Path, inbox: Path) -> None:
    inbox.write_text("[]")
    os.chown(inbox, 12_345, 23_456)  # only root gives files away
    TeamInboxes(tmp_path, BOUND_SEC).append(AGENT, TEAM, numbered("daemon-1", 0))
    assert (inbox.stat().st_uid, inbox.stat().st_gid) == (12_345, 23_456)
    check_daemons(entries_of(inbox), "daemon-1", 1)


def test_a_node_lock_keeps_the_daemon_out_until_it_is_stale(inbox: Path, handle: int, start_node: StartNode) -> None:
    node = start_node("hold", inbox, 10_000)
    assert next_line(node) == "held"
    with pytest.raises(LockBusy):
        TeamInboxes(inbox.parents[3], patience_sec=0.05).append(AGENT, TEAM, numbered("daemon-1", 0))
    node.kill()
    node.wait(BOUND_SEC)
    lock = DirectoryLock(handle, inbox.name, SHORT_STALE_SEC)
    with lock.held(BOUND_SEC):  # its probing set the mtime ahead by up to a second
        pass
    TeamInboxes(inbox.parents[3], patience_sec=0).append(AGENT, TEAM, numbered("daemon-1", 0))
    check_daemons(entries_of(inbox), "daemon-1", 1)


def test_the_daemons_lock_keeps_node_out_until_it_is_stale(inbox: Path, start: Start, start_node: StartNode) -> None:
    told, result = spawn.Pipe(duplex=False)
    child = start(children.hold, inbox.parent, inbox.name, 10.0, result)
    assert receive(told) == "held"
    node = start_node("append", inbox, "node", 1)
    output, _ = node.communicate(timeout=BOUND_SEC)
    assert json.loads(output) == {"appended": 0, "gaveUp": 1}
    child.kill()
    child.join(BOUND_SEC)
    lock = inbox.with_name(f"{inbox.name}.lock")
    assert lock.is_dir()
    make_stale(lock)
    node = start_node("append", inbox, "node", 100)
    output, _ = node.communicate(timeout=BOUND_SEC)
    appended = json.loads(output)["appended"]
    assert appended > 0
    check_nodes(entries_of(inbox), "node", appended)
    told.close()
    result.close()


def test_a_stopped_node_program_notices_that_its_lock_was_taken_over(
    inbox: Path, handle: int, start_node: StartNode
) -> None:
    node = start_node("hold", inbox, int(NODES_LEAST_STALE_SEC * 1000))
    assert next_line(node) == "held"
    node.send_signal(signal.SIGSTOP)
    with DirectoryLock(handle, inbox.name, SHORT_STALE_SEC).held(BOUND_SEC):
        node.send_signal(signal.SIGCONT)
        assert next_line(node) == "compromised"


def test_a_stopped_daemon_notices_that_its_lock_was_taken_over(
    inbox: Path, start: Start, start_node: StartNode
) -> None:
    told, result = spawn.Pipe(duplex=False)
    child = start(children.hold, inbox.parent, inbox.name, SHORT_STALE_SEC, result)
    assert receive(told) == "held"
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    lock = inbox.with_name(f"{inbox.name}.lock")
    make_stale(lock)
    node = start_node("hold", inbox, 10_000)
    assert next_line(node) == "held"
    os.kill(child.pid, signal.SIGCONT)
    assert receive(told) == "lost"
    assert lock.is_dir()
    told.close()
    result.close()
