"""Which exits of a worker mean that it ran out of memory or descriptors."""

import errno
import os
import resource
import signal
import sqlite3
from pathlib import Path

import pytest
from mailroomd.worker.shortage import EX_SHORTAGE, ShortageDetector, is_shortage


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
def test_errors_for_want_of_memory_or_descriptors_are_a_shortage(number: int) -> None:
    assert is_shortage(OSError(number, os.strerror(number)))
    assert is_shortage(MemoryError())
    assert is_shortage(RuntimeError("cannot start new thread"))
    assert not is_shortage(OSError(errno.EACCES, "denied"))
    assert not is_shortage(ValueError())


def test_a_database_that_was_there_and_cannot_be_opened_is_a_shortage(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open") as caught:
        sqlite3.connect(tmp_path / "missing" / "mailroom.db")
    assert is_shortage(caught.value)
    with pytest.raises(sqlite3.OperationalError, match="syntax") as caught:
        sqlite3.connect(":memory:").execute("nonsense")
    assert not is_shortage(caught.value)


def test_a_kill_is_a_shortage_only_if_the_oom_killer_was_at_work(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("pgfault 1\noom_kill 3\n")
    detector = ShortageDetector(vmstat)
    assert not detector.caused(-signal.SIGKILL)
    vmstat.write_text("pgfault 9\noom_kill 4\n")
    assert detector.caused(-signal.SIGKILL)
    assert not detector.caused(-signal.SIGKILL)
    assert not detector.caused(1)
    assert detector.caused(EX_SHORTAGE)


def test_an_abort_is_a_shortage_only_under_a_memory_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = ShortageDetector(tmp_path / "missing")
    for limit, expected in ((resource.RLIM_INFINITY, False), (1 << 30, True)):
        limits = {resource.RLIMIT_AS: (limit, limit)}
        monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
        assert detector.caused(-signal.SIGABRT) is expected
