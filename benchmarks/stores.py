"""stores — directories filled with mail, for a daemon to start on.

Read mail is written once through the daemon's own storage layer, and its database is cached below /var/tmp by schema
version and number of messages. Every store is a copy of it, followed by its own unread mail and files. Invariant: the
result of `prepare` looks like a clean stop: everything is synced, and each unread message has its file.
"""

__all__ = ["Mail", "prepare"]

import shutil
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailroom.inbox_file_encoder import encode_inbox_file
from mailroomd.model.ids import IdSequence
from mailroomd.model.message import Draft
from mailroomd.protocol.operations import Acknowledge, Send
from mailroomd.protocol.packets import Command
from mailroomd.storage.database import schema
from mailroomd.storage.database.connection import DATABASE_NAME
from mailroomd.storage.database.message_store import MessageStore, NewMail, StoredMail
from mailroomd.storage.inbox.files import InboxFiles

from benchmarks.clients.messages import CONTENT, SENDER
from benchmarks.servers.bare_loop import IDS_PER_MESSAGE
from benchmarks.servers.process import DATA_PARENT, data_directory

CACHE = DATA_PARENT / "stores"
KEPT_SEC = 12 * 3600  # retention deletes read mail after a day, so older stores are created anew
BATCH = 1000
PAST_KEYS_MS = 11 * 60 * 1000  # request keys are kept for ten minutes; by then a real store has deleted them


@dataclass(frozen=True, slots=True)
class Mail:
    """The content of a store.

    Attributes:
        agent: the name of the mailbox; several are called agent-0 and so on.
        read: acknowledged messages, the oldest ones; only with a single mailbox.
        unread: the newest messages, each with its file, spread evenly over the mailboxes.
    """

    agent: str
    read: int = 0
    unread: int = 0
    mailboxes: int = 1


def prepare(mail: Mail) -> Path:
    """Returns a new directory for `running` with this mail in it."""
    data = data_directory()
    (data / "state").mkdir(mode=0o700)
    (data / "root").mkdir(mode=0o700)
    if mail.read:
        shutil.copyfile(_cached(mail) / DATABASE_NAME, data / "state" / DATABASE_NAME)
    writer = _Writer(data / "state", data / "root")
    names = [mail.agent] if mail.mailboxes == 1 else [f"{mail.agent}-{index}" for index in range(mail.mailboxes)]
    for first in range(0, mail.unread, BATCH):
        writer.write([names[index % len(names)] for index in range(first, min(first + BATCH, mail.unread))])
    writer.close()
    return data


def _cached(mail: Mail) -> Path:
    """Returns the directory with the database of the read mail; creates it if it is missing or too old."""
    text = Path(schema.__file__).read_bytes()  # a version that is not released may still change
    cached = CACHE / f"schema-{zlib.crc32(text):08x}-{mail.agent}-{mail.read}"
    database = cached / DATABASE_NAME
    if database.exists() and time.time() - database.stat().st_mtime < KEPT_SEC:
        return cached
    shutil.rmtree(cached, ignore_errors=True)
    unfinished = cached.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    writer = _Writer(unfinished, None)
    for first in range(0, mail.read, BATCH):
        writer.acknowledge(mail.agent, writer.write([mail.agent] * min(BATCH, mail.read - first)))
    writer.close()
    unfinished.rename(cached)
    return cached


class _Writer:
    """Writes mail as the command-queue does; without a root it writes no files."""

    def __init__(self, state_dir: Path, root: Path | None) -> None:
        self._store = MessageStore(state_dir)
        self._files = InboxFiles(root) if root else None
        self._ids = IdSequence(self._store.mark("last_id"))
        if root:
            self._store.adopt_root(root)

    def write(self, recipients: Sequence[str]) -> list[int]:
        """Commits and files one message per recipient; returns their ids."""
        now_ms = time.time_ns() // 1_000_000
        ids = [self._ids.issue(now_ms, IDS_PER_MESSAGE) for _ in recipients]
        writes: list[NewMail] = []
        for message_id, recipient in zip(ids, recipients, strict=True):
            send = Send(recipient, SENDER, verified=False, key=f"{now_ms:011x}-{message_id}")
            command = Command(message_id, send, IDS_PER_MESSAGE, recipient)
            mail = StoredMail(message_id, now_ms, Draft(recipient, SENDER, CONTENT))
            writes.append(NewMail(command, send, mail))
        done = self._store.commit(writes, now_ms, lazily=True)
        if self._files:
            for mail in done.mail:
                directory = self._files.ensure_directory(mail.draft.recipient)
                self._files.write(directory, mail.id, encode_inbox_file(mail.id, mail.timestamp_ms, mail.draft))
        self._tidy(now_ms)
        return ids

    def acknowledge(self, agent: str, message_ids: list[int]) -> None:
        """Marks messages read."""
        now_ms = time.time_ns() // 1_000_000
        receipt_ids = self._ids.issue(now_ms, len(message_ids))
        self._store.commit(
            [Command(receipt_ids, Acknowledge(agent, message_ids), len(message_ids))], now_ms, lazily=True
        )

    def close(self) -> None:
        """Records that every file is synced, as a clean stop does."""
        self._store.record_synced(self._ids.last)
        self._store.close()

    def _tidy(self, now_ms: int) -> None:
        """Does the daemon's background work, so that none of it is left for the daemon that is measured."""
        while self._store.forget_old(now_ms + PAST_KEYS_MS):
            pass
        while self._store.index_more():
            pass
        self._store.transactions.settle_rest_of_log()
