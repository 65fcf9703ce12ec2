"""FileGuard notices that a path no longer leads to the file that is open."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mailroomd.storage.database.file_guard import FileGuard, FileReplaced
from support.harness.storing import StoreHarness, draft


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    path.with_suffix(".new").touch()
    path.with_suffix(".new").replace(path)


def rename_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("away"))


@pytest.mark.parametrize("change", [remove, replace, rename_directory])
def test_a_path_that_leads_elsewhere_is_named(tmp_path: Path, change: Callable[[Path], None]) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    path, other = directory / "file", directory / "other"
    path.touch()
    other.touch()
    guard = FileGuard([other])
    with path.open() as file:
        guard.watch(path, file.fileno())
        guard.check()
        change(path)
        with pytest.raises(FileReplaced, match="was removed or replaced"):
            guard.check()


def test_a_file_that_appears_later_is_remembered_then(tmp_path: Path) -> None:
    path = tmp_path / "later"
    guard = FileGuard([path])
    guard.check()
    path.touch()
    guard.check()
    path.unlink()
    with pytest.raises(FileReplaced, match="later"):
        guard.check()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_every_file_of_the_database_is_guarded(harness: StoreHarness, suffix: str) -> None:
    harness.send(draft())
    harness.store.transactions.file_guard.check()
    Path(f"{harness.state_dir / 'mailroom.db'}{suffix}").unlink()
    with pytest.raises(FileReplaced):
        harness.store.transactions.file_guard.check()
