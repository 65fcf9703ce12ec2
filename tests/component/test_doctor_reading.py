"""The doctor reads a bounded part of what there is, on any daemon's directories, and changes nothing."""

import os
import resource
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mailroomd.auth.token_file import TokenFile
from mailroomd.operator.doctor import Installation, Level, daemon, limits, name_case, rows, run_checks, schema
from mailroomd.storage.database.connection import open_store
from support.harness.command_line import run_here
from support.harness.installed import SENT_MS, change, found, make_installation, put_team_inbox
from support.harness.version_1 import VERSION_1
from support.harness.version_2 import VERSION_2


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr(daemon, "GRACE_SEC", 0.0)
    made = make_installation(tmp_path)
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(made.root))
    return made


def make_conditions(installation: Installation) -> None:
    """Makes several conditions that the doctor reports."""
    change(installation, "CREATE TRIGGER t AFTER INSERT ON messages BEGIN UPDATE messages SET sender = 'boss'; END")
    (installation.state_dir / "restore.refused").mkdir()
    TokenFile(installation.state_dir).create("bob", SENT_MS)
    TokenFile(installation.state_dir).path.chmod(0o644)


# Holds the lock of a state directory, as a daemon does, until its standard input is closed.
HOLDER = """
import fcntl, os, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print(os.getpid(), file=lock, flush=True)
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def running_with(installation: Installation, descriptors: int) -> Generator[None]:
    command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$0" -c "$1" "$2"', sys.executable, HOLDER]
    with subprocess.Popen([*command, installation.lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield


def test_a_running_daemon_with_few_descriptors_is_named(installation: Installation) -> None:
    with running_with(installation, 512):
        [finding] = [finding for finding in limits.check(installation) if finding.check == "open files"]
    assert (finding.level, "mailroomd may have only 512 open" in finding.summary) == (Level.WARNING, True)
    assert "LimitNOFILE=" in finding.advice
    enough = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    with running_with(installation, enough):
        [finding] = limits.check(installation)
    assert (finding.level, f"mailroomd may have {enough:,} open" in finding.summary) == (Level.OK, True)


def test_a_file_system_that_folds_case_is_a_problem(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [finding.level for finding in name_case.check(installation)] == [Level.OK]
    stat = os.stat

    def folding(path: str, *, dir_fd: int, follow_symlinks: bool) -> os.stat_result:
        """Looks a name up as such a file system does; mounting one takes root and a kernel that has it."""
        names = {name.lower(): name for name in os.listdir(dir_fd)}
        return stat(names[path.lower()], dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(name_case.os, "stat", folding)
    [finding] = name_case.check(installation)
    assert (finding.level, "bob and BOB share one inbox" in finding.summary) == (Level.PROBLEM, True)
    assert "--root" in finding.advice


@pytest.mark.parametrize("script", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
def test_an_upgraded_database_has_the_tables_of_a_new_one(installation: Installation, script: str) -> None:
    installation.database.unlink()
    change(installation, script)
    open_store(installation.state_dir).close()
    assert [finding for finding in found(installation) if finding.check == "database tables"] == []
    [finding] = schema.check(installation)
    assert finding.level is Level.OK


def test_only_the_newest_rows_are_read_and_the_finding_says_how_many(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(installation, "UPDATE messages SET state = 77 WHERE id = (SELECT min(id) FROM messages)")
    monkeypatch.setattr(rows, "MAX_MESSAGES", 2)
    [finding] = rows.check(installation)
    assert (finding.level, "with the 2 newest messages" in finding.summary) == (Level.OK, True)
    monkeypatch.setattr(rows, "MAX_MESSAGES", 3)
    assert [finding.level for finding in rows.check(installation)] == [Level.PROBLEM]
    monkeypatch.setattr(rows, "MAX_BYTES", 0)
    [finding] = rows.check(installation)
    assert "with the 1 newest messages" in finding.summary


def test_the_doctor_changes_nothing_without_fix(installation: Installation) -> None:
    make_conditions(installation)
    os.mkfifo(put_team_inbox(installation, b"").with_name("pipe.json"))

    def everything() -> dict[Path, tuple[int, int, int]]:
        """SQLite makes the index of its log anew for each reader."""
        paths = [*installation.root.rglob("*"), *installation.state_dir.rglob("*")]
        return {
            path: (path.lstat().st_mode, path.lstat().st_mtime_ns, path.lstat().st_size)
            for path in paths
            if not path.name.endswith(("-shm", "-wal"))
        }

    before = everything()
    assert {finding.check for finding in found(installation)} >= {"database tables", "restore", "tokens", "team inbox"}
    assert everything() == before


def test_the_command_reports_the_conditions_as_json_and_exits_with_1(installation: Installation) -> None:
    make_conditions(installation)
    extra = {"MAILROOM_ROOT": str(installation.root), "MAILROOM_STATE_DIR": str(installation.state_dir)}
    done = run_here("", "doctor", "--json", extra=extra)
    lines = {line["check"]: line for line in done.json}
    assert done.code == 1
    assert (lines["restore"]["level"], "rm -r" in lines["restore"]["advice"]) == ("warning", True)
    assert lines["database tables"]["level"] == "problem"
    assert {key for line in done.json for key in line} == {"check", "level", "summary", "advice", "fixable", "fixed"}


def test_a_check_that_cannot_look_at_a_path_does_not_end_the_others(installation: Installation) -> None:
    beyond = replace(installation, state_dir=installation.state_dir / ("x" * 300))  # root could look at any other
    findings = {finding.check: finding for finding in run_checks(beyond)}
    assert {findings[check].level for check in ("tokens", "database", "rows", "clock")} == {Level.PROBLEM}
    assert findings["rows"].summary == f"cannot look at {beyond.database}: File name too long"
    assert "as the daemon's user or as root" in findings["rows"].advice
    assert findings["inotify"].level in (Level.OK, Level.WARNING)
