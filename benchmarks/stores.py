"""stores — directories with much mail in them, for a daemon to start on.

Read mail is made once through the daemon's own storage layer, and its database kept in a cache below /var/tmp, by
schema version and number; every store is a copy of it, with its own unread mail and files behind. Invariant: what
`prepare` returns looks like a clean stop: everything is synced, and each unread message has its file.
"""

__all__ = ["Mail", "prepare"]

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailroom.inbox_file_encoder import encode_inbox_file
from mailroomd.model.ids import IdSequence
from mailroomd.model.message import Draft
from mailroomd.protocol.commands import WriteMessage, WriteRead
from mailroomd.storage.database.connection import DATABASE_NAME
from mailroomd.storage.database.message_store import MessageStore, StoredMail
from mailroomd.storage.database.schema import SCHEMA_VERSION
from mailroomd.storage.inbox.files import InboxFiles

from benchmarks.clients.messages import CONTENT, SENDER
from benchmarks.servers.bare_loop import IDS_PER_MESSAGE
from benchmarks.servers.process import DATA_PARENT, data_directory

CACHE = DATA_PARENT / "stores"
KEPT_SEC = 12 * 3600  # read mail is up for retention after a day: older stores are made anew
BATCH = 1000
PAST_KEYS_MS = 11 * 60 * 1000  # request keys are kept ten minutes: by then a real store has forgotten them


@dataclass(frozen=True, slots=True)
class Mail:
    """What lies in a store.

    Attributes:
        agent: whose mailbox; of several: agent-0 and so on.
        read: messages that were acknowledged, the oldest, in the one mailbox.
        unread: the newest messages, each with its file, spread evenly over the mailboxes.
    """

    agent: str
    read: int = 0
    unread: int = 0
    mailboxes: int = 1


def prepare(mail: Mail) -> Path:
    """Returns a new directory as `running` takes it, with this mail in it."""
    data = data_directory()
    (data / "state").mkdir(mode=0o700)
    (data / "root").mkdir(mode=0o700)
    if mail.read:
        shutil.copyfile(_cached(mail) / DATABASE_NAME, data / "state" / DATABASE_NAME)
    writer = _Writer(data / "state", data / "root")
    names = [mail.agent] if mail.mailboxes == 1 else [f"{mail.agent}-{number}" for number in range(mail.mailboxes)]
    for first in range(0, mail.unread, BATCH):
        writer.write([names[number % len(names)] for number in range(first, min(first + BATCH, mail.unread))])
    writer.close()
    return data


def _cached(mail: Mail) -> Path:
    """Returns the directory with the database of the read mail, made where it is absent or too old."""
    cached = CACHE / f"schema-{SCHEMA_VERSION}-{mail.agent}-{mail.read}"
    database = cached / DATABASE_NAME
    if database.exists() and time.time() - database.stat().st_mtime < KEPT_SEC:
        return cached
    shutil.rmtree(cached, ignore_errors=True)
    half_made = cached.with_suffix(".new")
    shutil.rmtree(half_made, ignore_errors=True)
    half_made.mkdir(parents=True)
    writer = _Writer(half_made, None)
    for first in range(0, mail.read, BATCH):
        writer.acknowledge(mail.agent, writer.write([mail.agent] * min(BATCH, mail.read - first)))
    writer.close()
    half_made.rename(cached)
    return cached


class _Writer:
    """Writes mail as the command-queue does; without a root, it makes no files."""

    def __init__(self, state_dir: Path, root: Path | None) -> None:
        self._mail: dict[int, StoredMail] = {}
        self._store = MessageStore(state_dir, lambda command: self._mail[command.id])
        self._files = InboxFiles(root) if root else None
        self._ids = IdSequence(self._store.mark("last_id"))
        if root:
            self._store.adopt_root(root)

    def write(self, recipients: Sequence[str]) -> list[int]:
        """Commits and files one message for each recipient; returns their ids."""
        now_ms = time.time_ns() // 1_000_000
        numbers = [self._ids.issue(now_ms, IDS_PER_MESSAGE) for _ in recipients]
        self._mail = {
            number: StoredMail(number, now_ms, Draft(recipient, SENDER, CONTENT))
            for number, recipient in zip(numbers, recipients, strict=True)
        }
        commands = [WriteMessage(number, 0, f"{now_ms:011x}-{number}", False, False) for number in numbers]  # noqa: FBT003
        done = self._store.commit(commands, now_ms, lazily=True)
        if self._files:
            for one in done.mail:
                directory = self._files.ensure_directory(one.draft.recipient)
                self._files.write(directory, one.id, encode_inbox_file(one.id, one.timestamp_ms, one.draft))
        self._tidy(now_ms)
        return numbers

    def acknowledge(self, agent: str, numbers: list[int]) -> None:
        """Marks messages read."""
        now_ms = time.time_ns() // 1_000_000
        places = self._ids.issue(now_ms, len(numbers))
        self._store.commit([WriteRead(places, agent, numbers)], now_ms, lazily=True)

    def close(self) -> None:
        """Says that every file is synced, as a clean stop does."""
        self._store.record_synced(self._ids.last)
        self._store.close()

    def _tidy(self, now_ms: int) -> None:
        """Does what the daemon would do behind, so that none of it is left for the daemon that is measured."""
        while self._store.forget_old(now_ms + PAST_KEYS_MS):
            pass
        while self._store.index_more():
            pass
        self._store.transactions.settle_rest_of_log()
