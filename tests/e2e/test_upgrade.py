"""A database of the previous version works with all its messages; one of a later version is refused."""

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager

import pytest
from mailroom.inbox_file_encoder import encode_inbox_file
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.model.message import Draft
from support.faults.checker import Sent, broken_promises, gather
from support.faults.load import digest_of
from support.harness.daemon import Daemon, short_directory
from support.harness.version_1 import VERSION_1

MESSAGES, MAILBOXES = 10_000, 21
UNREAD_EVERY = 10  # every tenth message is unread and has a file
FILED, READ = 2, 4
MS_SHIFT = 20  # an id begins with the milliseconds
CALL_SEC = 20.0
SETTLE_SEC = 60.0  # for the index of all of it
INSERT = (
    "INSERT INTO messages (id, recipient, sender, content, type, metadata, thread_id, in_reply_to, priority, ttl_ms,"
    " timestamp_ms, state, filed_ms, read_ms) VALUES (?, ?, 's', ?, 'text', '{}', '', 0, 2, 0, ?, ?, ?, ?)"
)


@contextmanager
def daemon_of_before(version: int, messages: int) -> Generator[tuple[Daemon, list[Sent]]]:
    """Yields a stopped daemon whose database has the tables of version 1, and the messages in it."""
    with short_directory() as directory:
        daemon = Daemon(directory)
        daemon.state_dir.mkdir(mode=0o700)
        begun_ms = int((time.time() - 3600) * 1000)
        sends: list[Sent] = []
        with closing(sqlite3.connect(daemon.database, isolation_level=None)) as old:
            old.execute("PRAGMA journal_mode = WAL")
            old.executescript(VERSION_1)
            old.execute("BEGIN")
            for number in range(messages):
                at_ms = begun_ms + number
                name, content = f"agent-{number % MAILBOXES}", f"message {number} of the old days"
                state = FILED if number % UNREAD_EVERY == 0 else READ
                message_id, digest = at_ms << MS_SHIFT, digest_of(content)
                old.execute(INSERT, (message_id, name, content, at_ms, state, at_ms, at_ms if state == READ else 0))
                if state == FILED:
                    write_file(daemon, name, message_id, at_ms, content)
                sends.append(Sent("", message_id, "s", name, digest, digest, state))
            old.execute(
                "INSERT INTO mailboxes (name, total, unread)"
                " SELECT recipient, count(*), sum(state < 4) FROM messages GROUP BY recipient"
            )
            old.execute("UPDATE meta SET value = ?", (sends[-1].id,))  # of ids and of synced files
            old.execute("COMMIT")
            old.execute(f"PRAGMA user_version = {version}")
        try:
            yield daemon, sends
        finally:
            daemon.kill_everything()


def write_file(daemon: Daemon, mailbox: str, message_id: int, at_ms: int, content: str) -> None:
    directory = daemon.inbox / mailbox
    directory.mkdir(parents=True, exist_ok=True)
    body = encode_inbox_file(message_id, at_ms, Draft(mailbox, "s", content))
    (directory / f"{message_id:016x}.json").write_bytes(body)


@pytest.mark.timeout(240)
def test_ten_thousand_messages_of_the_version_before_are_all_there_after_the_upgrade() -> None:
    with daemon_of_before(1, MESSAGES) as (daemon, sends):
        daemon.start()
        evidence = gather(daemon, None, settle_sec=SETTLE_SEC)
        evidence.sends, evidence.asked = sends, {sent.id for sent in sends if sent.state == READ}
        assert broken_promises(evidence) == []
        assert len(evidence.messages) == MESSAGES
        assert len(evidence.files) == sum(sent.state == FILED for sent in sends)
        with daemon.calls() as calls:
            new = calls.send(pb.SendMessageRequest(recipient="agent-1", sender="s", content="new"), timeout=CALL_SEC)
            assert int(new.message.id, 16) > sends[-1].id
            first = calls.get_message(pb.GetMessageRequest(id=f"{sends[1].id:016x}"), timeout=CALL_SEC).message
            assert first.content == "message 1 of the old days"
        assert daemon.stop() == 0


def test_a_database_of_a_later_version_is_refused_with_a_sentence_and_left_as_it_is() -> None:
    with daemon_of_before(99, 1) as (daemon, _):
        before = daemon.database.read_bytes()
        with pytest.raises(AssertionError, match=f"ended with {os.EX_CONFIG}"):
            daemon.start()
        assert "has schema version 99" in daemon.log()
        assert "install the newer mailroomd again, or restore a backup" in daemon.log()
        assert "Traceback" not in daemon.log()
        assert daemon.database.read_bytes() == before
        daemon.assert_no_process_left()
