"""Checking a host's part in a hub: what `mailroom hub doctor` looks at.

Reads the hub file, and what the relay wrote last; connects to nothing itself, so that it is harmless at any time. Not
here: the checks of everything else (`operator.doctor`).
"""

__all__ = ["Check", "check"]

import importlib.util
from pathlib import Path
from typing import NamedTuple

from mailroomd.core.host_directory import HostDirectory
from mailroomd.model.clock import now_ms
from mailroomd.operator.hub.joining import HUB_FILE_NAME
from mailroomd.relay.hub_file import HubFileUnusable, read_hub_file

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
    return checks + [Check(f"host {name}", record.problem) for name, record in directory.hosts.items()]


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
