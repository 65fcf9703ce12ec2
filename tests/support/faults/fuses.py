"""fuses — a daemon whose processes die at named points: the test's side of `crashing_daemon` and `crashing_worker`.

Owns how the plan gets there (an environment variable, read once at a worker's start) and the journal of what burnt.
"""

__all__ = ["burnt", "daemon_with_fuses", "lay_fuses", "without_fuses"]

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from support.faults.crash_points import Shot
from support.faults.crashing_worker import JOURNAL, PLAN
from support.harness.daemon import Daemon

_TESTS = Path(__file__).parents[2]


def daemon_with_fuses(directory: Path, plan: Mapping[str, Sequence[Shot]], flags: Sequence[str] = ()) -> Daemon:
    """Returns a daemon, not started.

    Args:
        plan: by process; each start of a worker takes the next shot. The supervisor has all of its own at once.
        flags: further flags; a worker that is slow is not stuck here, as that would be a fault which nobody planned.
    """
    daemon = Daemon(directory, flags)
    lay_fuses(daemon, plan)
    return daemon


def lay_fuses(daemon: Daemon, plan: Mapping[str, Sequence[Shot]]) -> None:
    """Gives a daemon fuses; it is not started yet."""
    daemon.program = (sys.executable, "-m", "support.faults.crashing_daemon")
    daemon.flags = ("--stuck-after", "10s", *daemon.flags)
    daemon.environment |= {
        "PYTHONPATH": str(_TESTS),
        PLAN: json.dumps(plan),
        JOURNAL: str(daemon.directory / "journal"),
    }


def without_fuses(daemon: Daemon) -> None:
    """Makes its next starts those of a daemon as it is."""
    daemon.environment.pop(PLAN)


def burnt(daemon: Daemon) -> list[str]:
    """Returns what burnt, in order: "process: moment name"."""
    with suppress(FileNotFoundError):
        return (daemon.directory / "journal").read_text().splitlines()
    return []
