"""MessageField — what a message consists of: each field declared once, in the table FIELDS.

A row has the field's names, its kind, its limit, the schema that brought its column, and whether it makes a request
another one. Everything that treats all fields alike is built from the table when its module is imported: columns and
rows, the digest of a request, validation, the conversions from and to the contract, the inbox file. A `Kind` says how a
value is represented in each of these; the functions that convert it are where the representation is.
Not here: what the daemon adds to a message (id, time, state); the typed attributes of `Draft`, `Message`, `InboxFile`
and `SendOptions`, which a type checker has to see (`tests/unit/test_message_fields.py` compares them with the table).
Invariant: a new field goes to the end, because a draft is packed by position. Importing this module imports nothing.
"""

__all__ = [
    "ALWAYS",
    "FIELDS",
    "FLAG",
    "IF_SET",
    "LIFETIME",
    "MESSAGE_ID",
    "MOMENT",
    "NAME",
    "NEVER",
    "OBJECT",
    "OPTIONAL_FIELDS",
    "PRIORITIES",
    "PRIORITY",
    "SENT_FIELDS",
    "TEN_YEARS_MS",
    "TEXT",
    "Kind",
    "MessageField",
    "limit_of",
]

PRIORITIES = ("low", "normal", "high", "urgent")  # in the order of the contract's numbers, which start with 1
TEN_YEARS_MS = 10 * 365 * 24 * 3600 * 1000  # keeps sums of times far below 63 bits

ALWAYS, IF_SET, NEVER = "always", "if set", "never"
"""Whether a field is part of the digest that recognizes a repeated request. Those of the first databases always are. A
later one is left out while it is absent, so that the digests in databases stay valid."""


class Kind:
    """How the values of a field are represented.

    Attributes:
        draft_type: the type of its value in the daemon's `Draft`.
        absent: the value in a `Draft` if the field is absent.
        proto_type: the type in a request of the contract.
        column_type: the type of its column.
        file_type: the type in an inbox file.
        absent_in_file: the attribute of an `InboxFile` if the field is absent.
    """

    __slots__ = ("absent", "absent_in_file", "column_type", "draft_type", "file_type", "proto_type")

    def __init__(
        self, draft_type: type, absent: object, proto_type: str, column_type: str, absent_in_file: object
    ) -> None:
        self.draft_type = draft_type
        self.absent = absent
        self.proto_type = proto_type
        self.column_type = column_type
        self.file_type = type(absent_in_file)
        self.absent_in_file = absent_in_file


NAME = Kind(str, "", "string", "TEXT", "")  # of an agent
TEXT = Kind(str, "", "string", "TEXT", "")  # UTF-8; its limit counts bytes
OBJECT = Kind(bytes, b"{}", "google.protobuf.Struct", "TEXT", {})  # as JSON with sorted keys; its limit counts bytes
MESSAGE_ID = Kind(int, 0, "string", "INTEGER", "")  # outside the daemon: 16 lowercase hex digits
PRIORITY = Kind(int, PRIORITIES.index("normal") + 1, "mailroom.v1.Priority", "INTEGER", "normal")
LIFETIME = Kind(int, 0, "google.protobuf.Duration", "INTEGER", "")  # milliseconds; readers see the moment when it ends
MOMENT = Kind(int, 0, "google.protobuf.Timestamp", "INTEGER", "")  # milliseconds since 1970; its limit is from now on
FLAG = Kind(bool, absent=False, proto_type="bool", column_type="INTEGER", absent_in_file=False)


class MessageField:
    """One row of the table.

    Attributes:
        name: in a request of the contract, and in the SDK's `SendOptions`.
        kind: how its values are represented.
        stored: the attribute of a `Draft`, and the column.
        shown: the attribute of a message, in the contract, the SDK and an `InboxFile`.
        key: in the JSON of an inbox file.
        limit: of its value, in the unit of its kind; 0 for none.
        reason: the name of the error for a value that is not allowed.
        absent: the value in a `Draft` if the field is absent.
        absent_in_file: the attribute of an `InboxFile` then.
        is_optional: inbox files leave it out while it is absent.
        is_sent: the sender sets it; otherwise the daemon does.
        digest: ALWAYS, IF_SET or NEVER.
        since: the schema version that brought its column.
    """

    __slots__ = (
        "absent",
        "absent_in_file",
        "digest",
        "is_optional",
        "is_sent",
        "key",
        "kind",
        "limit",
        "name",
        "reason",
        "shown",
        "since",
        "stored",
    )

    def __init__(
        self,
        name: str,
        kind: Kind,
        reason: str = "",
        *,
        stored: str = "",
        shown: str = "",
        key: str = "",
        limit: int = 0,
        absent: object = None,
        is_optional: bool = True,
        is_sent: bool = True,
        digest: str = IF_SET,
        since: int = 1,
    ) -> None:
        self.name = name
        self.kind = kind
        self.stored = stored or name
        self.shown = shown or name
        self.key = key or self.shown
        self.limit = limit
        self.reason = reason
        self.absent = kind.absent if absent is None else absent
        self.absent_in_file = self.absent if kind.file_type is kind.draft_type else kind.absent_in_file
        self.is_optional = is_optional
        self.is_sent = is_sent
        self.digest = digest
        self.since = since


FIELDS = (
    MessageField("recipient", NAME, "RECIPIENT_INVALID", key="session_id", is_optional=False, digest=ALWAYS),
    MessageField("sender", NAME, "SENDER_INVALID", key="from", is_optional=False, digest=ALWAYS),
    # Larger payloads belong in a file that the message names.
    MessageField("content", TEXT, "CONTENT_TOO_LARGE", limit=1 << 20, is_optional=False, digest=ALWAYS),
    MessageField(
        "type",
        TEXT,
        "TYPE_TOO_LONG",
        key="message_type",
        limit=128,
        absent="text",
        is_optional=False,
        digest=ALWAYS,
    ),
    MessageField("metadata", OBJECT, "METADATA_TOO_LARGE", limit=64 << 10, is_optional=False, digest=ALWAYS),
    MessageField("thread_id", TEXT, "THREAD_ID_TOO_LONG", limit=128, digest=ALWAYS),
    MessageField("in_reply_to", MESSAGE_ID, "MESSAGE_ID_INVALID", digest=ALWAYS),
    MessageField("priority", PRIORITY, "PRIORITY_INVALID", digest=ALWAYS),
    MessageField(
        "ttl", LIFETIME, "TTL_INVALID", stored="ttl_ms", shown="expires_at", limit=TEN_YEARS_MS, digest=ALWAYS
    ),
    # It depends on the caller, not on the request.
    MessageField("verified", FLAG, shown="sender_verified", is_sent=False, digest=NEVER, since=2),
    # A client that repeats "within two hours" names a later time: it is the same request.
    MessageField(
        "reply_by", MOMENT, "REPLY_BY_INVALID", stored="reply_by_ms", limit=TEN_YEARS_MS, digest=NEVER, since=4
    ),
)
SENT_FIELDS = tuple(field for field in FIELDS if field.is_sent)
OPTIONAL_FIELDS = tuple(field for field in FIELDS if field.is_optional)


def limit_of(name: str) -> int:
    """Returns the limit of a field."""
    return next(field.limit for field in FIELDS if field.name == name)
