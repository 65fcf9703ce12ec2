"""The dashboard's links and sessions: used once, kept as digests, private files."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mailroom_apps.dashboard import links as links_module
from mailroom_apps.dashboard.audit import Audit
from mailroom_apps.dashboard.links import Links
from mailroom_apps.dashboard.sessions import LIFETIME_SEC, MAX_SESSIONS, Role, Sessions


def test_a_link_opens_one_session_and_no_second_one(tmp_path: Path) -> None:
    links = Links(tmp_path)
    key = links.create(Role.OBSERVER)
    assert Links(tmp_path).take(key) is Role.OBSERVER
    assert links.take(key) is None


def test_of_many_that_use_a_link_at_the_same_time_one_gets_it(tmp_path: Path) -> None:
    links = Links(tmp_path)
    for _ in range(20):
        key = links.create(Role.OPERATOR)
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(links.take, [key] * 8))
        assert sum(role is Role.OPERATOR for role in taken) == 1


@pytest.mark.parametrize("key", ["", "x", "../sessions.json", "\udcff", "A" * 43])
def test_a_guessed_key_opens_nothing(tmp_path: Path, key: str) -> None:
    links = Links(tmp_path)
    links.create(Role.OPERATOR)
    assert links.take(key) is None


def test_a_link_ends_after_a_minute_and_its_file_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = Links(tmp_path)
    key = links.create(Role.OPERATOR)
    later = time.time() + links_module.LINK_LIFETIME_SEC + 1
    monkeypatch.setattr(links_module.time, "time", lambda: later)
    assert links.take(key) is None
    links.create(Role.OPERATOR)
    links.create(Role.OPERATOR)
    assert len(list((tmp_path / "links").iterdir())) <= 2


def test_no_secret_is_stored_and_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    sessions, links = Sessions(tmp_path / "d"), Links(tmp_path / "d")
    opened = sessions.open(Role.OPERATOR, "browser")
    key = links.create(Role.OPERATOR)
    Audit(tmp_path / "d").record(opened.session, "send", key="k")
    files = [path for path in (tmp_path / "d").rglob("*") if path.is_file()]
    assert len(files) == 3
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
        assert not any(secret in path.read_text() + path.name for secret in (opened.cookie, opened.token, key))
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "d").rglob("*") if path.is_dir()} == {0o700}


def test_a_session_outlives_the_process_and_ends_when_it_is_revoked(tmp_path: Path) -> None:
    opened = Sessions(tmp_path).open(Role.OBSERVER, "browser")
    again = Sessions(tmp_path)
    found = again.find(opened.cookie, opened.token)
    assert found is not None
    assert (found.id, found.role) == (opened.session.id, Role.OBSERVER)
    assert again.revoke(found.id)
    assert not again.is_active(found)
    assert Sessions(tmp_path).find(opened.cookie, opened.token) is None
    assert not again.revoke(found.id)


def test_a_session_that_was_not_used_for_a_month_is_none(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    opened = sessions.open(Role.OPERATOR, "")
    opened.session.used_at -= LIFETIME_SEC + 1
    assert sessions.find(opened.cookie, opened.token) is None


def test_the_number_of_sessions_is_bounded(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    all_opened = [sessions.open(Role.OPERATOR, str(number)) for number in range(MAX_SESSIONS + 5)]
    assert len(sessions.active()) == MAX_SESSIONS
    assert sessions.find(all_opened[-1].cookie, all_opened[-1].token)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[1]", b'[{"id": 1}]', b"\xff"])
def test_a_damaged_file_of_sessions_means_no_sessions(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sessions.json").write_bytes(content)
    sessions = Sessions(tmp_path)
    assert sessions.active() == []
    sessions.open(Role.OPERATOR, "")
    assert len(Sessions(tmp_path).active()) == 1


def test_the_audit_shows_the_latest_first_and_passes_over_a_torn_line(tmp_path: Path) -> None:
    session = Sessions(tmp_path).open(Role.OPERATOR, "").session
    audit = Audit(tmp_path)
    audit.record(session, "first")
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"at": "20\n')
    audit.record(session, "second", agent="bob")
    assert [entry["action"] for entry in audit.latest()] == ["second", "first"]
    assert audit.latest()[0]["agent"] == "bob"
