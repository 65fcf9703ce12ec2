"""WatchedDirectory — one inbox directory that is watched or compared, and its deletions that are not accepted yet.

Owns the rule when a deletion may be accepted. Not here: the watches, the comparison, and the proof that it is still the
same directory (`InboxDirectories`, `InboxPatrol`). Pure: the clock is the caller's, monotonic.
"""

__all__ = ["WatchedDirectory"]

from dataclasses import dataclass, field

from mailroomd.storage.directories.snapshot import DirectoryIdentity, DirectorySnapshot

# `rm -rf inbox/abc` deletes file after file, and only then the directory. So deletions in one directory are held until
# nothing was deleted in it for HOLD_SEC. An agent that takes its mail one by one would never be quiet so long: fewer
# than BURST_FILES in TRICKLE_SEC are no rm -rf, and are believed then, within the second that is promised. More of them
# are held until it is quiet, for at most BURST_MOST_SEC: being late is harmless, losing unread mail is not.
HOLD_SEC = 0.1
TRICKLE_SEC = 0.5
BURST_FILES = 20
BURST_MOST_SEC = 30.0  # a million files


@dataclass(slots=True)
class WatchedDirectory:
    """One directory that is watched, or being compared.

    Attributes:
        wd: its watch; -1 if it has none: then it goes back to the patrol once it was compared.
        identity: what tells it from a later directory in its place.
        snapshot: for the patrol, when it is no longer watched.
        held: ids whose files were deleted, from `held_from_sec` to `held_until_sec`.
        expected: ids whose files the daemon removes itself.
        missing: ids that a comparison has not found yet.
        is_quiet: whether the last comparison found nothing new.
    """

    wd: int
    identity: DirectoryIdentity
    snapshot: DirectorySnapshot
    held: dict[int, None] = field(default_factory=dict[int, None])
    held_from_sec: float = 0.0
    held_until_sec: float = 0.0
    expected: dict[int, None] = field(default_factory=dict[int, None])
    missing: set[int] = field(default_factory=set[int])
    is_quiet: bool = False

    def hold(self, message_id: int, now_sec: float) -> None:
        """Records a deletion that is not believed yet."""
        if message_id in self.held:
            return
        if not self.held:
            self.held_from_sec = now_sec
        self.held[message_id] = None
        self.held_until_sec = now_sec

    def release_sec(self) -> float:
        """Returns when what is held may be believed, if nothing more happens."""
        return min(self.held_until_sec + HOLD_SEC, self.hold_most_sec())

    def hold_most_sec(self) -> float:
        """Returns when what is held is believed even though more happens."""
        return self.held_from_sec + (TRICKLE_SEC if len(self.held) < BURST_FILES else BURST_MOST_SEC)
