"""The doctor's checks, each on real directories, sockets, locks and databases; no daemon is needed."""

import fcntl
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mailroom.addresses import Address
from mailroom.errors import InvalidArgument
from mailroomd.operator.doctor import (
    Finding,
    Level,
    Places,
    clock,
    database,
    directories,
    kernel,
    leftovers,
    locks,
    room,
    sockets,
)
from mailroomd.operator.doctor.findings import problem
from mailroomd.storage.database.connection import DATABASE_NAME, open_store
from mailroomd.storage.database.schema import SCHEMA_VERSION
from mailroomd.storage.team_inbox.directory_lock import STALE_SEC
from support.fakes.scenes import in_thread
from support.harness.command_line import run_here


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A mail room as a daemon leaves it when it stops."""
    state = tmp_path / "state"
    for path in (tmp_path / "root" / "inbox", tmp_path / "root" / "outbox", state):
        path.mkdir(parents=True, mode=0o700)
    return Places(tmp_path / "root", state, Address(f"unix:{state}/mailroom.sock"))


def found(check: Callable[[Places], Iterator[Finding]], places: Places) -> dict[str, Finding]:
    return {finding.check: finding for finding in check(places)}


def worst(check: Callable[[Places], Iterator[Finding]], places: Places) -> Finding:
    [finding] = [finding for finding in check(places) if finding.level is not Level.OK]
    return finding


# -- directories --------------------------------------------------------------------------------------------------


def test_sound_directories_are_ok(places: Places) -> None:
    assert {finding.level for finding in directories.check(places)} == {Level.OK}


def test_missing_directories_are_the_daemons_to_make(tmp_path: Path) -> None:
    nowhere = Places(tmp_path / "r", tmp_path / "s", Address(f"unix:{tmp_path}/s/mailroom.sock"))
    findings = found(directories.check, nowhere)
    assert {name for name, finding in findings.items() if finding.level is Level.WARNING} == {
        "root directory",
        "inbox directory",
        "outbox directory",
        "state directory",
    }
    assert "mailroomd" in findings["state directory"].advice
    assert not (tmp_path / "r").exists()


def test_a_directory_that_cannot_be_written_is_a_problem_that_can_be_fixed(places: Places) -> None:
    places.outbox.chmod(0o500)
    finding = worst(directories.check, places)
    assert (finding.check, finding.level) == ("outbox directory", Level.PROBLEM)
    assert "0500" in finding.summary
    assert finding.mended().fixed
    assert places.outbox.stat().st_mode & 0o777 == 0o700
    assert {finding.level for finding in directories.check(places)} == {Level.OK}


def test_a_directory_that_everybody_can_write_is_a_problem(places: Places) -> None:
    places.inbox.chmod(0o777)
    finding = worst(directories.check, places)
    assert finding.level is Level.PROBLEM
    assert "forge" in finding.summary
    finding.mended()
    assert places.inbox.stat().st_mode & 0o777 == 0o755


def test_a_state_directory_that_others_can_look_into_is_a_warning(places: Places) -> None:
    places.state_dir.chmod(0o755)
    finding = worst(directories.check, places)
    assert (finding.check, finding.level) == ("state directory", Level.WARNING)
    finding.mended()
    assert places.state_dir.stat().st_mode & 0o777 == 0o700


def test_one_agents_inbox_that_cannot_be_written_is_named(places: Places) -> None:
    (places.inbox / "bob").mkdir(mode=0o500)
    (places.inbox / "carl").mkdir(mode=0o700)
    (places.inbox / ".tmp").mkdir(mode=0o700)
    (places.inbox / "link").symlink_to(places.outbox)
    findings = {name: finding for name, finding in found(directories.check, places).items() if "inbox of" in name}
    assert set(findings) == {"inbox of bob", "inbox of link"}
    assert findings["inbox of link"].fix is None
    assert findings["inbox of bob"].mended().fixed


def test_a_file_in_a_directorys_place_is_a_problem_without_a_fix(places: Places) -> None:
    places.outbox.rmdir()
    places.outbox.write_text("")
    finding = worst(directories.check, places)
    assert (finding.level, finding.fix) == (Level.PROBLEM, None)


# -- sockets and locks --------------------------------------------------------------------------------------------


def listening(places: Places) -> socket.socket:
    path = places.address.socket_path
    assert path is not None
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def test_who_listens_is_named(places: Places) -> None:
    with listening(places):
        [finding] = sockets.check(places)
    assert finding.level is Level.OK
    assert f"pid {os.getpid()}" in finding.summary


def test_a_socket_that_was_left_behind_is_removed_and_one_in_use_never(places: Places) -> None:
    listening(places).close()
    path = places.address.socket_path
    assert path is not None
    finding = worst(sockets.check, places)
    assert "left behind" in finding.summary
    path.unlink()
    with listening(places):  # a daemon came back between look and fix
        finding.mended()
        assert path.exists()
    assert worst(sockets.check, places).mended().fixed
    assert not path.exists()


def test_a_socket_is_left_alone_while_a_daemon_has_the_state_directory(places: Places) -> None:
    listening(places).close()
    with places.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finding = worst(sockets.check, places)
    assert (finding.fix, finding.level) == (None, Level.WARNING)
    assert "starting" in finding.advice


def test_a_socket_that_is_missing_or_none_is_said(places: Places) -> None:
    assert "not there" in worst(sockets.check, places).summary
    path = places.address.socket_path
    assert path is not None
    path.write_text("")
    assert "no socket" in worst(sockets.check, places).summary


def test_a_port_is_tried(places: Places) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        at_port = Places(places.root, places.state_dir, Address(f"127.0.0.1:{server.getsockname()[1]}"))
        assert found(sockets.check, at_port)["socket"].level is Level.OK
    assert worst(sockets.check, at_port).level is Level.PROBLEM


def test_the_state_lock_tells_who_has_it(places: Places) -> None:
    assert "no daemon" in found(locks.check, places)["state lock"].summary
    with places.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for text, expected in ((str(os.getpid()), f"pid {os.getpid()}"), ("4194999", "is gone")):
            lock.seek(0)
            lock.truncate()
            lock.write(f"{text}\n")
            lock.flush()
            assert expected in found(locks.check, places)["state lock"].summary
    assert "no daemon" in found(locks.check, places)["state lock"].summary


def test_team_locks_that_were_left_behind_are_removed_and_fresh_ones_stay(places: Places) -> None:
    inboxes = places.teams / "alpha" / "inboxes"
    fresh, stale, renewed = (inboxes / f"{name}.json.lock" for name in ("a", "b", "c"))
    for lock in (fresh, stale, renewed):
        lock.mkdir(parents=True)
    long_ago = time.time() - 60
    os.utime(stale, (long_ago, long_ago))
    os.utime(renewed, (long_ago, long_ago))
    findings = [finding for finding in locks.check(places) if finding.check == "team lock"]
    assert [finding.level for finding in findings] == [Level.WARNING] * 2
    os.utime(renewed)  # its owner is alive after all
    for finding in findings:
        finding.mended()
    assert [lock.exists() for lock in (fresh, stale, renewed)] == [True, False, True]


def test_what_a_fix_cannot_do_is_said(places: Places) -> None:
    stale = places.teams / "alpha" / "inboxes" / "b.json.lock"
    (stale / "somebody's file").mkdir(parents=True)
    long_ago = time.time() - 60
    os.utime(stale, (long_ago, long_ago))
    mended = worst(locks.check, places).mended()
    assert (mended.fixed, mended.level) == (False, Level.WARNING)
    assert "Directory not empty" in mended.advice
    assert mended.to_dict()["fixable"] is False


# -- database -----------------------------------------------------------------------------------------------------


def test_what_the_doctor_knows_is_what_the_daemon_does() -> None:
    assert database.KNOWN_SCHEMA == SCHEMA_VERSION
    assert locks.STALE_SEC == STALE_SEC
    places = Places(Path("/r"), Path("/s"), Address(""))
    assert places.database == Path("/s") / DATABASE_NAME


def test_no_database_is_no_problem(places: Places) -> None:
    assert [finding.level for finding in database.check(places)] == [Level.OK]


@pytest.mark.parametrize("in_use", [True, False])
def test_a_sound_database_is_ok_beside_its_writer_and_without_it(places: Places, in_use: bool) -> None:
    with closing(open_store(places.state_dir)) as store:
        if not in_use:
            store.close()
        assert [finding.level for finding in database.check(places)] == [Level.OK] * 2


def test_a_schema_from_another_version_is_said(places: Places) -> None:
    with closing(open_store(places.state_dir)) as store:
        store.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        assert worst(database.check, places).level is Level.PROBLEM
        store.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
        assert "restart" in worst(database.check, places).advice


def test_a_damaged_database_is_a_problem(places: Places) -> None:
    open_store(places.state_dir).close()
    with places.database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    assert Level.PROBLEM in {finding.level for finding in database.check(places)}
    places.database.write_bytes(b"no database at all, but long enough to be looked at" * 40)
    assert "cannot be read" in worst(database.check, places).summary


def test_a_failed_fsync_is_not_forgotten(places: Places) -> None:
    (places.state_dir / "fsync-failed").touch()
    assert worst(database.check, places).level is Level.PROBLEM


# -- the rest -----------------------------------------------------------------------------------------------------


def test_old_temporary_files_are_removed_and_young_ones_stay(places: Places) -> None:
    inboxes = places.teams / "alpha" / "inboxes"
    inboxes.mkdir(parents=True)
    (places.inbox / ".tmp").mkdir()
    old = [places.inbox / ".tmp" / "x", inboxes / ".bob.json.00ff.mailroom", places.state_dir / "addresses.tmp"]
    young, foreign = places.inbox / ".tmp" / "y", inboxes / "bob.json"
    for file in (*old, young, foreign):
        file.write_text("")
    for file in (*old, foreign):
        os.utime(file, (0, 0))
    finding = worst(leftovers.check, places)
    assert finding.summary.startswith("3 left behind: ")
    assert finding.mended().fixed
    assert [file.exists() for file in (*old, young, foreign)] == [False] * 3 + [True] * 2


def test_room_is_judged_by_bytes_and_inodes(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(room.check(places))) == 2
    real = os.statvfs(places.root)

    def with_room(free_bytes: int, free_inodes: int, flag: int = 0) -> Level:
        fields = list(real)
        fields[1], fields[4], fields[5], fields[7], fields[8] = 1, free_bytes, 10**9, free_inodes, flag

        def statvfs(_path: Path) -> os.statvfs_result:
            return os.statvfs_result(fields)

        monkeypatch.setattr(room.os, "statvfs", statvfs)
        return next(room.check(places)).level

    assert with_room(10**12, 10**6) is Level.OK
    assert with_room(500 << 20, 10**6) is Level.WARNING
    assert with_room(10**12, 20_000) is Level.WARNING
    assert with_room(10 << 20, 10**6) is Level.PROBLEM
    assert with_room(10**12, 10) is Level.PROBLEM
    assert with_room(10**12, 10**6, os.ST_RDONLY) is Level.PROBLEM


def test_inotify_limits_are_looked_at(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"max_user_instances": 128, "max_user_watches": 10, "max_queued_events": 16384}.items():
        (tmp_path / name).write_text(f"{value}\n")
    monkeypatch.setattr(kernel, "LIMITS", tmp_path)
    assert worst(kernel.check, places).advice == "sysctl fs.inotify.max_user_watches=8192"


def test_a_clock_that_went_back_is_noticed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.level for finding in clock.check(places)] == [Level.OK]
    with closing(sqlite3.connect(places.database)) as store, store:
        store.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, timestamp_ms INTEGER)")
        store.execute("INSERT INTO messages VALUES (1, ?)", (int(time.time() * 1000) + 3_600_000,))
    assert "it went back" in worst(clock.check, places).summary
    monkeypatch.setattr(clock.time, "time", lambda: 0.0)
    assert worst(clock.check, places).level is Level.PROBLEM


def test_places_come_from_options_the_environment_the_file_or_the_defaults(tmp_path: Path) -> None:
    config = tmp_path / "mailroomd.toml"
    config.write_text(f'root = "{tmp_path}/file"\nstate-dir = "{tmp_path}/file-state"\n')
    environ = {"MAILROOM_CONFIG": str(config)}
    in_file = Places.find(environ=environ)
    assert (in_file.root, in_file.state_dir) == (tmp_path / "file", tmp_path / "file-state")
    assert in_file.address.text == f"unix:{tmp_path}/file-state/mailroom.sock"
    environ["MAILROOM_ROOT"] = f"{tmp_path}/env"
    assert Places.find(environ=environ).root == tmp_path / "env"
    assert Places.find(root="/given", environ=environ).root == Path("/given")
    config.write_text("not toml")
    assert Places.find(environ={"MAILROOM_CONFIG": str(config)}).root == Path.home() / ".claude"
    with pytest.raises(InvalidArgument):
        Places.find(address="bogus", environ=environ)


def test_a_finding_without_a_fix_stays_as_it_is() -> None:
    finding = problem("disk", "it is full", "make room")
    assert finding.mended() is finding
    assert finding.to_dict() == {
        "check": "disk",
        "level": "problem",
        "summary": "it is full",
        "advice": "make room",
        "fixable": False,
        "fixed": False,
    }


# -- the command --------------------------------------------------------------------------------------------------


def test_doctor_works_while_the_daemon_is_down_and_fixes_what_is_safe(places: Places) -> None:
    places.outbox.chmod(0o500)
    extra = {"MAILROOM_ROOT": str(places.root), "MAILROOM_STATE_DIR": str(places.state_dir)}
    done = run_here("", "doctor", extra=extra)
    assert done.code == 1
    assert "start it with `mailroomd`" in done.out
    assert f"-> chmod u+rwx {places.outbox}  (or --fix)" in done.out
    assert done.out.endswith("2 problems, 1 warning\n")
    fixed = run_here("", "doctor", "--fix", "--json", extra=extra)
    assert [line["check"] for line in fixed.json if line["fixed"]] == ["outbox directory"]
    assert [line["check"] for line in fixed.json if line["level"] == "problem"] == ["daemon"]
    assert fixed.code == 1


def test_doctor_asks_a_daemon_that_runs(places: Places, tmp_path: Path) -> None:
    with in_thread(tmp_path) as fake:
        arguments = ["--address", fake.address, "--root", str(places.root), "--state-dir", str(places.state_dir)]
        done = run_here("", "doctor", "--json", *arguments)
    lines = {line["check"]: line for line in done.json}
    assert lines["daemon"]["summary"] == "it takes mail"
    assert lines["worker mailbox"]["level"] == "ok"
    assert lines["worker gateway"]["summary"] == "it runs, after 2 restarts"
    assert (lines["version"]["level"], done.code) == ("warning", 0)
