"""A backup replaces only a backup, never a file of a state directory, and only its owner can read it."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mailroom.addresses import Address
from mailroomd.operator import backup
from mailroomd.operator.backup import back_up
from mailroomd.operator.installation import Installation
from mailroomd.storage.database.connection import open_store


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    open_store(state_dir).close()
    for name in ("tokens.json", "mailroomd.lock"):
        (state_dir / name).write_text(name)
    return Installation(tmp_path / "root", state_dir, Address(f"unix:{state_dir}/mailroom.sock"))


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith(("-wal", "-shm"))}


def test_a_backup_is_private_and_replaces_an_older_backup(installation: Installation, tmp_path: Path) -> None:
    target = tmp_path / "b.db"
    old_umask = os.umask(0)
    try:
        back_up(installation, target)
    finally:
        os.umask(old_umask)
    assert target.stat().st_mode & 0o777 == 0o600
    inode = target.stat().st_ino
    back_up(installation, target)
    assert target.stat().st_ino != inode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.db", "state"]


@pytest.mark.parametrize("content", [b"thesis\n", b""])
def test_another_file_is_replaced_only_with_force(installation: Installation, tmp_path: Path, content: bytes) -> None:
    target = tmp_path / "thesis.txt"
    target.write_bytes(content)
    with pytest.raises(OSError, match="--force"):
        back_up(installation, target)
    assert target.read_bytes() == content
    back_up(installation, target, force=True)
    assert target.read_bytes().startswith(b"SQLite format 3\0")


def in_place(installation: Installation, _directory: Path) -> Path:
    return installation.database


def new_name(installation: Installation, _directory: Path) -> Path:
    return installation.state_dir / "reserve"


def through_parent(installation: Installation, _directory: Path) -> Path:
    return installation.root / ".." / "state" / "tokens.json"


def linked_directory(installation: Installation, directory: Path) -> Path:
    (directory / "link").symlink_to(installation.state_dir)
    return directory / "link" / "mailroom.db"


def symbolic_link(installation: Installation, directory: Path) -> Path:
    (directory / "b.db").symlink_to(installation.database)
    return directory / "b.db"


def hard_link(installation: Installation, directory: Path) -> Path:
    os.link(installation.database, directory / "b.db")
    return directory / "b.db"


def another_daemons_database(_installation: Installation, directory: Path) -> Path:
    (directory / "other").mkdir()
    open_store(directory / "other").close()
    (directory / "other" / "mailroomd.lock").touch()
    return directory / "other" / "mailroom.db"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "target_of",
    [in_place, new_name, through_parent, linked_directory, symbolic_link, hard_link, another_daemons_database],
)
def test_a_file_of_a_state_directory_is_never_replaced(
    installation: Installation, tmp_path: Path, target_of: Callable[[Installation, Path], Path], force: bool
) -> None:
    installation.root.mkdir()
    target = target_of(installation, tmp_path)
    before = snapshot(installation.state_dir), target.exists() and target.stat().st_ino
    with pytest.raises(OSError, match="belongs to the state directory"):
        back_up(installation, target, force=force)
    assert (snapshot(installation.state_dir), target.exists() and target.stat().st_ino) == before


def test_files_that_others_prepared_in_a_shared_directory_are_not_used(
    installation: Installation, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    bait = shared / ".b.db.part"
    bait.write_text("")
    bait.chmod(0o666)
    back_up(installation, shared / "b.db")
    assert bait.read_text() == ""
    assert (shared / "b.db").stat().st_mode & 0o777 == 0o600


def test_a_part_that_was_swapped_during_the_copy_is_not_published(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = backup.inspect_backup

    def swap(file: Path) -> backup.DatabaseSummary:
        copy = file.with_name("swapped")
        copy.write_bytes(file.read_bytes())
        copy.replace(file)
        return real(file)

    monkeypatch.setattr(backup, "inspect_backup", swap)
    with pytest.raises(OSError, match="was replaced by another program"):
        back_up(installation, tmp_path / "b.db")
    assert not (tmp_path / "b.db").exists()


def test_a_damaged_source_leaves_the_older_backup_alone(installation: Installation, tmp_path: Path) -> None:
    target = tmp_path / "b.db"
    back_up(installation, target)
    before = target.read_bytes()
    with closing(sqlite3.connect(installation.database)) as database, database:
        database.execute("DROP TABLE meta")
    with pytest.raises(OSError, match="see `mailroom doctor`"):
        back_up(installation, target)
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.db", "state"]
