"""Metrics — every number that the daemon shows of itself: its name, its owner, and its place in shared memory.

Owns the one table of metrics, and the form of a histogram: a bucket for each length in bits, so that observing costs
two additions and no search; then the sum. Times are kept in nanoseconds, all else in its own unit.
Not here: the memory (`observability.metrics_block`), what is shown of it (`observability.exposition`). Above: the workers that count.
Invariant: a worker writes the metrics that it owns and no others; each word has one writer.
"""

__all__ = ["BLOCK_WORDS", "BUCKETS", "METRICS", "PREFIX", "ROLES", "Kind", "Metric", "role_of"]

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mailroomd.model.errors import Reason

BUCKETS = 64  # of a histogram: values of 0 to 63 bits
ROLES = ("gateway", "mailbox", "command-queue")
PREFIX = "mailroom_"


class Kind(StrEnum):
    """What a number is, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of one owner.

    Attributes:
        name: its whole name; two owners may have metrics of one name, with different values of its label.
        owner: the role that writes it.
        help: one line for who reads it.
        label: what its values are distinguished by, "" for a single one.
        values: of the label, in the order of their words.
        at: its first word in its owner's block.
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
        """How many words it takes."""
        return BUCKETS + 1 if self.kind is Kind.HISTOGRAM else len(self.values)

    @property
    def is_duration(self) -> bool:
        """Whether it is kept in nanoseconds and shown in seconds."""
        return self.name.endswith("_seconds")

    def word(self, value: str) -> int:
        """Returns where a value of the label is counted."""
        return self.at + self.values.index(value)


class _Table:
    """Gives each metric its place."""

    def __init__(self) -> None:
        self.metrics: list[Metric] = []
        self.words = 0

    def counter(self, owner: str, name: str, text: str, label: str = "", values: Iterable[str] = ("",)) -> Metric:
        return self._add(name, Kind.COUNTER, owner, text, label, tuple(values))

    def gauge(self, owner: str, name: str, text: str, label: str = "", values: Iterable[str] = ("",)) -> Metric:
        return self._add(name, Kind.GAUGE, owner, text, label, tuple(values))

    def histogram(self, owner: str, name: str, text: str) -> Metric:
        return self._add(name, Kind.HISTOGRAM, owner, text, "", ("",))

    def _add(self, name: str, kind: Kind, owner: str, text: str, label: str, values: tuple[str, ...]) -> Metric:
        metric = Metric(PREFIX + name, kind, owner, text, label, values, self.words)
        self.words += metric.words
        self.metrics.append(metric)
        return metric


_table = _Table()
_QUEUE_HELP = "Items that wait for room in a queue between two workers."

SEND_SECONDS = _table.histogram("gateway", "send_seconds", "A send, from its request to its answer.")
ANSWER_SECONDS = _table.histogram("gateway", "answer_seconds", "From a settled send to the gateway that answers it.")
STREAM_SECONDS = _table.histogram(
    "gateway", "stream_seconds", "From taking a message in to writing it to a live stream; exact to a millisecond."
)
REFUSALS = _table.counter("gateway", "refusals_total", "Requests that were refused.", "reason", Reason)
SUBSCRIBERS = _table.gauge("gateway", "subscribers", "Live streams of agents.")
CALLS_WAITING = _table.gauge("gateway", "calls_waiting", "MailboxClient that wait for the mailbox.")
REQUESTS_QUEUE = _table.gauge("gateway", "queue_items", _QUEUE_HELP, "queue", ("requests",))

SENDS = _table.counter("mailbox", "sends_total", "Messages that were made durable.")
REPEATS = _table.counter("mailbox", "repeats_total", "Sends that were recognised as repeated, by their key.")
STATES = _table.counter(
    "mailbox",
    "states_total",
    "Messages that reached a state.",
    "state",
    ("stored", "filed", "offered", "read", "expired"),
)
INTAKE_SECONDS = _table.histogram("mailbox", "intake_seconds", "From the gateway to the mailbox.")
STORE_SECONDS = _table.histogram("mailbox", "store_seconds", "From the mailbox's order to its outcome: durable, filed.")
ORDERS_PENDING = _table.gauge("mailbox", "orders_pending", "InFlightCommands that the command-queue has not answered.")
MAILBOX_QUEUES = _table.gauge("mailbox", "queue_items", _QUEUE_HELP, "queue", ("writes", "events"))
TABLE_RING = _table.gauge("mailbox", "table_ring_bytes", "The table's ring of messages.", "part", ("size", "used"))
TABLE_MAILBOXES = _table.gauge("mailbox", "table_mailboxes", "Mailboxes in the table's hash.", "part", ("size", "used"))
TABLE_EVICTED = _table.counter("mailbox", "table_evicted_bytes_total", "Bytes of messages that left the ring.")

COMMIT_SECONDS = _table.histogram("command-queue", "commit_seconds", "A transaction, with its fsync.")
FSYNC_SECONDS = _table.histogram("command-queue", "fsync_seconds", "The last step of a transaction: log and fsync.")
FILE_SECONDS = _table.histogram("command-queue", "file_seconds", "Writing the inbox files of one transaction.")
COMMIT_COMMANDS = _table.histogram("command-queue", "commit_commands", "Commands in one transaction.")
OUTCOMES_QUEUE = _table.gauge("command-queue", "queue_items", _QUEUE_HELP, "queue", ("outcomes",))
FILES_WAITING = _table.gauge("command-queue", "files_waiting", "Inbox files that are tried again.")
TEAM_WAITING = _table.gauge("command-queue", "team_entries_waiting", "Entries of team inboxes that are not there yet.")
INDEX_BACKLOG = _table.gauge("command-queue", "index_backlog", "Messages that full-text search does not know yet.")
DISK_FREE = _table.gauge("command-queue", "disk_free_bytes", "Room on the disk.", "place", ("state", "root"))
DATABASE_BYTES = _table.gauge(
    "command-queue", "database_bytes", "The database: what it uses, the warning, the limit; 0: none.", "part",
    ("used", "warn", "max"),
)  # fmt: skip
STORE_WRITABLE = _table.gauge("command-queue", "store_writable", "1 while sends are taken, 0 while room is missing.")

METRICS = tuple(_table.metrics)
BLOCK_WORDS = _table.words


def role_of(process: str) -> str:
    """Returns the role of a process: of gateway-1 it is gateway."""
    return next((role for role in ROLES if process == role or process.startswith(f"{role}-")), process)
