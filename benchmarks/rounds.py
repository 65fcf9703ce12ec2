"""rounds — interleaves the contenders of a comparison and computes medians.

Every contender has a turn in each round, so that a machine that slows down affects all of them; a ratio is the median
of the ratios within each round. Not here: names of figures, aims.
"""

__all__ = ["Rounds"]

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping

from benchmarks.results import Samples

Measurement = Callable[[int], Mapping[str, float]]


class Rounds:
    """The measurements of several rounds, by name."""

    def __init__(self) -> None:
        self._samples: defaultdict[str, list[float]] = defaultdict(list)

    def run(self, rounds: int, *contenders: Measurement) -> None:
        """Calls each contender once per round with the round's number; it returns its samples by name."""
        for round_number in range(rounds):
            for contender in contenders:
                for name, value in contender(round_number).items():
                    self._samples[name].append(value)

    def median(self, name: str) -> float:
        """Returns the median over all rounds."""
        return statistics.median(self._samples[name])

    def ratio(self, ours: str, *theirs: str) -> float:
        """Returns the median, over all rounds, of ours divided by the sum of theirs."""
        yardstick = [sum(parts) for parts in zip(*(self._samples[name] for name in theirs), strict=True)]
        pairs = zip(self._samples[ours], yardstick, strict=True)
        return statistics.median(value / reference for value, reference in pairs)

    @property
    def samples(self) -> Samples:
        """Every measurement, by name and in order."""
        return dict(self._samples)
