"""The reserve is there when the disk is full, and its owner hears when there is room again."""

import errno
import os
from pathlib import Path

import pytest
from mailroomd.storage.database.reserve import RESERVE_BYTES, Reserve


def blocks_of(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_it_takes_real_space_and_gives_it_back(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    assert not reserve.is_held
    assert reserve.refill()
    assert reserve.is_held
    assert blocks_of(tmp_path / "reserve") >= RESERVE_BYTES
    assert [file.name for file in tmp_path.iterdir()] == ["reserve"], "the spare has no name"
    reserve.release()
    assert not reserve.is_held
    reserve.release()


def test_a_quota_without_spare_space_counts_as_full_and_keeps_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota does not show in what the file system calls free."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    reserve = Reserve(tmp_path)
    reserve.refill()
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert not reserve.refill()
    assert reserve.is_held
    reserve.release()
    assert not reserve.refill()
    assert not reserve.is_held, "what could not be set aside whole is not kept"


def test_a_filesystem_that_cannot_preallocate_counts_as_having_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    reserve = Reserve(tmp_path)
    assert reserve.refill()
    assert not reserve.is_held
