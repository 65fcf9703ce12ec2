"""Problems — logs what is wrong in the outbox once, until it is resolved and comes back.

Invariant: what is remembered is bounded; beyond the bound nothing new is logged.
"""

__all__ = ["Problems"]

from collections.abc import Hashable

from mailroomd.observability.log import log

PROBLEMS_MOST = 1000  # that are remembered as logged


class Problems:
    """Knows which problems are logged already."""

    def __init__(self) -> None:
        self._logged: set[Hashable] = set()

    def report(self, key: Hashable, event: str, error: OSError | None = None, **fields: object) -> None:
        """Logs a problem, unless it is known already: as an error if it has a reason, otherwise as a warning."""
        if key in self._logged or len(self._logged) >= PROBLEMS_MOST:
            return
        self._logged.add(key)
        if error is None:
            log.warning(event, **fields)
        else:
            log.error(event, **fields, error=error.strerror or str(error))

    def resolve(self, key: Hashable) -> None:
        """Forgets a problem: it is logged when it comes back."""
        self._logged.discard(key)
