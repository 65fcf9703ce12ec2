"""crashing_worker — a worker of the daemon with a fuse in it: what `crashing_daemon` starts in each worker's place.

The plan is read once, at the start: a worker takes the first shot of its list that has not burnt yet by the journal;
behind the list's end it is the worker as it is.
"""

__all__ = ["JOURNAL", "PLAN", "main"]

import importlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from mailroomd.worker.context import WorkerContext
from support.faults.crash_points import Shot, arm

PLAN, JOURNAL = "CRASH_PLAN_OF_TEST", "CRASH_JOURNAL_OF_TEST"
"""Environment variables: shots by process, as JSON; and where a burnt fuse leaves its line."""

_TARGETS = {"command-queue": "command_queue", "mailbox": "mailbox", "gateway": "gateway", "relay": "relay"}


def main(context: WorkerContext, config: Any) -> None:
    """Runs the worker until it is told to stop, or dies of its fuse."""
    shots: list[list[Any]] = json.loads(os.environ.get(PLAN, "{}")).get(context.name, [])
    module = importlib.import_module(f"mailroomd.{_TARGETS[context.name]}.process")
    taken = _burnt(os.environ.get(JOURNAL, ""), context.name)
    if taken < len(shots):
        arm(context.name, Shot(*shots[taken]), os.environ[JOURNAL])
    module.main(context, config)


def _burnt(journal: str, name: str) -> int:
    with suppress(FileNotFoundError):
        return sum(line.startswith(f"{name}: ") for line in Path(journal).read_text().splitlines())
    return 0
