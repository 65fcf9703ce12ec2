"""Schema — the tables of `mailroom.db`, their version, and the upgrade from each older version.

Owns every CREATE, and the upgrades, each in one transaction with its version number. The columns of a message's own
fields come from `mailroom.message_fields`. Not here: opening and refusing (`storage.database.connection`), the meaning
of the columns at run time (the modules that own the tables: `rows`, `receipts`, `responses`, `alias_rows`,
`request_keys`, `mailbox_counters`, `search_index`, `reply_deadlines`, `forward_queue`, `arrivals`).
Invariant: an upgraded database has the same tables as a new one (columns may be in another order).
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["DEFAULTS", "SCHEMA_VERSION", "upgrade"]

import sqlite3
from collections.abc import Callable

from mailroom.message_fields import FIELDS, MessageField

from mailroomd.model.ids import MS_SHIFT
from mailroomd.storage.database.state_conditions import ENDED, UNREAD

SCHEMA_VERSION = 5
LARGE_BYTES = 1024  # a text that may be larger has its column behind the others
BEAT_EVERY_STEPS = 1_000_000  # of SQLite's virtual machine: some 20 ms between two heartbeats during an upgrade

DEFAULTS = {
    field.stored: f"'{field.absent}'" if field.kind.column_type == "TEXT" else f"{field.absent:d}"
    for field in FIELDS
    if field.since > 1
}
"""As SQL: what messages of earlier versions have in the columns that were added later."""


def _column(field: MessageField) -> str:
    default = f" DEFAULT {DEFAULTS[field.stored]}" if field.stored in DEFAULTS else ""
    return f"{field.stored} {field.kind.column_type} NOT NULL{default}"


def _field_columns(*, is_large: bool) -> str:
    """Returns the columns of a message's fields: those with large values, or the others."""
    large = [field for field in FIELDS if field.kind.column_type == "TEXT" and field.limit > LARGE_BYTES]
    chosen = reversed(large) if is_large else (field for field in FIELDS if field not in large)
    return ", ".join(map(_column, chosen))


def _added_columns(version: int) -> str:
    """Returns the statements that add what `messages` lacks since a version."""
    added = (field for field in FIELDS if field.since > version)
    return "".join(f"ALTER TABLE messages ADD COLUMN {_column(field)};\n" for field in added)


_OVERDUE_COLUMN = "overdue_ms INTEGER NOT NULL DEFAULT 0"
_BY_COLUMN = "acknowledged_by TEXT NOT NULL DEFAULT ''"

_TABLES = f"""
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO meta VALUES ('last_id', 0), ('synced_id', 0);
CREATE TABLE messages (
    id           INTEGER PRIMARY KEY,
    {_field_columns(is_large=False)},
    timestamp_ms INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    file_error   TEXT NOT NULL DEFAULT '', -- why its inbox file is not there; '' if it is
    team_error   TEXT NOT NULL DEFAULT '', -- why its entry in the team inbox is not there; '' if it is, or none is due
    filed_id     INTEGER NOT NULL DEFAULT 0, -- place of its receipt FILED; 0: not filed yet; -1: it never gets one
    filed_ms     INTEGER NOT NULL DEFAULT 0,
    offered_ms   INTEGER NOT NULL DEFAULT 0,
    read_ms      INTEGER NOT NULL DEFAULT 0, -- or when it expired
    {_OVERDUE_COLUMN}, -- when its sender learned that no answer had come
    {_BY_COLUMN}, -- who acknowledged it in its recipient's place; '' for the recipient
    {_field_columns(is_large=True)} -- last: a look at the columns before them never walks through their pages
);
CREATE INDEX messages_of_mailbox ON messages (recipient, id);
CREATE INDEX unread_of_mailbox ON messages (recipient, id) WHERE {UNREAD};
CREATE INDEX unfiled ON messages (id) WHERE file_error <> '';
CREATE TABLE mailboxes (
    name         TEXT PRIMARY KEY,
    total        INTEGER NOT NULL DEFAULT 0,
    unread       INTEGER NOT NULL DEFAULT 0,
    last_seen_ms INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE idempotency_keys (
    sender     TEXT NOT NULL,
    key        TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    digest     BLOB NOT NULL,
    PRIMARY KEY (sender, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (message_id);
CREATE TABLE request_keys (
    key        TEXT PRIMARY KEY,
    message_id INTEGER NOT NULL
) WITHOUT ROWID;
"""

_SINCE_2 = f"""
CREATE INDEX messages_of_sender ON messages (sender, id);
CREATE INDEX messages_of_thread ON messages (thread_id, id) WHERE thread_id <> '';
CREATE INDEX ended ON messages (id) WHERE {ENDED};
CREATE INDEX expiring ON messages (timestamp_ms + ttl_ms) WHERE ttl_ms > 0 AND {UNREAD};
CREATE INDEX not_in_team_inbox ON messages (id) WHERE team_error <> '';
CREATE TABLE receipts (
    id           INTEGER PRIMARY KEY,
    sender       TEXT NOT NULL,
    message_id   INTEGER NOT NULL,
    recipient    TEXT NOT NULL,
    state        INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL
);
CREATE INDEX receipts_of_sender ON receipts (sender, id);
CREATE TABLE responses (
    id           INTEGER PRIMARY KEY,
    agent        TEXT NOT NULL,
    session      TEXT NOT NULL,
    file_name    TEXT NOT NULL,
    identity     TEXT NOT NULL,
    state        INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    body         TEXT NOT NULL
);
CREATE INDEX responses_of_agent ON responses (agent, id);
CREATE UNIQUE INDEX responses_by_file ON responses (session, file_name, identity);
CREATE TABLE aliases (
    session    TEXT PRIMARY KEY,
    agent      TEXT NOT NULL,
    expires_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE cleared_files (
    id      INTEGER PRIMARY KEY,
    mailbox TEXT NOT NULL
);
INSERT INTO meta VALUES ('indexed_id', 0);
CREATE VIEW searchable (id, mailbox, content) AS SELECT id, 'x' || hex(recipient), content FROM messages;
CREATE VIRTUAL TABLE search USING fts5 (
    mailbox, content, content = 'searchable', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);
"""

# Retention compares stored times: ids run ahead of a clock that was set back. The index of version 2 took a run of
# Chinese or Japanese characters for one word; it is filled again from the beginning.
_SINCE_3 = f"""
DROP INDEX ended;
CREATE INDEX ended ON messages (timestamp_ms) WHERE {ENDED};
CREATE INDEX receipts_by_age ON receipts (timestamp_ms);
CREATE INDEX responses_by_age ON responses (timestamp_ms);
ALTER TABLE idempotency_keys ADD COLUMN used_ms INTEGER NOT NULL DEFAULT 0;
UPDATE idempotency_keys SET used_ms = min(message_id >> {MS_SHIFT}, strftime('%s', 'now') * 1000);
DROP INDEX idempotency_keys_by_age;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (used_ms);
DROP TABLE search;
DROP VIEW searchable;
CREATE VIRTUAL TABLE search USING fts5 (mailbox, content, content = '', tokenize = 'unicode61 remove_diacritics 2');
UPDATE meta SET value = 0 WHERE name = 'indexed_id';
"""

_SINCE_4 = """
CREATE TABLE deadlines (
    id          INTEGER PRIMARY KEY, -- of the message
    sender      TEXT NOT NULL,
    recipient   TEXT NOT NULL,
    reply_by_ms INTEGER NOT NULL
);
CREATE INDEX deadlines_by_time ON deadlines (reply_by_ms);
"""

_SINCE_5 = f"""
ALTER TABLE receipts ADD COLUMN {_BY_COLUMN};
ALTER TABLE receipts ADD COLUMN reason TEXT NOT NULL DEFAULT ''; -- why the message was returned
CREATE TABLE forward_queue (
    host         TEXT NOT NULL, -- that has to store it
    id           INTEGER NOT NULL, -- its sequence id
    run          INTEGER NOT NULL, -- of the daemon that stored it
    origin_run   INTEGER NOT NULL, -- of a receipt: its message at that host; 0: a message
    origin_id    INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    size_bytes   INTEGER NOT NULL DEFAULT 0, -- of a message
    PRIMARY KEY (host, id)
) WITHOUT ROWID;
CREATE TABLE links (
    host     TEXT PRIMARY KEY,
    sent_run INTEGER NOT NULL, -- the position that was sent last
    sent_id  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE departures (
    id     INTEGER PRIMARY KEY, -- of a message for another host
    host   TEXT NOT NULL,
    run    INTEGER NOT NULL,
    reason TEXT NOT NULL DEFAULT '' -- why it was returned
);
CREATE TABLE arrivals (
    host      TEXT NOT NULL,
    run       INTEGER NOT NULL, -- of that host's daemon
    id        INTEGER NOT NULL, -- the highest one stored
    stored_ms INTEGER NOT NULL,
    PRIMARY KEY (host, run)
) WITHOUT ROWID;
CREATE TABLE origins (
    id        INTEGER PRIMARY KEY, -- of a message from another host
    host      TEXT NOT NULL,
    run       INTEGER NOT NULL,
    origin_id INTEGER NOT NULL -- its id there
);
CREATE INDEX origins_by_id ON origins (host, origin_id);
"""

# The messages of version 1 have one id each, so there is none for their first receipt.
_FROM_1 = """
ALTER TABLE messages ADD COLUMN team_error TEXT NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN filed_id INTEGER NOT NULL DEFAULT 0;
UPDATE messages SET filed_id = -1;
"""

_FROM_4 = f"ALTER TABLE messages ADD COLUMN {_BY_COLUMN};"
_FROM_3 = f"ALTER TABLE messages ADD COLUMN {_OVERDUE_COLUMN}; {_FROM_4}"

_STEPS = {
    0: _TABLES + _SINCE_2 + _SINCE_3 + _SINCE_4 + _SINCE_5,
    1: _added_columns(1) + _FROM_1 + _FROM_3 + _SINCE_2 + _SINCE_3 + _SINCE_4 + _SINCE_5,
    2: _added_columns(2) + _FROM_3 + _SINCE_3 + _SINCE_4 + _SINCE_5,
    3: _added_columns(3) + _FROM_3 + _SINCE_4 + _SINCE_5,
    4: _added_columns(4) + _FROM_4 + _SINCE_5,
}


def upgrade(connection: sqlite3.Connection, version: int, beat: Callable[[], None]) -> None:
    """Creates the tables, or upgrades those of an older version; does nothing if the version is current.

    Args:
        version: of the database, 0 if it is new.
        beat: called periodically.

    Raises:
        sqlite3.Error: the database cannot be written; it is unchanged.
    """
    if version not in _STEPS:
        return

    def go_on() -> int:
        beat()
        return 0

    connection.set_progress_handler(go_on, BEAT_EVERY_STEPS)
    try:
        connection.executescript(f"BEGIN; {_STEPS[version]} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.set_progress_handler(None, 0)
