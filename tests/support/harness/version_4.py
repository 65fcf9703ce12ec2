"""version_4 — the schema before receipts said who had acknowledged, as it was written: an upgrade can begin here."""

__all__ = ["VERSION_4"]

VERSION_4 = """
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO meta VALUES ('last_id', 0), ('synced_id', 0);
CREATE TABLE messages (
    id           INTEGER PRIMARY KEY,
    recipient TEXT NOT NULL,
    sender TEXT NOT NULL,
    type TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    in_reply_to INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL,
    verified INTEGER NOT NULL DEFAULT 0,
    reply_by_ms INTEGER NOT NULL DEFAULT 0,
    timestamp_ms INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    file_error   TEXT NOT NULL DEFAULT '', -- why its inbox file is not there; '' if it is
    team_error   TEXT NOT NULL DEFAULT '', -- why its entry in the team inbox is not there; '' if it is, or none is due
    filed_id     INTEGER NOT NULL DEFAULT 0, -- place of its receipt FILED; 0: not filed yet; -1: it never gets one
    filed_ms     INTEGER NOT NULL DEFAULT 0,
    offered_ms   INTEGER NOT NULL DEFAULT 0,
    read_ms      INTEGER NOT NULL DEFAULT 0, -- or when it expired
    overdue_ms INTEGER NOT NULL DEFAULT 0, -- when its sender learned that no answer had come
    metadata TEXT NOT NULL,
    content TEXT NOT NULL -- last: a look at the columns before them never walks through their pages
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

CREATE INDEX messages_of_sender ON messages (sender, id);
CREATE INDEX messages_of_thread ON messages (thread_id, id) WHERE thread_id <> '';
CREATE INDEX ended ON messages (id) WHERE state >= 4;
CREATE INDEX expiring ON messages (timestamp_ms + ttl_ms) WHERE ttl_ms > 0 AND state < 4;
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

DROP INDEX ended;
CREATE INDEX ended ON messages (timestamp_ms) WHERE state >= 4;
CREATE INDEX receipts_by_age ON receipts (timestamp_ms);
CREATE INDEX responses_by_age ON responses (timestamp_ms);
ALTER TABLE idempotency_keys ADD COLUMN used_ms INTEGER NOT NULL DEFAULT 0;
UPDATE idempotency_keys SET used_ms = min(message_id >> 20, strftime('%s', 'now') * 1000);
DROP INDEX idempotency_keys_by_age;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (used_ms);
DROP TABLE search;
DROP VIEW searchable;
CREATE VIRTUAL TABLE search USING fts5 (mailbox, content, content = '', tokenize = 'unicode61 remove_diacritics 2');
UPDATE meta SET value = 0 WHERE name = 'indexed_id';

CREATE TABLE deadlines (
    id          INTEGER PRIMARY KEY, -- of the message
    sender      TEXT NOT NULL,
    recipient   TEXT NOT NULL,
    reply_by_ms INTEGER NOT NULL
);
CREATE INDEX deadlines_by_time ON deadlines (reply_by_ms);
PRAGMA user_version = 4;
"""
