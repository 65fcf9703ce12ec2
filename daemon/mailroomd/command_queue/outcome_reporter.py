"""OutcomeReporter — sends outcomes and reports to the mailbox.

As an observer of commits it follows the inbox files, since an outcome says whether its file is written. Not here: what
an outcome says (`MessageStore`, `Committer`).
"""

__all__ = ["OutcomeReporter"]

from collections.abc import Iterable

from mailroomd.command_queue.commit import Commit, CommitObserver, Refusal
from mailroomd.ipc.link import Link
from mailroomd.protocol.packets import Command, LazyCommand, Outcome
from mailroomd.protocol.reports import Report


class OutcomeReporter(CommitObserver):
    """Reports outcomes.

    Args:
        link: to the mailbox.
    """

    def __init__(self, link: Link[Command | LazyCommand, Outcome | Report]) -> None:
        self._link = link

    def report(self, items: Iterable[Outcome | Report]) -> None:
        """Sends outcomes and reports to the mailbox."""
        for item in items:
            self._link.send(item)
        self._link.flush()

    def on_committed(self, commit: Commit) -> None:
        """Reports what a transaction did."""
        self.report(commit.result.outcomes)

    def on_refused(self, refusal: Refusal) -> None:
        """Reports what was refused."""
        self.report(refusal.outcomes)
