"""bare_loop — the daemon's own commits and file writes, one by one or in batches, and nothing else.

One half of the floor: no queue, no checks, no RPC. In this process (`BareLoop`) it measures the cost of commits and
files alone. As a process beside the echo server (`main`) it reads the number of answered messages from an eventfd and
writes as many. It is no second implementation: `MessageStore` and `InboxFiles` are the daemon's.
"""

__all__ = ["IDS_PER_MESSAGE", "BareLoop", "BatchTimes", "start_beside", "wait_until_written"]

import os
import select
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mailroom.inbox_file_encoder import encode_inbox_file
from mailroomd.model.message import Draft
from mailroomd.protocol.operations import Send
from mailroomd.protocol.packets import Command
from mailroomd.storage.database.connection import checkpoint
from mailroomd.storage.database.message_store import MessageStore, NewMail, StoredMail
from mailroomd.storage.inbox.files import InboxFiles

from benchmarks.clients.messages import CONTENT, SENDER

CHECKPOINT_BYTES = 4 << 20  # as the daemon does
FLUSH_AFTER_MS = 5  # an incomplete batch is written when nothing has arrived for this long
WRITTEN = "written"  # a file in its directory with the number of messages written
MAILBOX = "floor"
IDS_PER_MESSAGE = 2  # its own, and one for its first receipt


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """The duration of one batch, in milliseconds."""

    commit_ms: float
    files_ms: float


class BareLoop:
    """Commits and files messages.

    Args:
        data: the directory for its database and files.
    """

    def __init__(self, data: Path) -> None:
        self.written = 0
        self._next = 1
        self._state_dir = data
        self._store = MessageStore(data)
        self._files = InboxFiles(data)
        self._directory = self._files.ensure_directory(MAILBOX)
        self._draft = Draft(MAILBOX, SENDER, CONTENT)
        self._checkpoints = ThreadPoolExecutor(1)

    def write(self, messages: int) -> BatchTimes:
        """Commits messages in one transaction, then writes their files."""
        now_ms = time.time_ns() // 1_000_000
        first = self._next
        self._next += IDS_PER_MESSAGE * messages
        ids = range(first, self._next, IDS_PER_MESSAGE)
        writes: list[NewMail] = []
        for message_id in ids:
            send = Send(MAILBOX, SENDER, verified=False, key=f"{message_id:011x}-0-0")
            command = Command(message_id, send, IDS_PER_MESSAGE, MAILBOX)
            writes.append(NewMail(command, send, StoredMail(message_id, now_ms, self._draft)))
        started = time.perf_counter()
        done = self._store.commit(writes, now_ms)
        committed = time.perf_counter()
        for mail in done.mail:
            self._files.write(self._directory, mail.id, encode_inbox_file(mail.id, mail.timestamp_ms, mail.draft))
        filed = time.perf_counter()
        self.written += messages
        if self._store.transactions.unsettled_bytes > CHECKPOINT_BYTES:
            self._store.transactions.unsettled_bytes = 0
            self._checkpoints.submit(checkpoint, self._state_dir)
        return BatchTimes((committed - started) * 1000, (filed - committed) * 1000)

    def close(self) -> None:
        """Finishes the checkpoints and closes the database."""
        self._checkpoints.shutdown()
        self._store.close()


def start_beside(data: str, rows: int) -> tuple[int, subprocess.Popen[bytes]]:
    """Starts the loop in its own process; returns the eventfd to which every answered message adds 1.

    Args:
        data: its directory.
        rows: messages per transaction; 0 for all that have accumulated.
    """
    answered = os.eventfd(0, 0)
    command = [sys.executable, "-m", "benchmarks.servers.bare_loop", data, str(answered), str(rows)]
    return answered, subprocess.Popen(command, pass_fds=[answered])


def wait_until_written(data: Path, messages: int, timeout_sec: float = 60.0) -> None:
    """Waits until the loop beside an echo server has written this many messages since it started.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + timeout_sec
    while int((data / WRITTEN).read_bytes() or b"0") < messages:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the bare loop had not written {messages} messages after {timeout_sec:.0f} s")
        time.sleep(0.001)


def main() -> None:
    """The loop's process, with the arguments DIRECTORY EVENTFD ROWS. It ends with its parent, or on SIGTERM."""
    data, answered, rows = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    parent = os.getppid()
    loop = BareLoop(data)
    ready = select.poll()
    ready.register(answered, select.POLLIN)
    pending = 0
    with (data / WRITTEN).open("wb", buffering=0) as written:
        while os.getppid() == parent:
            has_more = bool(ready.poll(FLUSH_AFTER_MS if pending else 1000))
            pending += os.eventfd_read(answered) if has_more else 0
            while pending and (pending >= rows or not has_more):
                batch = min(pending, rows) if rows else pending
                loop.write(batch)
                pending -= batch
                os.pwrite(written.fileno(), str(loop.written).encode(), 0)


if __name__ == "__main__":
    main()
