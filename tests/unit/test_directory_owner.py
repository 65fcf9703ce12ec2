"""Which directories are safe for the daemon's files and sockets."""

import grp
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest
from mailroomd.supervisor import directory_owner
from mailroomd.supervisor.directory_owner import DirectoryUnsafe, check_directory, is_private_group


def make(path: Path, mode: int) -> Path:
    path.mkdir()
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_directory_that_only_its_owner_can_change_is_safe(tmp_path: Path, mode: int) -> None:
    check_directory(make(tmp_path / "d", mode), may_be_sticky=False)


@pytest.mark.parametrize("below", [False, True])
def test_a_directory_that_every_user_can_change_is_refused_as_is_one_below(tmp_path: Path, below: bool) -> None:
    open_directory = make(tmp_path / "open", 0o777)
    directory = make(open_directory / "d", 0o700) if below else open_directory
    with pytest.raises(DirectoryUnsafe, match=f"every user can write to {open_directory}$") as caught:
        check_directory(directory, may_be_sticky=True)
    assert caught.value.remedy == f"chmod o-w {open_directory}"


def test_a_sticky_directory_is_safe_for_sockets_and_above_but_not_for_state(tmp_path: Path) -> None:
    sticky = make(tmp_path / "sticky", 0o1777)
    check_directory(sticky, may_be_sticky=True)
    check_directory(make(sticky / "d", 0o700), may_be_sticky=False)
    with pytest.raises(DirectoryUnsafe, match="every user can write"):
        check_directory(sticky, may_be_sticky=False)


@pytest.mark.parametrize(
    ("gid", "group", "members", "is_private"),
    [
        (1000, "amy", (), True),
        (1000, "amy", ("amy",), True),
        (1000, "amy", ("amy", "bob"), False),
        (1000, "staff", (), False),
        (2000, "amy", (), False),
        (3000, "", (), False),
        (0, "root", (), True),
    ],
)
def test_a_group_is_private_if_it_is_the_owners_primary_one_and_has_no_other_member(
    monkeypatch: pytest.MonkeyPatch, gid: int, group: str, members: tuple[str, ...], is_private: bool
) -> None:
    def getgrgid(_: int) -> SimpleNamespace:
        if not group:
            raise KeyError
        return SimpleNamespace(gr_name=group, gr_mem=list(members))

    monkeypatch.setattr(pwd, "getpwuid", {500: SimpleNamespace(pw_name="amy", pw_gid=1000)}.__getitem__)
    monkeypatch.setattr(grp, "getgrgid", getgrgid)
    status = os.stat_result((0o40770, 0, 0, 1, 500, gid, 0, 0, 0, 0))
    assert is_private_group(status) is is_private


def test_a_group_that_is_not_private_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = make(tmp_path / "shared", 0o770)
    check_directory(make(tmp_path / "closed", 0o750), may_be_sticky=False)
    monkeypatch.setattr(directory_owner, "is_private_group", lambda _: False)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(DirectoryUnsafe, match=r"the group \S+ can write to") as caught:
        check_directory(shared, may_be_sticky=True)
    assert caught.value.remedy == f"chmod g-w {shared}"


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = make(tmp_path / "d", 0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(DirectoryUnsafe, match=f"{directory} belongs to another user"):
        check_directory(directory, may_be_sticky=True)


def test_a_link_in_an_unsafe_directory_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "real", 0o700)
    link = make(tmp_path / "open", 0o777) / "link"
    link.symlink_to(tmp_path / "real")
    with pytest.raises(DirectoryUnsafe, match="every user can write to"):
        check_directory(link, may_be_sticky=True)


def test_root_judges_a_directory_for_the_user_to_whom_it_belongs(tmp_path: Path) -> None:
    directory = make(tmp_path / "d", 0o700)
    check_directory(directory, may_be_sticky=False, uid=directory.stat().st_uid)
    with pytest.raises(DirectoryUnsafe, match="belongs to another user"):
        check_directory(directory, may_be_sticky=False, uid=directory.stat().st_uid + 1)
