"""Drafts: private, whole, the latest first, and bounded in number and size."""

from pathlib import Path

import pytest
from mailroom_apps.dashboard import drafts as module
from mailroom_apps.dashboard.drafts import Draft, Drafts

IDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(5)]


def draft(number: int, at_ms: int, content: str = "x") -> Draft:
    return Draft(IDS[number], at_ms, {"content": content})


def test_drafts_come_latest_first_and_outlive_the_process(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    assert drafts.all() == []
    for number, at_ms in enumerate((20, 10, 30)):
        drafts.save(draft(number, at_ms))
    drafts.remove(IDS[0])
    drafts.remove(IDS[0])
    assert [one.id for one in Drafts(tmp_path).all()] == [IDS[2], IDS[1]]


def test_an_older_version_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    for at_ms, content in ((10, "first"), (30, "third"), (20, "second"), (30, "again")):
        drafts.save(draft(0, at_ms, content))
    assert drafts.all() == [draft(0, 30, "again")]


def test_only_their_user_can_read_them(tmp_path: Path) -> None:
    Drafts(tmp_path / "new" / "own").save(draft(0, 1))
    made = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")}
    assert made == dict.fromkeys(["new", "new/own", "new/own/drafts", f"new/own/drafts/{IDS[0]}.json"], 0)


def test_what_is_not_a_draft_is_passed_over(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    drafts.save(draft(0, 1))
    (tmp_path / "drafts" / f"{IDS[1]}.json").write_bytes(b"{")
    (tmp_path / "drafts" / f"{IDS[2]}.json").write_bytes(b'{"id":"../x","at_ms":1,"fields":{}}')
    assert drafts.all() == [draft(0, 1)]


def test_the_one_that_was_changed_longest_ago_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DRAFTS", 3)
    drafts = Drafts(tmp_path)
    for number in range(5):
        drafts.save(draft(number, number))
    assert [one.id for one in drafts.all()] == [IDS[4], IDS[3], IDS[2]]


def test_a_draft_that_is_too_large_is_refused_and_the_earlier_version_stays(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    drafts.save(draft(0, 1))
    with pytest.raises(ValueError, match="limit 4,194,304"):
        drafts.save(draft(0, 2, "x" * (4 << 20)))
    assert drafts.all() == [draft(0, 1)]
