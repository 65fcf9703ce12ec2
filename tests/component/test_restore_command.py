"""`mailroom restore`: the staged copy belongs to the daemon's user, and the command reports a daemon that ends."""

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from mailroom.addresses import Address
from mailroomd.operator import restore
from mailroomd.operator.backup import back_up
from mailroomd.operator.installation import Installation
from mailroomd.operator.restore import is_staged, stage_backup
from mailroomd.storage.database.connection import open_store
from support.harness.command_line import Done, run_here
from support.harness.waiting import wait_until


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    open_store(state_dir).close()
    found = Installation(tmp_path / "root", state_dir, Address(f"unix:{state_dir}/mailroom.sock"))
    back_up(found, tmp_path / "b.db")
    return found


def test_root_gives_the_staged_copy_to_the_owner_of_the_state_directory(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: dict[int, tuple[int, int]] = {}

    def chown(name: str, uid: int, gid: int, *, dir_fd: int, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        changed[os.stat(name, dir_fd=dir_fd).st_ino] = (uid, gid)

    def fchown(descriptor: int, uid: int, gid: int) -> None:
        changed[os.fstat(descriptor).st_ino] = (uid, gid)

    monkeypatch.setattr(restore.os, "geteuid", lambda: 0)
    monkeypatch.setattr(restore.os, "chown", chown)
    monkeypatch.setattr(restore.os, "fchown", fchown)
    stage_backup(tmp_path / "b.db", installation)
    staged = installation.state_dir / "restore"
    owner = installation.state_dir.stat()
    everything = [staged, *staged.iterdir()]
    assert changed == {path.stat().st_ino: (owner.st_uid, owner.st_gid) for path in everything}


def test_a_link_in_place_of_the_part_directory_is_not_followed(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (installation.state_dir / "restore.part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"restore\.part"):
        stage_backup(tmp_path / "b.db", installation)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not is_staged(installation)


def restore_while(installation: Installation, tmp_path: Path, daemon: Callable[[], None]) -> Done:
    """Runs the command while the state lock is held, as by a daemon that does something and then ends."""

    def run_daemon() -> None:
        wait_until(lambda: is_staged(installation), "the backup is staged")
        daemon()
        lock.close()

    lock = installation.lock.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    thread = threading.Thread(target=run_daemon)
    thread.start()
    try:
        return run_here("", "restore", str(tmp_path / "b.db"), "--yes", "--state-dir", str(installation.state_dir))
    finally:
        thread.join()


def test_a_daemon_that_ends_before_it_takes_the_backup_is_reported(installation: Installation, tmp_path: Path) -> None:
    done = restore_while(installation, tmp_path, lambda: None)
    assert (done.code, "exited before it restored the backup" in done.err) == (1, True)
    assert is_staged(installation)


def test_a_daemon_that_ends_after_it_took_the_backup_is_reported(installation: Installation, tmp_path: Path) -> None:
    staged = installation.state_dir / "restore"
    done = restore_while(installation, tmp_path, lambda: staged.rename(tmp_path / "taken") and None)
    assert (done.code, "but has ended" in done.err) == (1, True)


def test_a_rejected_backup_is_reported(installation: Installation, tmp_path: Path) -> None:
    staged = installation.state_dir / "restore"
    done = restore_while(installation, tmp_path, lambda: staged.rename(f"{staged}.refused") and None)
    assert (done.code, "the database is unchanged" in done.err) == (1, True)
