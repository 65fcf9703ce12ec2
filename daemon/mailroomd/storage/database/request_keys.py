"""RequestKeys — recognises a request that was made before.

Owns the two tables of keys: those of clients (sender and key, kept a day from first use, whatever becomes of the
message) and those that gateways make themselves (kept ten minutes, for calls that are repeated to a restarted mailbox).
Not here: transactions, and what is answered (`MessageStore`).
Invariant: a key is taken in the transaction that stores its request, so it never stands for two messages.
"""

__all__ = ["CLIENT_KEYS_KEPT_MS", "GATEWAY_KEYS_KEPT_MS", "PRUNE_SLICE", "KeyReused", "RequestKeys"]

import hashlib
import sqlite3

import msgspec

from mailroomd.model.ids import MS_SHIFT
from mailroomd.model.message import Draft
from mailroomd.protocol.commands import WriteMessage

CLIENT_KEYS_KEPT_MS = 24 * 3600 * 1000
GATEWAY_KEYS_KEPT_MS = 10 * 60 * 1000
PRUNE_SLICE = 500  # keys forgotten in one transaction: a few milliseconds


class KeyReused(Exception):  # noqa: N818 - named for what was found
    """A sender's key was used for a different request before."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the idempotency key {key!r} was used for a different request: use a new key for a new message"
        )


class RequestKeys:
    """Keeps keys.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def first_id(self, command: WriteMessage, draft: Draft) -> int:
        """Returns the id that the same request got before, 0 if it is new.

        Raises:
            KeyReused: it is another request, with the same key.
        """
        if command.client_key:
            found = self._connection.execute(
                "SELECT message_id, digest FROM idempotency_keys WHERE sender = ? AND key = ?",
                (draft.sender, command.key),
            ).fetchone()
            if found and found[1] != _digest(command, draft):
                raise KeyReused(command.key)
        elif command.resubmitted:  # else a gateway's own key is new by its making
            found = self._connection.execute(
                "SELECT message_id FROM request_keys WHERE key = ?", (command.key,)
            ).fetchone()
        else:
            found = None
        return found[0] if found else 0

    def remember(self, command: WriteMessage, draft: Draft) -> None:
        """Takes the key of a request that is stored now."""
        if command.client_key:
            self._connection.execute(
                "INSERT INTO idempotency_keys (sender, key, message_id, digest) VALUES (?, ?, ?, ?)",
                (draft.sender, command.key, command.id, _digest(command, draft)),
            )
        else:
            self._connection.execute(
                "INSERT OR REPLACE INTO request_keys (key, message_id) VALUES (?, ?)", (command.key, command.id)
            )

    def forget_old(self, now_ms: int) -> bool:
        """Forgets a slice of the keys that are past their time; returns whether more are left."""
        before = f"{max(0, now_ms - GATEWAY_KEYS_KEPT_MS):011x}"  # a gateway's key begins with the time of its call
        oldest = max(0, now_ms - CLIENT_KEYS_KEPT_MS) << MS_SHIFT
        gateway = self._connection.execute(
            "DELETE FROM request_keys WHERE key IN (SELECT key FROM request_keys WHERE key < ? ORDER BY key LIMIT ?)",
            (before, PRUNE_SLICE),
        ).rowcount
        client = self._connection.execute(
            "DELETE FROM idempotency_keys WHERE (sender, key) IN"
            " (SELECT sender, key FROM idempotency_keys WHERE message_id < ? ORDER BY message_id LIMIT ?)",
            (oldest, PRUNE_SLICE),
        ).rowcount
        return PRUNE_SLICE in (gateway, client)


def _digest(command: WriteMessage, draft: Draft) -> bytes:
    """Returns the digest of a request as its sender made it, whatever an alias makes of the recipient."""
    if command.addressee:
        draft = msgspec.structs.replace(draft, recipient=command.addressee)
    asked = msgspec.structs.astuple(draft)[:-1]  # without `verified`; packs like the Drafts of version 1
    return hashlib.blake2b(msgspec.msgpack.encode(asked), digest_size=16).digest()
