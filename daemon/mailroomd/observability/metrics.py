"""metrics — every value that the daemon exposes about itself: its name, its owner, and its offset in shared memory.

Owns the one table of metrics and the layout of a histogram: a bucket for each bit length, then the sum, so that an
observation costs two additions and no search. Durations are kept in nanoseconds, everything else in its own unit.
Not here: the memory (`observability.metrics_block`), the output (`observability.exposition`).
Invariant: a worker writes only the metrics that its role owns; each word has one writer.
"""

__all__ = ["BLOCK_WORDS", "BUCKETS", "METRICS", "PREFIX", "ROLES", "Kind", "Metric", "role_of"]

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mailroomd.model.errors import Reason

BUCKETS = 64  # of a histogram: values of 0 to 63 bits
ROLES = ("gateway", "mailbox", "command-queue", "relay")
PREFIX = "mailroom_"


class Kind(StrEnum):
    """The type of a metric, in Prometheus' terms."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of one owner.

    Attributes:
        name: the full name; two owners may have metrics of the same name, with different label values.
        owner: the role that writes it.
        help: one line of help text.
        label: the name of its label, empty if it has none.
        values: the values of the label, in the order of their words.
        at: the index of its first word in the owner's block.
    """

    name: str
    kind: Kind
    owner: str
    help: str
    label: str
    values: tuple[str, ...]
    at: int

    @property
    def words(self) -> int:
        """The number of words it occupies."""
        return BUCKETS + 1 if self.kind is Kind.HISTOGRAM else len(self.values)

    @property
    def is_duration(self) -> bool:
        """Whether it is kept in nanoseconds and shown in seconds."""
        return self.name.endswith("_seconds")

    def word(self, value: str) -> int:
        """Returns the index of the word for a label value."""
        return self.at + self.values.index(value)


class _Table:
    """Declares metrics and assigns their words."""

    def __init__(self) -> None:
        self.metrics: list[Metric] = []
        self.words = 0

    def counter(self, owner: str, name: str, text: str, label: str = "", values: Iterable[str] = ("",)) -> Metric:
        return self._declare(name, Kind.COUNTER, owner, text, label, tuple(values))

    def gauge(self, owner: str, name: str, text: str, label: str = "", values: Iterable[str] = ("",)) -> Metric:
        return self._declare(name, Kind.GAUGE, owner, text, label, tuple(values))

    def histogram(self, owner: str, name: str, text: str) -> Metric:
        return self._declare(name, Kind.HISTOGRAM, owner, text, "", ("",))

    def _declare(self, name: str, kind: Kind, owner: str, text: str, label: str, values: tuple[str, ...]) -> Metric:
        metric = Metric(PREFIX + name, kind, owner, text, label, values, self.words)
        self.words += metric.words
        self.metrics.append(metric)
        return metric


_table = _Table()
_QUEUE_HELP = "Items waiting for space in a queue between two workers."

SEND_SECONDS = _table.histogram(
    "gateway", "send_seconds", "Duration of a send in the gateway, from request to response."
)
ANSWER_SECONDS = _table.histogram(
    "gateway", "answer_seconds", "From a send's outcome to the gateway that responds to it."
)
STREAM_SECONDS = _table.histogram(
    "gateway", "stream_seconds", "From accepting a message to writing it to a live stream; exact to a millisecond."
)
REFUSALS = _table.counter("gateway", "refusals_total", "Refused requests, by reason.", "reason", Reason)
SUBSCRIBERS = _table.gauge("gateway", "subscribers", "Open Subscribe streams of agents.")
CALLS_WAITING = _table.gauge("gateway", "calls_waiting", "Calls waiting for the mailbox.")
REQUESTS_QUEUE = _table.gauge("gateway", "queue_items", _QUEUE_HELP, "queue", ("requests",))

SENDS = _table.counter("mailbox", "sends_total", "Messages made durable.")
REPEATS = _table.counter("mailbox", "repeats_total", "Sends recognized as repetitions by their idempotency key.")
STATES = _table.counter(
    "mailbox",
    "states_total",
    "Messages that reached a delivery state.",
    "state",
    ("stored", "filed", "offered", "read", "expired", "returned"),
)
INTAKE_SECONDS = _table.histogram("mailbox", "intake_seconds", "From the gateway to the mailbox.")
STORE_SECONDS = _table.histogram(
    "mailbox", "store_seconds", "From the mailbox's command to its outcome: message durable and filed."
)
ORDERS_PENDING = _table.gauge("mailbox", "orders_pending", "Commands in flight: the command-queue has no outcome yet.")
MAILBOX_QUEUES = _table.gauge("mailbox", "queue_items", _QUEUE_HELP, "queue", ("writes", "events"))
TABLE_RING = _table.gauge(
    "mailbox", "table_ring_bytes", "The ring of recent messages in shared memory.", "part", ("size", "used")
)
TABLE_MAILBOXES = _table.gauge(
    "mailbox", "table_mailboxes", "Mailboxes with counters in shared memory.", "part", ("size", "used")
)
TABLE_EVICTED = _table.counter("mailbox", "table_evicted_bytes_total", "Bytes of messages evicted from the ring.")

COMMIT_SECONDS = _table.histogram("command-queue", "commit_seconds", "Duration of a transaction, with its fsync.")
FSYNC_SECONDS = _table.histogram(
    "command-queue", "fsync_seconds", "Last step of a transaction: writing the log and fsync."
)
FILE_SECONDS = _table.histogram("command-queue", "file_seconds", "Writing the inbox files of one transaction.")
COMMIT_COMMANDS = _table.histogram("command-queue", "commit_commands", "Commands in one transaction.")
OVERDUE_DEADLINES = _table.counter(
    "command-queue", "overdue_total", "Messages whose senders were told that no answer had come by its deadline."
)
OUTCOMES_QUEUE = _table.gauge("command-queue", "queue_items", _QUEUE_HELP, "queue", ("outcomes",))
FILES_WAITING = _table.gauge("command-queue", "files_waiting", "Inbox files waiting to be written again.")
TEAM_WAITING = _table.gauge("command-queue", "team_entries_waiting", "Entries not yet written to team inboxes.")
INDEX_BACKLOG = _table.gauge("command-queue", "index_backlog", "Messages not yet indexed for full-text search.")
DISK_FREE = _table.gauge("command-queue", "disk_free_bytes", "Free space on the disk.", "place", ("state", "root"))
DATABASE_BYTES = _table.gauge(
    "command-queue",
    "database_bytes",
    "Size of the database, and the sizes that warn and refuse sends (0: no limit).",
    "part",
    ("used", "warn", "max"),
)
STORE_WRITABLE = _table.gauge(
    "command-queue", "store_writable", "1 while sends are accepted, 0 while there is no space for them."
)

HUB_OPEN = _table.gauge("relay", "hub_open", "1 while mail is exchanged with the hub.")
HUB_BATCHES = _table.counter(
    "relay",
    "hub_batches_total",
    "Batches of mail for and from other hosts; those put off come again.",
    "step",
    ("sent", "stored", "put-off", "dropped"),
)
HUB_REPEATS = _table.counter("relay", "hub_repeats_total", "How often mail was sent again, not confirmed by its host.")
HUB_WAITING = _table.gauge("relay", "hub_waiting", "Messages and receipts that their hosts have not confirmed.")
HUB_OLDEST_MS = _table.gauge("relay", "hub_oldest_waiting_ms", "Age of the oldest of them, in milliseconds.")

METRICS = tuple(_table.metrics)
BLOCK_WORDS = _table.words


def role_of(process: str) -> str:
    """Returns the role of a process: gateway for gateway-1."""
    return next((role for role in ROLES if process == role or process.startswith(f"{role}-")), process)
