"""FairShare — keeps one client from using up a limit that all clients share.

Owns the rule: the last tenth of a limit is a reserve, and one client may take at most half of it. So a client that
floods a mailbox can fill most of it, which a single busy sender may do, but never all of it: others can use the rest.
Counting who holds what would cost memory for each unread message, so only what is taken from the reserve is counted,
until usage falls below it again. A limit below 20 has no reserve. Pure.
"""

__all__ = ["Admission", "FairShare", "may_use"]

from collections import OrderedDict
from enum import Enum

RESERVE = 10  # the last of ten parts
SHARES = 2  # of the reserve, one per client
MAX_RESOURCES = 1000  # whose reserves are counted; only those that are nearly full have an entry


class Admission(Enum):
    """Whether a client may use one more of a limit."""

    ADMITTED = "admitted"
    FULL = "full"
    SHARE_USED = "share used"
    """The remainder is reserved for other clients."""


def may_use(limit: int, used: int, own: int) -> Admission:
    """Returns whether a client may use one more.

    Args:
        limit: of all clients together.
        used: by all clients together.
        own: what this client has taken of the reserve; or of the whole, where that is known.
    """
    if used >= limit:
        return Admission.FULL
    reserve = _reserve(limit)
    if used < limit - reserve or own < reserve // SHARES:
        return Admission.ADMITTED
    return Admission.SHARE_USED


def _reserve(limit: int) -> int:
    return limit // RESERVE // SHARES * SHARES


class FairShare:
    """Counts what clients take from the reserves of several resources that have the same limit."""

    def __init__(self) -> None:
        self._taken: OrderedDict[str, dict[str, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._taken)

    def admit(self, resource: str, client: str, used: int, limit: int) -> Admission:
        """Admits one use of a resource, or says why not; an admitted use of the reserve is counted.

        Args:
            resource: its name.
            client: its name.
            used: by all clients together, without this use.
            limit: of all clients together.
        """
        if used < limit - _reserve(limit):
            self._taken.pop(resource, None)
            return Admission.ADMITTED
        taken = self._taken.get(resource, {})
        admission = may_use(limit, used, taken.get(client, 0))
        if admission is Admission.ADMITTED:
            taken[client] = taken.get(client, 0) + 1
            self._taken[resource] = taken
            if len(self._taken) > MAX_RESOURCES:
                self._taken.popitem(last=False)
        return admission
