"""Commit and Refusal — what became of some commands, for everything that follows: files, answers, metrics.

Owns the shapes, and the interface of what reacts to them. The observers are called in one order (`Parts`), and each
sees what those before it recorded. A new reaction to a commit is a new observer. Not here: the commit (`Committer`).
Invariant: an observer is called only after what it is told is durable, or certainly not written.
"""

__all__ = ["Commit", "CommitObserver", "Refusal"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mailroomd.protocol.packets import Command, Outcome
from mailroomd.storage.database.message_store import CommitResult


@dataclass(slots=True)
class Commit:
    """One transaction that is durable.

    Attributes:
        commands: what it contains, besides lazy writes.
        result: what it did; its outcomes are sent once the files are written.
        started_ns: when it began, on the monotonic clock.
        ended_ns: when it was durable, likewise.
        started_at_ns: when it began, in nanoseconds since 1970, for traces.
        sync_ns: how long its COMMIT took.
        file_errors: why inbox files could not be written, by message id; known once they are.
        filing_ns: how long writing the inbox files took; known likewise.
    """

    commands: Sequence[Command]
    result: CommitResult
    started_ns: int
    ended_ns: int
    started_at_ns: int
    sync_ns: int
    file_errors: Mapping[int, str] = field(default_factory=dict[int, str])
    filing_ns: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Commands that were not written; some may repeat what was committed before.

    Attributes:
        commands: the refused commands.
        outcomes: one for each.
        is_set_aside: whether they cannot be executed at all, rather than not now.
    """

    commands: Sequence[Command]
    outcomes: Sequence[Outcome]
    is_set_aside: bool = False


class CommitObserver:
    """Reacts to commits; a subclass overrides what it needs."""

    def on_committed(self, commit: Commit) -> None:
        """Reacts to a transaction that is durable."""

    def on_refused(self, refusal: Refusal) -> None:
        """Reacts to commands that were refused."""
