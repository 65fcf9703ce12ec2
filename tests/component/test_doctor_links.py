"""`doctor --fix` follows no link below the root: what it repairs or removes is the daemon's own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mailroom.addresses import Address
from mailroomd.operator.doctor import Finding, Level, directories, locks, temporary_files
from mailroomd.operator.installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    state_dir = tmp_path / "state"
    for path in (tmp_path / "root" / "inbox", tmp_path / "root" / "outbox", state_dir):
        path.mkdir(parents=True, mode=0o700)
    return Installation(tmp_path / "root", state_dir, Address(f"unix:{state_dir}/mailroom.sock"))


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A directory of the user with old files, and with a name that looks like a lock."""
    documents = tmp_path / "documents"
    (documents / "x.json.lock").mkdir(parents=True)
    for name in ("thesis.txt", ".bob.json.00ff.mailroom", "addresses.tmp"):
        (documents / name).write_text("precious")
        os.utime(documents / name, (0, 0))
    os.utime(documents / "x.json.lock", (0, 0))
    documents.chmod(0o777)
    return documents


def fix_everything(check: Callable[[Installation], Iterator[Finding]], installation: Installation) -> list[Finding]:
    return [finding.apply_fix() for finding in check(installation)]


@pytest.mark.parametrize("link", ["inbox/.tmp", "teams/a/inboxes", "teams/a", "teams", "inbox"])
def test_nothing_behind_a_link_is_removed_or_changed(installation: Installation, documents: Path, link: str) -> None:
    place = installation.root / link
    place.parent.mkdir(parents=True, exist_ok=True)
    if link == "inbox":
        place.rmdir()
    place.symlink_to(documents)
    before = sorted((path.name, path.lstat().st_mode) for path in (documents, *documents.iterdir()))
    for check in (temporary_files.check, locks.check, directories.check):
        fix_everything(check, installation)
    assert sorted((path.name, path.lstat().st_mode) for path in (documents, *documents.iterdir())) == before


@pytest.mark.parametrize("name", ["inbox", "outbox", "teams"])
def test_a_linked_directory_is_a_problem_because_the_daemon_does_not_follow_it(
    installation: Installation, documents: Path, name: str
) -> None:
    place = installation.root / name
    if place.exists():
        place.rmdir()
    place.symlink_to(documents)
    [finding] = [finding for finding in directories.check(installation) if finding.level is Level.PROBLEM]
    assert (finding.check, finding.fix) == (f"{name} directory", None)
    assert "is a symbolic link, which the daemon does not follow" in finding.summary


def test_a_linked_staging_directory_is_reported(installation: Installation, documents: Path) -> None:
    (installation.inbox / ".tmp").symlink_to(documents)
    warning, fine = temporary_files.check(installation)
    assert (warning.level, fine.level) == (Level.WARNING, Level.OK)
    assert "is a symbolic link" in warning.summary


def test_a_link_to_the_root_itself_is_allowed(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(installation.root)
    linked = Installation(tmp_path / "link", installation.state_dir, installation.address)
    assert {finding.level for finding in directories.check(linked)} == {Level.OK}


def test_a_link_that_appears_between_check_and_fix_is_not_followed(installation: Installation, documents: Path) -> None:
    staging = installation.inbox / ".tmp"
    staging.mkdir()
    (staging / "thesis.txt").write_text("")
    os.utime(staging / "thesis.txt", (0, 0))
    [finding] = temporary_files.check(installation)
    (staging / "thesis.txt").unlink()
    staging.rmdir()
    staging.symlink_to(documents)
    result = finding.apply_fix()
    assert (result.fixed, (documents / "thesis.txt").read_text()) == (False, "precious")
