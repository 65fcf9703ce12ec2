"""PendingCalls — counts the calls that wait for the mailbox, and gives each client a share of the gateway's room.

Owns the bounds for all clients together (10,000 calls, 256 MiB), the share of one client, and the part that is kept for
the owner. Pure. Invariant: neither one client nor all clients with tokens together can take the last room.
"""

__all__ = ["RETRY_AFTER_MS", "PendingCalls"]

from collections import Counter

from mailroomd.auth.caller import Caller, Role
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import MAX_WAITING_BYTES, MAX_WAITING_CALLS

RETRY_AFTER_MS = 500  # by then a restarted worker has usually caught up
MAX_CLIENT_CALLS = MAX_WAITING_CALLS // 5  # of one client: two full batches
MAX_CLIENT_BYTES = MAX_WAITING_BYTES // 4
OWNER_CALLS = MAX_WAITING_CALLS // 5  # that other clients leave to the owner
OWNER_BYTES = MAX_WAITING_BYTES // 4


class PendingCalls:
    """Counts calls and the bytes that they hold, by client."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._all_calls = 0
        self._all_bytes = 0

    def check_room(self, caller: Caller, weight_bytes: int) -> None:
        """Checks whether there is room for one more call.

        Raises:
            MailroomError: TOO_MANY_WAITING.
        """
        is_owner = caller.role is Role.OWNER
        max_calls = MAX_WAITING_CALLS - (0 if is_owner else OWNER_CALLS)
        max_bytes = MAX_WAITING_BYTES - (0 if is_owner else OWNER_BYTES)
        if self._all_calls >= max_calls or self._all_bytes + weight_bytes > max_bytes:
            raise _too_many(f"{self._all_calls:,} calls are pending already: retry a little later")
        calls, size_bytes = self._calls[caller.client], self._bytes[caller.client]
        if not is_owner and (calls >= MAX_CLIENT_CALLS or size_bytes + weight_bytes > MAX_CLIENT_BYTES):
            raise _too_many(f"{calls:,} calls of this client are pending already: send fewer at a time")

    def add(self, client: str, weight_bytes: int) -> None:
        """Counts a call."""
        self._calls[client] += 1
        self._bytes[client] += weight_bytes
        self._all_calls += 1
        self._all_bytes += weight_bytes

    def remove(self, client: str, weight_bytes: int) -> None:
        """Ends a call's count."""
        self._calls[client] -= 1
        self._bytes[client] -= weight_bytes
        self._all_calls -= 1
        self._all_bytes -= weight_bytes
        if not self._calls[client]:
            del self._calls[client], self._bytes[client]


def _too_many(sentence: str) -> MailroomError:
    return MailroomError(Reason.TOO_MANY_WAITING, sentence, retry_after_ms=RETRY_AFTER_MS)
