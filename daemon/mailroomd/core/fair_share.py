"""FairShare — keeps one client from using up a limit that all clients share.

Owns the rule: the last tenth of a limit is a reserve, and one client may take at most half of it. So a client that
floods a mailbox can fill most of it, which a single busy sender may do, but never all of it: others can use the rest.
Counting who holds what would cost memory for each unread message, so only what is taken from the reserve is counted,
until usage falls below it again. After a restart the counts are restored from the newest uses: as many as the reserve
holds. A limit below 20 has no reserve. Pure.
"""

__all__ = ["MAX_RESOURCES", "Admission", "FairShare", "may_use", "reserve_of"]

from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum

RESERVE = 10  # the last of ten parts
SHARES = 2  # of the reserve, one per client
MAX_RESOURCES = 10_000  # whose reserves are counted; only those that are nearly full have an entry, of some 500 bytes


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
    reserve = reserve_of(limit)
    if used < limit - reserve or own < reserve // SHARES:
        return Admission.ADMITTED
    return Admission.SHARE_USED


def reserve_of(limit: int) -> int:
    """Returns how much of a limit is its reserve."""
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
        if used < limit - reserve_of(limit):
            self._taken.pop(resource, None)
            return Admission.ADMITTED
        admission = may_use(limit, used, self._taken.get(resource, {}).get(client, 0))
        if admission is Admission.ADMITTED:
            self._count(resource, client, reserve_of(limit))
        return admission

    def give_back(self, resource: str, client: str) -> None:
        """Takes back an admitted use that did not take place."""
        taken = self._taken.get(resource, {})
        if client in taken:
            taken[client] -= 1

    def restore(self, resource: str, clients: Iterable[str], limit: int) -> None:
        """Counts uses of a resource's reserve that were admitted before a restart.

        Args:
            resource: its name.
            clients: the client of each use.
            limit: of all clients together.
        """
        for client in clients:
            self._count(resource, client, reserve_of(limit))

    def _count(self, resource: str, client: str, reserve: int) -> None:
        taken = self._taken.pop(resource, {})
        taken[client] = taken.get(client, 0) + 1
        if len(taken) > reserve:  # they took turns while others gave up their uses
            del taken[next(iter(taken))]
        self._taken[resource] = taken
        if len(self._taken) > MAX_RESOURCES:
            self._taken.popitem(last=False)
