"""OutcomeReporter — sends outcomes to the mailbox.

As an observer of commits it follows the inbox files, since an outcome says whether its file is written. Not here: what
an outcome says (`MessageStore`, `Committer`).
"""

__all__ = ["OutcomeReporter"]

from collections.abc import Iterable

from mailroomd.command_queue.commit import Commit, CommitObserver, Refusal
from mailroomd.ipc.link import Link
from mailroomd.protocol.commands import Command, Outcome


class OutcomeReporter(CommitObserver):
    """Reports outcomes.

    Args:
        link: to the mailbox.
    """

    def __init__(self, link: Link[Command, Outcome]) -> None:
        self._link = link

    def report(self, outcomes: Iterable[Outcome]) -> None:
        """Sends outcomes to the mailbox."""
        for outcome in outcomes:
            self._link.send(outcome)
        self._link.flush()

    def on_committed(self, commit: Commit) -> None:
        """Reports what a transaction did."""
        self.report(commit.result.outcomes)

    def on_refused(self, refusal: Refusal) -> None:
        """Reports what was refused."""
        self.report(refusal.outcomes)
