"""Leash — what the supervisor and one worker say to each other, both ends on one screen.

A pair of connected `multiprocessing` connections for each start of a worker. Down go STOP and new settings, up go the
reports below; its end of file tells either side that the other is gone. No message of the mail room ever travels on it.
Each report is far below 16 KiB, which `Connection.send` writes in one piece: whole or absent, whoever is killed.
"""

__all__ = ["STOP", "CannotStartReport", "HealthChanged", "Listening", "Order", "Ready", "Report"]

from dataclasses import dataclass
from typing import Literal

from mailroomd.model.settings import Settings

STOP: Literal["stop"] = "stop"
"""The supervisor asks the worker to finish what was accepted, and to exit with 0."""

Order = Literal["stop"] | Settings
"""What goes down: STOP, or the settings that hold from now on."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker does its work from now on; the next one may be started."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses that the worker has bound, with the ports that the system chose."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """A gateway takes mail from now on, or it doesn't: then `trouble` says why."""

    trouble: str


@dataclass(frozen=True, slots=True)
class CannotStartReport:
    """The worker cannot do its work, and starting it again would not help: the sentence is for the user."""

    sentence: str
    exit_code: int


Report = Ready | Listening | HealthChanged | CannotStartReport
"""What goes up."""
