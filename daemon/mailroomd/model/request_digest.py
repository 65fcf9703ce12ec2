"""digest_of — the digest by which a repeated request under an idempotency key is recognized as the same.

Owns which fields of a draft it covers. Databases keep digests for a day, also across an upgrade, so they must stay as
they are. Not here: the keys (`storage.database.request_keys`).
"""

__all__ = ["DIGEST_FIELDS", "digest_of"]

import hashlib

import msgspec

from mailroomd.model.message import Draft

DIGEST_FIELDS = (
    "recipient",
    "sender",
    "content",
    "type",
    "metadata",
    "thread_id",
    "in_reply_to",
    "priority",
    "ttl_ms",
)
"""The fields of a Draft that make it the same request, in the order of their digest: keys in databases depend on it. A
field that is added later goes to the end, and only into digests of requests that use it. Not `verified`: it depends on
the caller, not on the request."""


def digest_of(draft: Draft) -> bytes:
    """Returns the digest of a request as its sender made it: with the recipient that it named, not an alias's agent."""
    request = [getattr(draft, name) for name in DIGEST_FIELDS]
    return hashlib.blake2b(msgspec.msgpack.encode(request), digest_size=16).digest()
