"""bare_loop — the daemon's own commits and files, message by message or in batches, with nothing around them.

Half of the floor: no queue, no checks, no RPC. In this process (`BareLoop`) it says what commits and files cost by
themselves; as a process beside the echo server (`main`) it takes what that has answered from an eventfd and writes it.
Not a second implementation: `MessageStore` and `InboxFiles` are the daemon's.
"""

__all__ = ["IDS_PER_MESSAGE", "BareLoop", "Took", "start_beside", "wait_until_written"]

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
from mailroomd.protocol.commands import WriteMessage
from mailroomd.storage.database.connection import checkpoint
from mailroomd.storage.database.message_store import MessageStore, StoredMail
from mailroomd.storage.inbox.files import InboxFiles

from benchmarks.clients.messages import CONTENT, SENDER

CHECKPOINT_BYTES = 4 << 20  # as often as the daemon
REST_AFTER_MS = 5  # a batch that isn't full is written when nothing has come for so long
WRITTEN = "written"  # a file below its directory: how many messages are
MAILBOX = "floor"
IDS_PER_MESSAGE = 2  # its own, and the place of its first receipt


@dataclass(frozen=True, slots=True)
class Took:
    """What one batch took, in milliseconds."""

    commit_ms: float
    files_ms: float


class BareLoop:
    """Commits and files messages.

    Args:
        data: its database and files go below it.
    """

    def __init__(self, data: Path) -> None:
        self.written = 0
        self._next = 1
        self._state_dir = data
        self._mail: dict[int, StoredMail] = {}
        self._store = MessageStore(data, lambda command: self._mail[command.id])
        self._files = InboxFiles(data)
        self._directory = self._files.ensure_directory(MAILBOX)
        self._draft = Draft(MAILBOX, SENDER, CONTENT)
        self._checkpoints = ThreadPoolExecutor(1)

    def write(self, messages: int) -> Took:
        """Commits so many messages in one transaction, then writes their files."""
        now_ms = time.time_ns() // 1_000_000
        first = self._next
        self._next += IDS_PER_MESSAGE * messages
        numbers = range(first, self._next, IDS_PER_MESSAGE)
        self._mail = {number: StoredMail(number, now_ms, self._draft) for number in numbers}
        commands = [WriteMessage(number, 0, f"{number:011x}-0-0", False, False) for number in numbers]  # noqa: FBT003
        started = time.perf_counter()
        done = self._store.commit(commands, now_ms)
        committed = time.perf_counter()
        for one in done.mail:
            self._files.write(self._directory, one.id, encode_inbox_file(one.id, one.timestamp_ms, one.draft))
        filed = time.perf_counter()
        self.written += messages
        if self._store.transactions.unsettled_bytes > CHECKPOINT_BYTES:
            self._store.transactions.unsettled_bytes = 0
            self._checkpoints.submit(checkpoint, self._state_dir)
        return Took((committed - started) * 1000, (filed - committed) * 1000)

    def close(self) -> None:
        """Folds the log into the database and closes it."""
        self._checkpoints.shutdown()
        self._store.close()


def start_beside(data: str, rows: int) -> tuple[int, subprocess.Popen[bytes]]:
    """Starts the loop in a process of its own; returns the eventfd to which every answered message adds 1.

    Args:
        data: its directory.
        rows: messages in a transaction; 0 for whatever has gathered.
    """
    answered = os.eventfd(0, 0)
    command = [sys.executable, "-m", "benchmarks.servers.bare_loop", data, str(answered), str(rows)]
    return answered, subprocess.Popen(command, pass_fds=[answered])


def wait_until_written(data: Path, messages: int, timeout_sec: float = 60.0) -> None:
    """Returns once the loop beside an echo server has written so many messages since it started.

    Raises:
        TimeoutError: it didn't in time.
    """
    deadline = time.monotonic() + timeout_sec
    while int((data / WRITTEN).read_bytes() or b"0") < messages:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the bare loop has not written {messages} messages after {timeout_sec:.0f} s")
        time.sleep(0.001)


def main() -> None:
    """The loop's process: DIRECTORY EVENTFD ROWS. It ends with its parent, or by SIGTERM."""
    data, answered, rows = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    parent = os.getppid()
    loop = BareLoop(data)
    ready = select.poll()
    ready.register(answered, select.POLLIN)
    gathered = 0
    with (data / WRITTEN).open("wb", buffering=0) as written:
        while os.getppid() == parent:
            has_more = bool(ready.poll(REST_AFTER_MS if gathered else 1000))
            gathered += os.eventfd_read(answered) if has_more else 0
            while gathered and (gathered >= rows or not has_more):
                batch = min(gathered, rows) if rows else gathered
                loop.write(batch)
                gathered -= batch
                os.pwrite(written.fileno(), str(loop.written).encode(), 0)


if __name__ == "__main__":
    main()
