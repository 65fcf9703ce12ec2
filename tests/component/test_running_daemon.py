"""Doctor and clients see how a running daemon differs from what the tools look at; a process of the test plays it."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mailroom.addresses import Address
from mailroomd.model.ids import MS_SHIFT
from mailroomd.operator.doctor import Finding, Level, clock, running_daemon
from mailroomd.operator.installation import Installation
from mailroomd.storage.database.connection import open_store
from support.harness.command_line import run_here

# Opens what a daemon opens, in a child, as its workers do, then waits until its stdin is closed.
PROGRAM = """
import fcntl, os, socket, sys
state, root, address = sys.argv[1:]
lock = open(f"{state}/mailroomd.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print(os.getpid(), file=lock, flush=True)
pid = os.fork()
if pid == 0:
    names = [f"{state}/mailroom.db", f"{state}/mailroom.db-wal", f"{root}/inbox"]
    held = [os.open(name, os.O_RDONLY) for name in names]
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    state_dir = tmp_path / "state"
    for path in (tmp_path / "root" / "inbox" / ".tmp", state_dir):
        path.mkdir(parents=True, mode=0o700)
    open_store(state_dir).close()
    for name in ("mailroom.db-wal", "addresses", "reserve"):
        (state_dir / name).touch()
    return Installation(tmp_path / "root", state_dir, Address(f"unix:{tmp_path}/m.sock"))


@contextmanager
def running(installation: Installation) -> Generator[int]:
    """Plays a daemon of the installation; gives the process id of its supervisor."""
    path = installation.address.socket_path
    arguments = [str(installation.state_dir), str(installation.root), str(path)]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid


def only(installation: Installation) -> Finding:
    [finding] = running_daemon.check(installation)
    return finding


def test_a_daemon_on_the_installation_gives_no_finding(installation: Installation) -> None:
    with running(installation):
        assert list(running_daemon.check(installation)) == []
    assert list(running_daemon.check(installation)) == []


@pytest.mark.parametrize("action", ["delete", "move"])
def test_a_deleted_or_moved_database_is_a_problem(installation: Installation, tmp_path: Path, action: str) -> None:
    with running(installation):
        if action == "delete":
            installation.database.unlink()
        else:
            installation.database.rename(tmp_path / "moved.db")
        assert (only(installation).check, only(installation).level) == ("database", Level.PROBLEM)
        assert "was deleted, moved or replaced" in only(installation).summary


def test_a_replaced_database_and_lock_are_problems(installation: Installation, tmp_path: Path) -> None:
    with running(installation):
        for path in (installation.database, installation.lock):
            (tmp_path / "copy").write_bytes(path.read_bytes())
            (tmp_path / "copy").replace(path)
        assert [finding.check for finding in running_daemon.check(installation)] == ["database", "state lock"]


def test_another_state_directory_and_another_root_are_named(installation: Installation, tmp_path: Path) -> None:
    for path in (tmp_path / "s2", tmp_path / "r2" / "inbox"):
        path.mkdir(parents=True)
    seen = Installation(tmp_path / "r2", tmp_path / "s2", installation.address)
    with running(installation):
        state, root = running_daemon.check(seen)
    assert state.summary == f"the daemon uses the state directory {installation.state_dir}, not {tmp_path / 's2'}"
    assert root.summary == f"the daemon uses the root directory {installation.root}, not {tmp_path / 'r2'}"


def test_a_socket_that_belongs_to_another_daemon_is_a_problem(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "s2").mkdir()
    with running(installation) as pid, (tmp_path / "s2" / "mailroomd.lock").open("w") as lock:
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        contested, *_ = running_daemon.check(Installation(installation.root, tmp_path / "s2", installation.address))
    assert contested.check == "socket"
    assert f"mailroomd (pid {pid}) listens on" in contested.summary
    assert f"mailroomd (pid {os.getpid()}) has {tmp_path / 's2'}" in contested.summary


def test_another_directory_of_claude_code_is_a_warning(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "cc"))
    with running(installation):
        assert only(installation).level is Level.WARNING
        assert f"CLAUDE_CONFIG_DIR is {tmp_path / 'cc'}" in only(installation).summary
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(installation.root))
        assert list(running_daemon.check(installation)) == []


def test_clients_and_doctor_say_that_the_socket_is_gone(installation: Installation) -> None:
    address = installation.address.text
    (installation.state_dir / "addresses").write_text(json.dumps([address]))
    extra = {"MAILROOM_STATE_DIR": str(installation.state_dir), "MAILROOM_ROOT": str(installation.root)}
    with running(installation) as pid:
        Path(address.removeprefix("unix:")).unlink()
        done = run_here(address, "send", "bob", "x", extra=extra)
        findings = {line["check"]: line for line in run_here(address, "doctor", "--json", extra=extra).json}
    assert (done.code, f"mailroomd (pid {pid}) is running, but its socket is gone" in done.err) == (69, True)
    assert f"mailroomd (pid {pid}) is running, but its socket is gone" in findings["daemon"]["summary"]
    assert "restart `mailroomd`" in findings["daemon"]["advice"]
    assert "start `mailroomd`" not in findings["socket"]["advice"]


def test_ids_from_a_clock_that_was_ahead_are_a_warning(installation: Installation) -> None:
    assert [finding.level for finding in clock.check(installation)] == [Level.OK]
    with closing(open_store(installation.state_dir)) as store:
        store.execute("UPDATE meta SET value = ? WHERE name = 'last_id'", (4_000_000_000_000 << MS_SHIFT,))
    [finding] = clock.check(installation)
    assert (finding.level, "was ahead once" in finding.summary) == (Level.WARNING, True)
