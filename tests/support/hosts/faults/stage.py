"""Stage — what a fault needs: the bed, the mail in it, and chance."""

__all__ = ["Fault", "Stage"]

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from support.harness.waiting import pause
from support.hosts.traffic import Traffic
from support.hosts.wide_bed import HOSTS, SERVERS, WideBed


@dataclass
class Stage:
    """Where a fault happens.

    Attributes:
        short_sec, long_sec: how long faults last, at least and at most.
    """

    bed: WideBed
    traffic: Traffic
    chance: Random
    short_sec: float = 0.5
    long_sec: float = 8.0

    def host(self) -> str:
        """Returns any host."""
        return self.chance.choice(HOSTS)

    def server(self) -> str:
        """Returns any server."""
        return self.chance.choice(SERVERS)

    def last(self) -> None:
        """Lets a fault last for a while."""
        pause(self.chance.uniform(self.short_sec, self.long_sec))


Fault = Callable[[Stage], None]
"""Does something bad, and ends it: afterwards everything runs again."""
