"""The doctor's checks on real directories, sockets, locks and databases, without a daemon."""

import fcntl
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mailroom.addresses import ADDRESSES_NAME, SOCKET_NAME, Address
from mailroom.state_lock import LockState, StateLock, read_state_lock
from mailroomd.model.settings import default_listen
from mailroomd.operator.doctor import (
    Finding,
    Installation,
    Level,
    clock,
    database,
    directories,
    disk_space,
    inotify,
    locks,
    sockets,
    temporary_files,
)
from mailroomd.operator.doctor.finding import problem
from mailroomd.storage.database.connection import open_store
from mailroomd.storage.database.schema import SCHEMA_VERSION
from mailroomd.supervisor.preflight import publish_addresses
from mailroomd.supervisor.state_lock import acquire_state_lock
from support.fakes.scenes import in_thread
from support.harness.command_line import run_here


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """The directories of a daemon that has stopped."""
    state = tmp_path / "state"
    for path in (tmp_path / "root" / "inbox", tmp_path / "root" / "outbox", state):
        path.mkdir(parents=True, mode=0o700)
    return Installation(tmp_path / "root", state, Address(f"unix:{state}/mailroom.sock"))


def findings_by_check(
    check: Callable[[Installation], Iterator[Finding]], installation: Installation
) -> dict[str, Finding]:
    return {finding.check: finding for finding in check(installation)}


def only_finding_not_ok(check: Callable[[Installation], Iterator[Finding]], installation: Installation) -> Finding:
    [finding] = [finding for finding in check(installation) if finding.level is not Level.OK]
    return finding


def test_usable_directories_are_ok(installation: Installation) -> None:
    assert {finding.level for finding in directories.check(installation)} == {Level.OK}


def test_missing_directories_are_warnings_because_the_daemon_creates_them(tmp_path: Path) -> None:
    nowhere = Installation(tmp_path / "r", tmp_path / "s", Address(f"unix:{tmp_path}/s/mailroom.sock"))
    findings = findings_by_check(directories.check, nowhere)
    assert {name for name, finding in findings.items() if finding.level is Level.WARNING} == {
        "root directory",
        "inbox directory",
        "outbox directory",
        "state directory",
    }
    assert "mailroomd" in findings["state directory"].advice
    assert not (tmp_path / "r").exists()


def test_an_unwritable_directory_is_a_problem_that_can_be_fixed(installation: Installation) -> None:
    installation.outbox.chmod(0o500)
    finding = only_finding_not_ok(directories.check, installation)
    assert (finding.check, finding.level) == ("outbox directory", Level.PROBLEM)
    assert "0500" in finding.summary
    assert finding.apply_fix().fixed
    assert installation.outbox.stat().st_mode & 0o777 == 0o700
    assert {finding.level for finding in directories.check(installation)} == {Level.OK}


def test_a_world_writable_directory_is_a_problem(installation: Installation) -> None:
    installation.inbox.chmod(0o777)
    finding = only_finding_not_ok(directories.check, installation)
    assert finding.level is Level.PROBLEM
    assert "forge" in finding.summary
    finding.apply_fix()
    assert installation.inbox.stat().st_mode & 0o777 == 0o755


def test_a_state_directory_that_others_can_access_is_a_warning(installation: Installation) -> None:
    installation.state_dir.chmod(0o755)
    finding = only_finding_not_ok(directories.check, installation)
    assert (finding.check, finding.level) == ("state directory", Level.WARNING)
    finding.apply_fix()
    assert installation.state_dir.stat().st_mode & 0o777 == 0o700


def test_an_unwritable_inbox_of_one_agent_is_named(installation: Installation) -> None:
    (installation.inbox / "bob").mkdir(mode=0o500)
    (installation.inbox / "carl").mkdir(mode=0o700)
    (installation.inbox / ".tmp").mkdir(mode=0o700)
    (installation.inbox / "link").symlink_to(installation.outbox)
    findings = {
        name: finding
        for name, finding in findings_by_check(directories.check, installation).items()
        if "inbox of" in name
    }
    assert set(findings) == {"inbox of bob", "inbox of link"}
    assert findings["inbox of link"].fix is None
    assert findings["inbox of bob"].apply_fix().fixed


def test_a_file_in_place_of_a_directory_is_a_problem_without_a_fix(installation: Installation) -> None:
    installation.outbox.rmdir()
    installation.outbox.write_text("")
    finding = only_finding_not_ok(directories.check, installation)
    assert (finding.level, finding.fix) == (Level.PROBLEM, None)


def listening(installation: Installation) -> socket.socket:
    path = installation.address.socket_path
    assert path is not None
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def test_the_listening_process_is_named(installation: Installation) -> None:
    with listening(installation):
        [finding] = sockets.check(installation)
    assert finding.level is Level.OK
    assert f"pid {os.getpid()}" in finding.summary


def test_a_stale_socket_is_removed_but_never_one_in_use(installation: Installation) -> None:
    listening(installation).close()
    path = installation.address.socket_path
    assert path is not None
    finding = only_finding_not_ok(sockets.check, installation)
    assert "is stale" in finding.summary
    path.unlink()
    with listening(installation):  # a daemon came back between check and fix
        finding.apply_fix()
        assert path.exists()
    assert only_finding_not_ok(sockets.check, installation).apply_fix().fixed
    assert not path.exists()


def test_a_socket_is_left_alone_while_a_daemon_holds_the_state_lock(installation: Installation) -> None:
    listening(installation).close()
    with installation.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finding = only_finding_not_ok(sockets.check, installation)
    assert (finding.fix, finding.level) == (None, Level.WARNING)
    assert "starting" in finding.advice


def test_a_missing_socket_and_another_kind_of_file_are_reported(installation: Installation) -> None:
    assert "does not exist" in only_finding_not_ok(sockets.check, installation).summary
    path = installation.address.socket_path
    assert path is not None
    path.write_text("")
    assert "is not a socket" in only_finding_not_ok(sockets.check, installation).summary


def test_a_tcp_port_is_checked_by_connecting(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        at_port = replace(installation, address=Address(f"127.0.0.1:{server.getsockname()[1]}"))
        assert findings_by_check(sockets.check, at_port)["socket"].level is Level.OK
    assert only_finding_not_ok(sockets.check, at_port).level is Level.PROBLEM


def test_the_state_lock_names_its_holder(installation: Installation) -> None:
    assert "no daemon" in findings_by_check(locks.check, installation)["state lock"].summary
    with installation.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for text, expected in ((str(os.getpid()), f"pid {os.getpid()}"), ("4194999", "has ended")):
            lock.seek(0)
            lock.truncate()
            lock.write(f"{text}\n")
            lock.flush()
            assert expected in findings_by_check(locks.check, installation)["state lock"].summary
    assert "no daemon" in findings_by_check(locks.check, installation)["state lock"].summary


def test_stale_team_locks_are_removed_and_fresh_ones_stay(installation: Installation) -> None:
    inboxes = installation.teams / "alpha" / "inboxes"
    fresh, stale, renewed = (inboxes / f"{name}.json.lock" for name in ("a", "b", "c"))
    for lock in (fresh, stale, renewed):
        lock.mkdir(parents=True)
    long_ago = time.time() - 60
    os.utime(stale, (long_ago, long_ago))
    os.utime(renewed, (long_ago, long_ago))
    findings = [finding for finding in locks.check(installation) if finding.check == "team lock"]
    assert [finding.level for finding in findings] == [Level.WARNING] * 2
    os.utime(renewed)  # its owner is alive after all
    for finding in findings:
        finding.apply_fix()
    assert [lock.exists() for lock in (fresh, stale, renewed)] == [True, False, True]


def test_a_failed_fix_is_reported(installation: Installation) -> None:
    stale = installation.teams / "alpha" / "inboxes" / "b.json.lock"
    (stale / "somebody's file").mkdir(parents=True)
    long_ago = time.time() - 60
    os.utime(stale, (long_ago, long_ago))
    fixed = only_finding_not_ok(locks.check, installation).apply_fix()
    assert (fixed.fixed, fixed.level) == (False, Level.WARNING)
    assert "Directory not empty" in fixed.advice
    assert fixed.to_dict()["fixable"] is False


def test_the_doctor_uses_the_names_of_the_daemon(tmp_path: Path) -> None:
    lock = acquire_state_lock(tmp_path, lambda _seconds: False)
    assert lock is not None
    assert read_state_lock(tmp_path) == StateLock(LockState.HELD, os.getpid())
    os.close(lock.descriptor)
    assert read_state_lock(tmp_path).state is LockState.FREE
    publish_addresses(tmp_path, ["127.0.0.1:1"])
    assert (tmp_path / ADDRESSES_NAME).exists()
    assert default_listen(tmp_path).endswith(f"/{SOCKET_NAME}")


def test_a_missing_database_is_ok(installation: Installation) -> None:
    assert [finding.level for finding in database.check(installation)] == [Level.OK]


@pytest.mark.parametrize("in_use", [True, False])
def test_an_intact_database_is_ok_with_and_without_a_writer(installation: Installation, in_use: bool) -> None:
    with closing(open_store(installation.state_dir)) as store:
        if not in_use:
            store.close()
        assert [finding.level for finding in database.check(installation)] == [Level.OK] * 2


def test_a_schema_of_another_version_is_reported(installation: Installation) -> None:
    with closing(open_store(installation.state_dir)) as store:
        store.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        assert only_finding_not_ok(database.check, installation).level is Level.PROBLEM
        store.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
        assert "restart" in only_finding_not_ok(database.check, installation).advice


def test_a_damaged_database_is_a_problem(installation: Installation) -> None:
    open_store(installation.state_dir).close()
    with installation.database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    assert Level.PROBLEM in {finding.level for finding in database.check(installation)}
    installation.database.write_bytes(b"no database at all, but long enough to be looked at" * 40)
    assert "cannot be read" in only_finding_not_ok(database.check, installation).summary


def test_a_failed_fsync_is_a_problem_until_the_daemon_recovers(installation: Installation) -> None:
    (installation.state_dir / "fsync-failed").touch()
    assert only_finding_not_ok(database.check, installation).level is Level.PROBLEM


def test_old_temporary_files_are_removed_and_young_ones_stay(installation: Installation) -> None:
    inboxes = installation.teams / "alpha" / "inboxes"
    inboxes.mkdir(parents=True)
    (installation.inbox / ".tmp").mkdir()
    staging = installation.inbox / ".tmp"
    old = [staging / "x", inboxes / ".bob.json.00ff.mailroom", installation.state_dir / "addresses.tmp"]
    young, foreign = staging / "y", inboxes / "bob.json"
    for file in (*old, young, foreign):
        file.write_text("")
    for file in (*old, foreign):
        os.utime(file, (0, 0))
    finding = only_finding_not_ok(temporary_files.check, installation)
    assert finding.summary.startswith("3 left behind: ")
    assert finding.apply_fix().fixed
    assert [file.exists() for file in (*old, young, foreign)] == [False] * 3 + [True] * 2


def test_disk_space_is_judged_by_bytes_and_inodes(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(disk_space.check(installation))) == 2
    real = os.statvfs(installation.root)

    def level_with(free_bytes: int, free_inodes: int, flag: int = 0) -> Level:
        fields = list(real)
        fields[1], fields[4], fields[5], fields[7], fields[8] = 1, free_bytes, 10**9, free_inodes, flag

        def statvfs(_path: Path) -> os.statvfs_result:
            return os.statvfs_result(fields)

        monkeypatch.setattr(disk_space.os, "statvfs", statvfs)
        return next(disk_space.check(installation)).level

    assert level_with(10**12, 10**6) is Level.OK
    assert level_with(500 << 20, 10**6) is Level.WARNING
    assert level_with(10**12, 20_000) is Level.WARNING
    assert level_with(10 << 20, 10**6) is Level.PROBLEM
    assert level_with(10**12, 10) is Level.PROBLEM
    assert level_with(10**12, 10**6, os.ST_RDONLY) is Level.PROBLEM


def test_inotify_limits_are_checked(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"max_user_instances": 128, "max_user_watches": 10, "max_queued_events": 16384}.items():
        (tmp_path / name).write_text(f"{value}\n")
    monkeypatch.setattr(inotify, "LIMITS", tmp_path)
    assert only_finding_not_ok(inotify.check, installation).advice == "sysctl fs.inotify.max_user_watches=8192"


def test_a_clock_that_was_set_back_is_noticed(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.level for finding in clock.check(installation)] == [Level.OK]
    with closing(sqlite3.connect(installation.database)) as store, store:
        store.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, timestamp_ms INTEGER)")
        store.execute("INSERT INTO messages VALUES (1, ?)", (int(time.time() * 1000) + 3_600_000,))
    assert "was set back" in only_finding_not_ok(clock.check, installation).summary
    monkeypatch.setattr(clock.time, "time", lambda: 0.0)
    assert only_finding_not_ok(clock.check, installation).level is Level.PROBLEM


def test_a_finding_without_a_fix_stays_as_it_is() -> None:
    finding = problem("disk", "it is full", "make room")
    assert finding.apply_fix() is finding
    assert finding.to_dict() == {
        "check": "disk",
        "level": "problem",
        "summary": "it is full",
        "advice": "make room",
        "fixable": False,
        "fixed": False,
    }


def test_doctor_works_without_a_daemon_and_fixes_what_is_safe(installation: Installation) -> None:
    installation.outbox.chmod(0o500)
    extra = {"MAILROOM_ROOT": str(installation.root), "MAILROOM_STATE_DIR": str(installation.state_dir)}
    done = run_here("", "doctor", extra=extra)
    assert done.code == 1
    assert "start it with `mailroomd`" in done.out
    assert f"-> chmod u+rwx {installation.outbox}  (or --fix)" in done.out
    assert done.out.endswith("2 problems, 1 warning\n")
    fixed = run_here("", "doctor", "--fix", "--json", extra=extra)
    assert [line["check"] for line in fixed.json if line["fixed"]] == ["outbox directory"]
    assert [line["check"] for line in fixed.json if line["level"] == "problem"] == ["daemon"]
    assert fixed.code == 1


def test_doctor_asks_a_running_daemon(installation: Installation, tmp_path: Path) -> None:
    with in_thread(tmp_path) as fake:
        arguments = [
            "--address",
            fake.address,
            "--root",
            str(installation.root),
            "--state-dir",
            str(installation.state_dir),
        ]
        done = run_here("", "doctor", "--json", *arguments)
    lines = {line["check"]: line for line in done.json}
    assert lines["daemon"]["summary"] == "serving"
    assert lines["worker mailbox"]["level"] == "ok"
    assert lines["worker gateway"]["summary"] == "running, restarted 2 times"
    assert lines["version"]["level"] == "warning"
    assert [line for line in done.json if line["level"] not in ("ok", "warning")] == []
    assert done.code == 0


def test_doctor_reports_a_sessions_directory_that_hooks_cannot_write(
    installation: Installation, tmp_path: Path
) -> None:
    extra = {"MAILROOM_ROOT": str(installation.root), "MAILROOM_STATE_DIR": str(installation.state_dir)}
    extra["XDG_STATE_HOME"] = str(tmp_path / "xdg")
    sessions = tmp_path / "xdg" / "mailroom-sessions"

    def finding() -> dict[str, object]:
        return {line["check"]: line for line in run_here("", "doctor", "--json", extra=extra).json}[
            "sessions directory"
        ]

    assert (finding()["level"], finding()["summary"]) == ("ok", "not in use")
    sessions.mkdir(parents=True, mode=0o700)
    assert finding()["level"] == "ok"
    sessions.chmod(0o500)
    assert finding()["level"] == "problem"
    sessions.rmdir()
    sessions.write_text("")
    assert finding()["level"] == "problem"
