"""LoadPlan — what a load does, and who is who in it: data that the load, its tests and the checker share."""

__all__ = [
    "CLEARED_MAILBOX",
    "CLEARING_SENDER",
    "EXPIRING_MAILBOX",
    "FIRST_MAILBOX",
    "MOVING_SESSION",
    "OUTBOX_SESSIONS",
    "RECEIPTS_SENDER",
    "STEADY_AGENT",
    "STEADY_SESSION",
    "TAKEN_MAILBOX",
    "TEAM_MAILBOX",
    "LoadPlan",
    "make_team",
]

import os
from dataclasses import dataclass
from pathlib import Path

FIRST_MAILBOX = "r0"  # has a subscriber of its own, and gets the last message
RECEIPTS_SENDER = "s0"  # subscribes to the receipts of what it sent
TAKEN_MAILBOX = "t0"  # its agent reads the files and takes them away
EXPIRING_MAILBOX = "e0"  # everything in it has a time to live, and nobody reads it
TEAM_MAILBOX = "worker@crew"
CLEARED_MAILBOX, CLEARING_SENDER = "c0", "k0"  # cleared now and then; nobody else writes to it
STEADY_SESSION, STEADY_AGENT = "x0", "r2"  # an alias from the beginning
MOVING_SESSION = "x1"  # an alias of this agent, then of that one
OUTBOX_SESSIONS = ("o0", "o1")  # leave responses; the first has a subscriber of its own


@dataclass(frozen=True)
class LoadPlan:
    """What to do.

    Attributes:
        root: where agents see their files; "" leaves out those who work on files.
        mailboxes: r0 is subscribed to; of the others every second one has a reader.
        sends_per_sec: of all senders together.
        patience_sec: how long a send is repeated after the end of the load.
        retention: whether the daemon deletes what was read while the load runs.
        power_cuts: whether power is cut: agents' own files that were not synced may be lost then.
    """

    address: str
    directory: str
    database: str
    seed: int
    root: str = ""
    senders: int = 24
    mailboxes: int = 8
    sends_per_sec: float = 400.0
    patience_sec: float = 15.0
    retention: bool = False
    power_cuts: bool = False


def make_team(root: Path) -> None:
    """Makes the team of TEAM_MAILBOX, durably: mail for a team that does not exist has no entry."""
    inboxes = root / "teams" / TEAM_MAILBOX.partition("@")[2] / "inboxes"
    inboxes.mkdir(parents=True, exist_ok=True)
    for directory in (inboxes, *inboxes.parents[:3]):
        handle = os.open(directory, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
