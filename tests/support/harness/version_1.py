"""version_1 — the schema of version 1, as development versions wrote it: an upgrade begins with it."""

__all__ = ["VERSION_1"]

VERSION_1 = """
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE messages (
    id           INTEGER PRIMARY KEY,
    recipient    TEXT NOT NULL,
    sender       TEXT NOT NULL,
    type         TEXT NOT NULL,
    thread_id    TEXT NOT NULL,
    in_reply_to  INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    ttl_ms       INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    file_error   TEXT NOT NULL DEFAULT '',
    filed_ms     INTEGER NOT NULL DEFAULT 0,
    offered_ms   INTEGER NOT NULL DEFAULT 0,
    read_ms      INTEGER NOT NULL DEFAULT 0,
    metadata     TEXT NOT NULL,
    content      TEXT NOT NULL -- last: a look at the columns before it never walks through its pages
);
CREATE INDEX messages_of_mailbox ON messages (recipient, id);
CREATE INDEX unread_of_mailbox ON messages (recipient, id) WHERE state < 4;
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
INSERT INTO meta VALUES ('last_id', 0), ('synced_id', 0);
PRAGMA user_version = 1;
"""
