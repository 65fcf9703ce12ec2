"""rounds — interleaves what is compared, and makes medians of it.

In each round every contender has its turn, so that a machine that gets slower slows all of them; a ratio is the median
of the ratios within each round. Owns no figure's name and no aim.
"""

__all__ = ["Rounds"]

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping

from benchmarks.results import Samples

Measurement = Callable[[int], Mapping[str, float]]


class Rounds:
    """The measurements of some rounds, by name."""

    def __init__(self) -> None:
        self._samples: defaultdict[str, list[float]] = defaultdict(list)

    def take(self, rounds: int, *contenders: Measurement) -> None:
        """Lets each contender measure once in each round; it is given the round's number and returns its samples."""
        for number in range(rounds):
            for contender in contenders:
                for name, value in contender(number).items():
                    self._samples[name].append(value)

    def median(self, name: str) -> float:
        """Returns the median over all rounds."""
        return statistics.median(self._samples[name])

    def ratio(self, ours: str, *theirs: str) -> float:
        """Returns the median over the rounds of ours divided by the sum of theirs."""
        yardstick = [sum(parts) for parts in zip(*(self._samples[name] for name in theirs), strict=True)]
        return statistics.median(one / other for one, other in zip(self._samples[ours], yardstick, strict=True))

    @property
    def samples(self) -> Samples:
        """Every single measurement, by name, in order."""
        return dict(self._samples)
