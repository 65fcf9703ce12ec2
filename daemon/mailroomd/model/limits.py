"""Limits — every bound of the contract, with its unit and its reason. None of them is a setting."""

__all__ = [
    "ALIVE_MS",
    "CHECK_DEFAULT_LIMIT",
    "CHECK_MAX_LIMIT",
    "CLEAR_SLICE",
    "DEFAULT_ALIAS_TTL_MS",
    "IDLE_AGENTS_KEPT",
    "MAX_ALIASES",
    "MAX_BROADCAST_RECIPIENTS",
    "MAX_BULK_MESSAGES",
    "MAX_CONTENT_BYTES",
    "MAX_IDS_PER_CALL",
    "MAX_KEY_CHARS",
    "MAX_METADATA_BYTES",
    "MAX_METADATA_DEPTH",
    "MAX_PAGE_BYTES",
    "MAX_QUERY_CHARS",
    "MAX_STRUCT_BYTES",
    "MAX_STRUCT_VALUES",
    "MAX_TTL_MS",
    "MAX_TYPE_BYTES",
    "MAX_WAITING_BYTES",
    "MAX_WAITING_CALLS",
    "PAGE_DEFAULT_SIZE",
    "PAGE_MAX_SIZE",
    "WAIT_WITHOUT_DEADLINE_SEC",
]

MAX_CONTENT_BYTES = 1 << 20  # UTF-8; a message is a message, not a file transfer
MAX_METADATA_BYTES = 64 << 10  # as JSON
MAX_METADATA_DEPTH = 32  # levels; protobuf's own parser gives up a little above
MAX_TYPE_BYTES = 128  # of UTF-8; also for thread_id
MAX_KEY_CHARS = 128  # printable ASCII
MAX_TTL_MS = 10 * 365 * 24 * 3600 * 1000  # ten years; keeps every sum of times far from 63 bits
MAX_IDS_PER_CALL = 1000  # ids in one AcknowledgeMessages or MarkOffered: keeps a packet and a transaction small
MAX_BROADCAST_RECIPIENTS = 1000
MAX_BULK_MESSAGES = 1000  # messages in one SendMessagesRequest

CHECK_DEFAULT_LIMIT = 50  # messages in one CheckInbox answer
CHECK_MAX_LIMIT = 1000
PAGE_DEFAULT_SIZE = 50  # messages on one page of ListMessages
PAGE_MAX_SIZE = 1000
MAX_QUERY_CHARS = 1000  # of a text to look for; SQLite compares every message with it
MAX_PAGE_BYTES = 3 << 20  # of content and metadata in one answer; gRPC clients take 4 MiB unless told otherwise

MAX_STRUCT_BYTES = 1 << 20  # of a command response as JSON; a larger one travels as text
MAX_STRUCT_VALUES = 50_000  # in it, likewise: each takes some 20 bytes and 1 µs as a Struct
DEFAULT_ALIAS_TTL_MS = 24 * 3600 * 1000
ALIVE_MS = 5 * 60 * 1000  # since it was here last, an agent that does not subscribe counts as alive
CLEAR_SLICE = 500  # messages deleted in one transaction of ClearMailbox: some 10 ms

MAX_ALIASES = 10_000  # that last: each gateway keeps them, too
IDLE_AGENTS_KEPT = 10_000  # agents without mail that are remembered at least; a client may make names up for ever

MAX_WAITING_CALLS = 10_000  # sends that wait in one gateway for a worker to come back
MAX_WAITING_BYTES = 256 << 20  # and what they may weigh together
WAIT_WITHOUT_DEADLINE_SEC = 30.0  # how long a call without a deadline of its own waits
