"""Entries that left a team inbox count as taken; nothing else does."""

import json
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroomd.storage.team_inbox import taken
from mailroomd.storage.team_inbox.taken import Ended, Taken, TakenEntries
from support.harness.waiting import BOUND_SEC


class Team:
    """The team alpha, and what is noticed about bob's inbox in it."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "teams" / "alpha"
        self.inbox = self.directory / "inboxes" / "bob.json"
        self.inbox.parent.mkdir(parents=True)
        self.entries = TakenEntries(root)

    def put(self, *message_ids: int) -> None:
        """Replaces the inbox by one with these entries, as other programs do."""
        draft = self.inbox.with_name("draft")
        entries = [{"from": "amy", "text": "x", "mailroom_id": f"{message_id:016x}"} for message_id in message_ids]
        draft.write_text(json.dumps([{"from": "lead", "text": "of another program"}, *entries]))
        draft.rename(self.inbox)

    def watch(self, *message_ids: int) -> None:
        """Writes entries, then watches them."""
        self.put(*message_ids)
        self.entries.watch("bob@alpha", message_ids)

    def noticed(self) -> list[Taken | Ended]:
        """Waits until something is noticed."""
        assert select.select([self.entries.fileno()], [], [], BOUND_SEC)[0], "something is noticed"
        return self.entries.drain()

    def notices_nothing_but(self, *message_ids: int) -> None:
        """Takes these entries, and waits until that alone is noticed."""
        self.put()
        assert self.noticed() == [Taken("bob@alpha", message_ids)]


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    monkeypatch.setattr(taken, "LOOK_SEC", 0.01)
    made = Team(tmp_path)
    yield made
    made.entries.close()


def test_an_entry_that_has_left_the_inbox_was_taken(team: Team) -> None:
    team.watch(7, 8, 9)
    team.put(8)
    assert team.noticed() == [Taken("bob@alpha", (7, 9))]
    team.put(8, 10)  # another one is written
    team.entries.watch("bob@alpha", [10])
    team.notices_nothing_but(8, 10)


@pytest.mark.parametrize("content", [None, "", "[{", '{"messages": []}'], ids=["no file", "blank", "torn", "no array"])
def test_a_file_that_says_nothing_takes_nothing(team: Team, content: str | None) -> None:
    team.watch(7)
    if content is None:
        team.inbox.unlink()
    else:
        team.inbox.write_text(content)
    assert not select.select([team.entries.fileno()], [], [], 0.1)[0]
    team.put(7)
    team.notices_nothing_but(7)


def test_what_was_taken_before_the_team_ended_is_known(team: Team) -> None:
    team.watch(7, 8)
    team.put(8)
    assert team.noticed() == [Taken("bob@alpha", (7,))]
    team.inbox.unlink()
    team.inbox.parent.rmdir()
    team.directory.rmdir()
    assert team.noticed() == [Ended("bob@alpha", (7,))]
    team.inbox.parent.mkdir(parents=True)  # another team of this name
    team.watch(9)
    team.notices_nothing_but(9)


def test_a_link_is_not_followed(team: Team, tmp_path: Path) -> None:
    team.watch(7)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "bob.json").write_text("[]")
    team.inbox.unlink()
    team.inbox.parent.rmdir()
    team.inbox.parent.symlink_to(elsewhere)
    assert not select.select([team.entries.fileno()], [], [], 0.1)[0]
    team.inbox.parent.unlink()
    team.inbox.parent.mkdir()
    team.put(7)
    team.notices_nothing_but(7)
