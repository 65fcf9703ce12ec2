"""control_channel — the messages between the supervisor and one worker, in both directions.

Each start of a worker gets a pair of connected `multiprocessing` connections. STOP and reloaded settings go down, the
reports below go up; an end of file tells either side that the other is gone. Mail never travels on it. Each report is
far below 16 KiB, which `Connection.send` writes in one piece: it arrives whole or not at all, whichever side is killed.
"""

__all__ = ["STOP", "Alive", "CannotStartReport", "ControlMessage", "HealthChanged", "Listening", "Ready", "Report"]

from dataclasses import dataclass
from typing import Literal

from mailroomd.model.settings import Settings

STOP: Literal["stop"] = "stop"
"""The supervisor asks the worker to finish what it has accepted and to exit with 0."""

ControlMessage = Literal["stop"] | Settings
"""Supervisor to worker: STOP, or the settings in effect from now on."""


@dataclass(frozen=True, slots=True)
class Alive:
    """The interpreter runs and the worker's code is loaded: what fails from here on is the worker's own work."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is running; the next one may be started."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses that the worker has bound, with the ports that the system chose."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """A gateway accepts mail if `problem` is empty; otherwise `problem` says why it does not."""

    problem: str


@dataclass(frozen=True, slots=True)
class CannotStartReport:
    """The worker cannot run, and a restart would not help; the sentence is for the user."""

    sentence: str
    exit_code: int


Report = Alive | Ready | Listening | HealthChanged | CannotStartReport
"""Worker to supervisor."""
