"""What a host needs at the hub: the stream of mail, the buckets of records, and its own consumer.

Owns their configuration, which the first host makes them with. A bucket is a stream that keeps the last record of each
name. Not here: making them (`hub`), changing them later (`hub_operator`).
"""

__all__ = [
    "BUCKETS",
    "UNACKNOWLEDGED_BATCHES",
    "Bucket",
    "bucket_config",
    "consumer_config",
    "copies",
    "mail_config",
]

from collections.abc import Sequence
from typing import Any, NamedTuple

COPIES = 3  # of each stream, where the hub has as many servers
KEPT_SEC = 30 * 24 * 3600
MAX_BATCHES_PER_PAIR = 10_000
DUPLICATE_WINDOW_SEC = 120
ACK_WAIT_SEC = 60
UNACKNOWLEDGED_BATCHES = 64


class Bucket(NamedTuple):
    """A bucket: where its records are, and how long, or 0 if they stay."""

    storage: str
    age_sec: int


BUCKETS = {"hosts": Bucket("file", 0), "alive": Bucket("memory", 180), "removed": Bucket("file", 0)}
"""The keys of hosts; what they say every half minute; those that the operator has removed."""


def copies(servers: Sequence[str]) -> int:
    """Returns how many servers hold each stream."""
    return COPIES if len(servers) >= COPIES else 1


def mail_config(name: str, shard: str) -> dict[str, Any]:
    """Returns the configuration of the stream of mail."""
    return {
        "name": name,
        "subjects": [f"mail.{shard}.*.*"],
        "storage": "file",
        "retention": "workqueue",
        "discard": "new",
        "discard_new_per_subject": True,
        "max_msgs_per_subject": MAX_BATCHES_PER_PAIR,
        "max_age": _nanoseconds(KEPT_SEC),
        "duplicate_window": _nanoseconds(DUPLICATE_WINDOW_SEC),
    }


def bucket_config(name: str, bucket: Bucket) -> dict[str, Any]:
    """Returns the configuration of the stream behind a bucket."""
    return {
        "name": f"KV_{name}",
        "subjects": [f"$KV.{name}.>"],
        "storage": bucket.storage,
        "max_msgs_per_subject": 1,
        "discard": "new",
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "max_age": _nanoseconds(bucket.age_sec),
    }


def consumer_config(host: str, shard: str) -> dict[str, Any]:
    """Returns the configuration of a host's consumer."""
    return {
        "durable_name": host,
        "filter_subject": f"mail.{shard}.{host}.*",
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "ack_wait": _nanoseconds(ACK_WAIT_SEC),
        "max_deliver": -1,
        "max_ack_pending": UNACKNOWLEDGED_BATCHES,
    }


def _nanoseconds(seconds: int) -> int:
    return seconds * 1_000_000_000
