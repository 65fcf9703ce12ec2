"""Problems — logs what is wrong in the outbox: each problem once, and a bounded number of lines per period.

Owns what has been logged, and the budget: beyond `LINES_MOST` lines in a period problems are counted, and the count is
logged when the period is over. Time is the caller's monotonic clock.
Invariant: what is remembered is bounded; beyond the bound a new problem is neither logged nor counted.
"""

__all__ = ["Problems"]

from collections.abc import Hashable

from mailroomd.observability.log import log

KNOWN_MOST = 1000  # problems that are remembered as logged
LINES_MOST = 20  # in one period
PERIOD_SEC = 60.0


class Problems:
    """Logs problems.

    Attributes:
        now_sec: the time of the call that is being served.
    """

    def __init__(self) -> None:
        self.now_sec = 0.0
        self._logged: set[Hashable] = set()
        self._period_end_sec = 0.0
        self._lines = 0
        self._counts: dict[str, int] = {}  # by event: problems that were not logged in this period

    def report(self, key: Hashable, event: str, error: OSError | None = None, **fields: object) -> None:
        """Logs a problem unless it is known already: as an error if it has a reason, otherwise as a warning."""
        if key in self._logged or len(self._logged) >= KNOWN_MOST:
            return
        self._logged.add(key)
        if error is None:
            self._write("warning", event, fields)
        else:
            self._write("error", event, {**fields, "error": error.strerror or str(error)})

    def report_file(self, event: str, **fields: object) -> None:
        """Logs a problem with a file, as an error; the caller reports each condition of a file once."""
        self._write("error", event, fields)

    def resolve(self, key: Hashable) -> None:
        """Forgets a problem: it is logged when it comes back."""
        self._logged.discard(key)

    def log_counts(self) -> None:
        """Logs how many problems were only counted, when the period is over."""
        if self._counts and self.now_sec >= self._period_end_sec:
            counts, self._counts = self._counts, {}
            for event, count in counts.items():
                log.warning("outbox problems not logged one by one", problem=event, count=count)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if self.now_sec >= self._period_end_sec:
            self.log_counts()
            self._period_end_sec, self._lines = self.now_sec + PERIOD_SEC, 0
        self._lines += 1
        if self._lines > LINES_MOST:
            self._count(event)
        elif level == "error":
            log.error(event, **fields)
        else:
            log.warning(event, **fields)

    def _count(self, event: str) -> None:
        self._counts[event] = self._counts.get(event, 0) + 1
