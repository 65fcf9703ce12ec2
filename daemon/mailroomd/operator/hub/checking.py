"""Checking a host's part in a hub: what `mailroom hub doctor` looks at.

Reads the hub file, and what the relay wrote last; connects to nothing itself, so that it is harmless at any time. Not
here: the checks of everything else (`operator.doctor`).
"""

__all__ = ["Check", "check"]

import importlib.util
from pathlib import Path
from typing import NamedTuple

from mailroomd.core.host_directory import HostDirectory, HostRecord
from mailroomd.model.clock import now_ms
from mailroomd.operator.hub.joining import HUB_FILE_NAME
from mailroomd.relay.hub_file import HubFileUnusable, read_hub_file

CLOCK_TOLERATED_MS = 60_000
SILENT_MS = 120_000  # the relay writes its file every 15 s, and talks to the hub every 30 s


class Check(NamedTuple):
    """One thing that was looked at; `problem` is "" if nothing is wrong with it."""

    subject: str
    problem: str


def check(state_dir: Path) -> list[Check]:
    """Returns what was looked at."""
    checks = [Check("packages", _package_problem())]
    try:
        hub_file = read_hub_file(state_dir / HUB_FILE_NAME)
    except HubFileUnusable as error:
        return [*checks, Check("hub file", str(error))]
    checks.append(Check(f"hub file of {hub_file.host}", ""))
    directory = HostDirectory(state_dir).content()
    if not directory.host:
        problem = f"the daemon has not run with --hub {state_dir / HUB_FILE_NAME} yet: start it so"
        return [*checks, Check("relay", problem)]
    checks.append(Check("hub", directory.problem or _contact_problem(directory.contact_ms)))
    checks.append(Check("rules", _rules_problem(directory.unmatched_rules)))
    checks.append(Check("clock", _clock_problem("this host", directory.behind_ms)))
    return checks + [Check(f"host {name}", _host_problem(name, record)) for name, record in directory.hosts.items()]


def _rules_problem(unmatched: list[str]) -> str:
    rules = ", ".join(unmatched)
    return f"{rules} of --hub-accept or --hub-deny: no such host was seen; check its name" if unmatched else ""


def _host_problem(name: str, record: HostRecord) -> str:
    return record.problem or _clock_problem(name, record.behind_ms)


def _clock_problem(host: str, behind_ms: int) -> str:
    """Returns what is wrong with a clock; mail crosses all the same, and times to live are corrected."""
    if abs(behind_ms) <= CLOCK_TOLERATED_MS:
        return ""
    direction = "behind" if behind_ms > 0 else "ahead of"
    return f"the clock of {host} is {abs(behind_ms) // 1000:,} s {direction} the hub's: set one of them right (NTP)"


def _package_problem() -> str:
    missing = [name for name in ("nats", "nacl") if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} missing: pip install 'mailroomd[hub]'" if missing else ""


def _contact_problem(contact_ms: int) -> str:
    age_ms = now_ms() - contact_ms
    if not contact_ms:
        return "the hub has never answered: check its address, and that it runs"
    if age_ms > SILENT_MS:
        return f"the last contact was {age_ms // 1000:,} s ago: check that the daemon runs, and that the hub does"
    return ""
