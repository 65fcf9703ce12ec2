"""The files of sessions under clean-up: a lock has one holder, and a state in use is kept."""

import fcntl
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest
from mailroom_apps.hooks import session_update
from mailroom_apps.hooks.doorbell_lock import DoorbellLock
from mailroom_apps.hooks.session_update import KEPT_SEC, SessionBusyError, SessionUpdate, prune_sessions


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(session_update, "LOCK_TIMEOUT_SEC", 0.0)
    monkeypatch.setattr(signal, "pidfd_send_signal", mock.Mock())  # all holders are this process
    sessions = tmp_path / "mailroom-sessions"
    sessions.mkdir()
    return sessions


def old_file(path: Path) -> Path:
    path.touch()
    os.utime(path, (0, time.time() - 2 * KEPT_SEC))
    return path


def is_update_held() -> bool:
    """Enters an update, and leaves it open if that succeeds."""
    with suppress(SessionBusyError):
        SessionUpdate("s").__enter__()
        return True
    return False


def is_doorbell_held() -> bool:
    return DoorbellLock("s", timeout_sec=0.0).__enter__().held


Enter = Callable[[], bool]
ENTRANCES = pytest.mark.parametrize(("suffix", "enter"), [("lock", is_update_held), ("bell", is_doorbell_held)])


@ENTRANCES
def test_a_lock_that_is_removed_before_it_is_taken_has_one_holder(
    directory: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, enter: Enter
) -> None:
    old_file(directory / f"s.{suffix}")
    flock, others = fcntl.flock, list[bool]()

    def flock_late(descriptor: int, operation: int) -> None:
        if (
            not others
        ):  # the file is open but not locked yet: now it is removed, and another process locks its successor
            others.append(False)
            prune_sessions()
            others[0] = enter()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_late)
    assert not enter()
    assert others == [True]


@ENTRANCES
def test_a_lock_that_is_taken_while_it_is_removed_has_one_holder(
    directory: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, enter: Enter
) -> None:
    old_file(directory / f"s.{suffix}")
    unlink, holders = os.unlink, list[bool]()

    def unlink_late(path: str) -> None:
        holders.append(enter())
        unlink(path)

    monkeypatch.setattr(os, "unlink", unlink_late)
    prune_sessions()
    monkeypatch.setattr(os, "unlink", unlink)
    holders.append(enter())
    assert holders == [False, True]


def test_a_state_that_changes_during_the_clean_up_is_kept(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = old_file(directory / "s.json")
    flock, updates = fcntl.flock, list[SessionUpdate]()

    def flock_late(descriptor: int, operation: int) -> None:
        if not updates:
            updates.append(SessionUpdate("s"))
            with updates[0] as update:
                update.state.shown.add("0198c0ffee000001")
                update.prepare()
                update.commit()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_late)
    prune_sessions()
    assert "0198c0ffee000001" in state.read_text()


def test_files_of_sessions_that_ended_long_ago_are_removed(directory: Path) -> None:
    for name in ("s.json", "s.lock", "s.bell", ".s.12.tmp", "t.json"):
        old_file(directory / name)
    (directory / "new.json").touch()
    with SessionUpdate("held"):
        os.utime(directory / "held.lock", (0, 0))
        prune_sessions()
    assert {path.name for path in directory.iterdir()} == {"new.json", "held.lock"}
