"""Limits — the fixed bounds of the contract, each with its unit and reason. None of them is a setting.

Those of a message's fields are declared with the fields (`mailroom.message_fields`).
"""

__all__ = [
    "ALIVE_MS",
    "CHECK_DEFAULT_LIMIT",
    "CHECK_MAX_LIMIT",
    "CLEAR_SLICE",
    "DEFAULT_ALIAS_TTL_MS",
    "DEFAULT_PERIOD_MS",
    "IDLE_AGENTS_KEPT",
    "MAX_ALIASES",
    "MAX_BATCH_BYTES",
    "MAX_BATCH_EVENTS",
    "MAX_BROADCAST_RECIPIENTS",
    "MAX_BULK_MESSAGES",
    "MAX_CONTENT_BYTES",
    "MAX_FORWARD_BYTES",
    "MAX_IDS_PER_CALL",
    "MAX_KEY_CHARS",
    "MAX_METADATA_BYTES",
    "MAX_METADATA_DEPTH",
    "MAX_PAGE_BYTES",
    "MAX_PREVIEW_BYTES",
    "MAX_QUERY_CHARS",
    "MAX_STRUCT_BYTES",
    "MAX_STRUCT_VALUES",
    "MAX_THREAD_ID_BYTES",
    "MAX_TTL_MS",
    "MAX_WAITING_BYTES",
    "MAX_WAITING_CALLS",
    "PAGE_DEFAULT_SIZE",
    "PAGE_MAX_SIZE",
    "STATS_MAX_SIZE",
    "WAIT_WITHOUT_DEADLINE_SEC",
]

from mailroom.message_fields import limit_of

MAX_CONTENT_BYTES = limit_of("content")  # of UTF-8
MAX_METADATA_BYTES = limit_of("metadata")  # as JSON
MAX_METADATA_DEPTH = 32  # levels; protobuf's own parser stops slightly above
MAX_THREAD_ID_BYTES = limit_of("thread_id")  # of UTF-8
MAX_KEY_CHARS = 128  # printable ASCII
MAX_TTL_MS = limit_of("ttl")  # also of an alias
MAX_IDS_PER_CALL = 1000  # ids in one AcknowledgeMessages or MarkOffered: keeps packets and transactions small
MAX_BROADCAST_RECIPIENTS = 1000
MAX_BULK_MESSAGES = 1000  # messages in one SendMessagesRequest

CHECK_DEFAULT_LIMIT = 50  # messages in one CheckInbox response
CHECK_MAX_LIMIT = 1000
MAX_PREVIEW_BYTES = 64 << 10  # of a message in a list
DEFAULT_PERIOD_MS = 3_600_000  # of GetTraffic
PAGE_DEFAULT_SIZE = 50  # messages on one page of ListMessages
PAGE_MAX_SIZE = 1000
STATS_MAX_SIZE = 20_000  # mailboxes on one page: with the longest names they fit into 3 MiB
MAX_QUERY_CHARS = 1000  # of a search text
MAX_BATCH_EVENTS = 1000  # in one response of Subscribe; the daemon reads fewer at a time
MAX_BATCH_BYTES = 256 << 10  # of events in one response; more would hardly save anything, and a stalled stream holds it
MAX_PAGE_BYTES = 3 << 20  # of content and metadata in one response; by default, gRPC clients accept 4 MiB

MAX_STRUCT_BYTES = 1 << 20  # of a response as JSON; larger ones are sent as text
MAX_STRUCT_VALUES = 50_000  # in a response, likewise: as a Struct each value takes about 20 bytes and 1 µs
DEFAULT_ALIAS_TTL_MS = 24 * 3600 * 1000
MAX_FORWARD_BYTES = 1 << 30  # that wait for one other host, unless --max-forward-size says otherwise
ALIVE_MS = 5 * 60 * 1000  # since its last call: an agent without a subscription counts as alive for this long
CLEAR_SLICE = 500  # messages deleted in one transaction of ClearMailbox: about 10 ms

MAX_ALIASES = 10_000  # live ones; every gateway keeps a copy
IDLE_AGENTS_KEPT = 10_000  # agents without mail that are remembered; a client may invent any number of names

MAX_WAITING_CALLS = 10_000  # calls that wait in one gateway for the mailbox
MAX_WAITING_BYTES = 256 << 20  # held by these calls together
WAIT_WITHOUT_DEADLINE_SEC = 30.0  # how long a call without a deadline waits
