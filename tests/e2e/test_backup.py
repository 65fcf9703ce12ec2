"""Backup and restore while the daemon runs: mail comes back, newer mail stays, and no id is issued twice."""

import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from mailroom import Mailroom
from support.harness.daemon import Daemon, short_directory


@pytest.fixture(scope="module")
def running() -> Generator[Daemon]:
    with short_directory() as directory:
        daemon = Daemon(directory)
        try:
            daemon.start()
            yield daemon
            assert daemon.stop() == 0
        finally:
            daemon.kill_everything()


@pytest.fixture
def daemon(running: Daemon) -> Daemon:
    """The daemon of all these tests, which use mailboxes of their own; some stop it or restore mail of others."""
    assert running.process is not None
    if running.process.poll() is not None:
        running.start()
    return running


def run(daemon: Daemon, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("mailroom")), "--address", daemon.address, *words]
    command += ["--state-dir", str(daemon.state_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def unread(client: Mailroom, agent: str) -> list[str]:
    return [message.content for message in client.check_inbox(agent, observe=True)]


def test_restoring_brings_cleared_mail_back_keeps_newer_mail_and_issues_no_id_twice(daemon: Daemon) -> None:
    copy = daemon.directory / "copy.db"
    with Mailroom(daemon.address, sender="ana") as client:
        ids = [client.send("bob", text).id for text in ("one", "two")]
        client.acknowledge("bob", ids[0])
        made = run(daemon, "backup", str(copy))
        assert (made.returncode, made.stderr) == (0, "")
        assert "unread, up to" in made.stdout
        client.clear("bob")
        newer = client.send("bob", "three", idempotency_key="third").id
        newest = client.send("eve", "four").id
        restored = run(daemon, "restore", str(copy), "--yes")
        assert (restored.returncode, restored.stderr) == (0, "")
        assert "2 are newer than the backup and are kept" in restored.stdout
        assert unread(client, "bob") == ["two", "three"]
        assert unread(client, "eve") == ["four"]
        assert client.get_message(ids[0]).message.read
        assert sorted(path.stem for path in (daemon.inbox / "bob").glob("*.json")) == [ids[1], newer]
        assert client.send("bob", "three", idempotency_key="third").id == newer
        assert client.send("bob", "five").id > newest
        [stats] = client.stats("bob")
        assert (stats.total, stats.unread) == (4, 3)
    assert list(daemon.state_dir.glob("mailroom.db.replaced-*"))
    assert not (daemon.state_dir / "restore").exists()


def test_a_backup_waits_for_a_stopped_daemon_and_replaces_a_lost_database(daemon: Daemon) -> None:
    copy = daemon.directory / "copy.db"
    with Mailroom(daemon.address, sender="ana") as client:
        client.send("lost", "one")
    assert run(daemon, "backup", str(copy)).returncode == 0
    assert daemon.stop() == 0
    daemon.database.unlink()
    restored = run(daemon, "restore", str(copy), "--yes")
    assert "restores the backup when it starts" in restored.stdout
    daemon.start()
    with Mailroom(daemon.address, sender="ana") as client:
        assert unread(client, "lost") == ["one"]


def test_nothing_is_restored_without_a_confirmation(daemon: Daemon) -> None:
    copy = daemon.directory / "copy.db"
    run(daemon, "backup", str(copy))
    asked = run(daemon, "restore", str(copy))
    assert asked.returncode == 1
    assert "confirm with --yes" in asked.stderr
    assert not (daemon.state_dir / "restore").exists()


def test_a_file_that_is_not_a_backup_is_refused_by_command_and_daemon(daemon: Daemon) -> None:
    wrong = daemon.directory / "wrong.db"
    wrong.write_text("no database at all")
    refused = run(daemon, "restore", str(wrong), "--yes")
    assert refused.returncode == 1
    assert "is not a backup of Mailroom" in refused.stderr
    assert "Traceback" not in refused.stderr
    with Mailroom(daemon.address, sender="ana") as client:
        client.send("wrong", "one")
        assert daemon.stop() == 0
        staged = daemon.state_dir / "restore"
        staged.mkdir()
        (staged / "mailroom.db").write_text("no database at all")
        daemon.start()
        assert "backup not restored" in daemon.log()
        assert unread(client, "wrong") == ["one"]


@pytest.mark.parametrize(
    "damage", ["UPDATE messages SET state = 77", "UPDATE meta SET value = 9223372036854775807 WHERE name = 'last_id'"]
)
def test_a_backup_with_one_bad_row_is_not_restored_and_mail_goes_on(daemon: Daemon, damage: str) -> None:
    copy = daemon.directory / f"copy-{len(damage)}.db"
    with Mailroom(daemon.address, sender="ana") as client:
        mailbox = f"row-{len(damage)}"
        client.send(mailbox, "one")
        assert run(daemon, "backup", str(copy)).returncode == 0
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute(damage)
        refused = run(daemon, "restore", str(copy), "--yes")
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
        client.send(mailbox, "two")
        assert daemon.stop() == 0
        daemon.start()
        assert unread(client, mailbox) == ["one", "two"]


def test_a_restoring_that_died_between_its_two_renames_is_finished_by_the_next_start(daemon: Daemon) -> None:
    with Mailroom(daemon.address, sender="ana") as client:
        client.send("step", "one")
        assert daemon.stop() == 0
        staged = daemon.state_dir / "restore"
        staged.mkdir()
        daemon.database.rename(staged / "mailroom.db")
        daemon.start()
        assert unread(client, "step") == ["one"]
    assert not staged.exists()


def test_a_backup_under_load_is_a_prefix_of_what_was_sent_and_stops_nobody(daemon: Daemon) -> None:
    copy = daemon.directory / "copy.db"
    with Mailroom(daemon.address, sender="ana") as client:
        sent = [client.send("load", str(number)).id for number in range(50)]
        backing = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("mailroom")),
                "backup",
                str(copy),
                "--state-dir",
                str(daemon.state_dir),
            ],
            stdout=subprocess.DEVNULL,
        )
        while backing.poll() is None:
            sent.append(client.send("load", "more").id)
        assert backing.returncode == 0
    with closing(sqlite3.connect(copy)) as connection:
        rows = connection.execute("SELECT id FROM messages WHERE recipient = 'load' ORDER BY id")
        found = [f"{message_id:016x}" for (message_id,) in rows]
    assert len(found) >= 50
    assert found == sent[: len(found)]
    assert copy.stat().st_mode & 0o777 == 0o600
