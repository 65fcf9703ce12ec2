"""The outcomes of a commit say what became of its files."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroomd.command_queue.background_writes import BackgroundWrites
from mailroomd.command_queue.commit import Commit
from mailroomd.command_queue.commit_filing import CommitFiling
from mailroomd.command_queue.disk_guard import DiskGuard
from mailroomd.model.settings import Settings
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.operations import Sent
from mailroomd.protocol.packets import Command, Outcome
from mailroomd.storage.database.reserve import Reserve
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import Filing
from support.harness.storing import StoreHarness, draft


class CommitFilingSetup:
    """A harness whose commits are filed."""

    def __init__(self, place: Path) -> None:
        (place / "state").mkdir()
        self.root = place / "root"
        self.harness = StoreHarness(place / "state")
        self.files = InboxFiles(self.root)
        self.filing = Filing(self.root, self.files, self.harness.store.files)
        guard = DiskGuard(Settings, Reserve(place / "state"), lambda: 0, lambda _: None)
        self.observer = CommitFiling(self.filing, self.harness.store.files, BackgroundWrites(place / "state", guard))

    def commit(self, *commands: Command) -> Commit:
        commit = Commit(commands, self.harness.result(*commands), 0, 0, 0, 0)
        self.observer.on_committed(commit)
        return commit

    def names(self, mailbox: str) -> list[str]:
        return sorted(path.name for path in (self.root / "inbox" / mailbox).glob("*.json"))


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[CommitFilingSetup]:
    made = CommitFilingSetup(tmp_path)
    yield made
    made.filing.close()
    made.files.close()
    made.harness.store.close()


def sent(commit: Commit) -> list[Sent]:
    outcomes = [outcome for outcome in commit.result.outcomes if isinstance(outcome, Outcome)]
    return [outcome.result for outcome in outcomes if isinstance(outcome.result, Sent)]


def test_a_message_whose_file_cannot_be_written_is_stored_also_for_its_repetition(setup: CommitFilingSetup) -> None:
    (setup.root / "inbox" / "abc").write_text("in the way")
    first, again, other = (
        setup.harness.message(draft(), "k", client_key=True),
        setup.harness.message(draft(), "k", client_key=True),
        setup.harness.message(draft("bcd")),
    )
    commit = setup.commit(first, again, other)
    assert [(one.id, one.state, one.is_repeated) for one in sent(commit)] == [
        (first.id, DeliveryState.STORED, False),
        (first.id, DeliveryState.STORED, True),
        (other.id, DeliveryState.FILED, False),
    ]
    assert all("Not a directory" in one.file_error for one in sent(commit)[:2])
    assert set(commit.file_errors) == {first.id}
    assert setup.harness.store.files.unfiled() == [("abc", first.id)], "the database knows it, too"


def test_files_of_read_and_cleared_messages_are_gone_when_their_outcome_is_sent(setup: CommitFilingSetup) -> None:
    first, second, third = (setup.harness.message(draft()) for _ in range(3))
    setup.commit(first, second, third)
    assert setup.names("abc") == [f"{command.id:016x}.json" for command in (first, second, third)]
    setup.commit(setup.harness.reading("abc", first.id))
    assert setup.names("abc") == [f"{command.id:016x}.json" for command in (second, third)]
    setup.commit(setup.harness.clearing("abc", second.id))
    assert setup.names("abc") == [f"{third.id:016x}.json"]
    assert setup.harness.store.files.cleared() == [], "none is left to be removed"
