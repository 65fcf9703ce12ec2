"""RequestKeys — recognizes a request that was made before.

Owns the two tables of keys: idempotency keys of clients (sender and key, kept a day from first use, even if the
message is deleted) and keys that gateways make (kept ten minutes, for calls that are repeated to a restarted mailbox).
Not here: transactions, and what is answered (`NewMessages`), the digest (`model.request_digest`).
Invariant: a key is taken in the transaction that stores its request, so it never stands for two messages.
"""

__all__ = ["CLIENT_KEYS_KEPT_MS", "GATEWAY_KEYS_KEPT_MS", "PRUNE_SLICE", "KeyReused", "RequestKeys"]

import sqlite3

from mailroomd.protocol.operations import Send

CLIENT_KEYS_KEPT_MS = 24 * 3600 * 1000
GATEWAY_KEYS_KEPT_MS = 10 * 60 * 1000
PRUNE_SLICE = 500  # keys deleted in one transaction: a few milliseconds


class KeyReused(Exception):  # noqa: N818 - a condition, not a defect
    """A sender used its key for a different request before."""

    def __init__(self, key: str) -> None:
        super().__init__(f"idempotency key {key!r} was used for a different request: use a new key for a new message")


class RequestKeys:
    """Keeps keys.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def first_id(self, send: Send, *, is_resubmitted: bool) -> int:
        """Returns the id that the same request got before, 0 if it is new.

        Args:
            send: the request.
            is_resubmitted: whether a mailbox that has been replaced may have received it, too.

        Raises:
            KeyReused: the key belongs to a different request.
        """
        if send.is_client_key:
            row = self._connection.execute(
                "SELECT message_id, digest FROM idempotency_keys WHERE sender = ? AND key = ?",
                (send.sender, send.key),
            ).fetchone()
            if row and row[1] != send.digest:
                raise KeyReused(send.key)
        elif is_resubmitted:  # otherwise a gateway's key is new: it made it for this call
            row = self._connection.execute("SELECT message_id FROM request_keys WHERE key = ?", (send.key,)).fetchone()
        else:
            row = None
        return row[0] if row else 0

    def remember(self, send: Send, message_id: int, now_ms: int) -> None:
        """Takes the key of a request that is stored now."""
        if send.is_client_key:
            self._connection.execute(
                "INSERT INTO idempotency_keys (sender, key, message_id, digest, used_ms) VALUES (?, ?, ?, ?, ?)",
                (send.sender, send.key, message_id, send.digest, now_ms),
            )
        else:
            self._connection.execute(
                "INSERT OR REPLACE INTO request_keys (key, message_id) VALUES (?, ?)", (send.key, message_id)
            )

    def delete_old_keys(self, now_ms: int) -> bool:
        """Deletes a slice of the keys that are past their retention; returns whether more are left."""
        oldest_key = f"{max(0, now_ms - GATEWAY_KEYS_KEPT_MS):011x}"  # a gateway's key begins with the time of its call
        gateway_keys = self._connection.execute(
            "DELETE FROM request_keys WHERE key IN (SELECT key FROM request_keys WHERE key < ? ORDER BY key LIMIT ?)",
            (oldest_key, PRUNE_SLICE),
        ).rowcount
        client_keys = self._connection.execute(
            "DELETE FROM idempotency_keys WHERE (sender, key) IN"
            " (SELECT sender, key FROM idempotency_keys WHERE used_ms < ? ORDER BY used_ms LIMIT ?)",
            (now_ms - CLIENT_KEYS_KEPT_MS, PRUNE_SLICE),
        ).rowcount
        return PRUNE_SLICE in (gateway_keys, client_keys)
