"""commit — what do one commit and one inbox file cost without any queue, process or RPC?"""

import statistics
import tempfile
import time
from pathlib import Path

from mailroomd.model.commands import WriteMessage
from mailroomd.model.message import Draft
from mailroomd.storage.filing import Filing
from mailroomd.storage.inbox_files import InboxFiles
from mailroomd.storage.message_store import MessageStore, StoredMail

from benchmarks.daemon import DATA_PARENT
from benchmarks.results import Figure, Options, Result, new_result

__all__ = ["measure"]

QUESTION = "How long do one commit (fsynced) and one inbox file take in a bare loop, message by message?"
METHOD = (
    "The daemon's own store and files in this process, one message of 200 bytes per transaction, without queues, "
    "workers or RPC. Added to the echo's time of one call it is what one durable send costs at least."
)
COMMAND = "MessageStore.commit([one message]), then Filing.file(...)"
MESSAGES, MESSAGES_QUICK, WARM_UP = 2000, 400, 100


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    commits_ms: list[float] = []
    files_ms: list[float] = []
    with tempfile.TemporaryDirectory(prefix="mailroom-bench-", dir=DATA_PARENT) as data:
        mail: dict[int, StoredMail] = {}
        store = MessageStore(Path(data), lambda command: mail[command.id])
        filing = Filing(Path(data), InboxFiles(Path(data)), store.files)
        for number in range(1, 2 * (MESSAGES_QUICK if options.quick else MESSAGES), 2):  # a message takes two numbers
            mail[number] = StoredMail(number, number, Draft("abc", "dashboard", "x" * 200))
            started = time.perf_counter()
            done = store.commit([WriteMessage(number, 0, f"{number:011x}-0-0", False, False)], number)  # noqa: FBT003
            committed = time.perf_counter()
            filing.file(done.mail, 0.0)
            commits_ms.append((committed - started) * 1000)
            files_ms.append((time.perf_counter() - committed) * 1000)
        filing.close()
        store.close()
    samples = {"commit, ms": commits_ms[WARM_UP:], "file, ms": files_ms[WARM_UP:]}
    figures = [
        Figure("one commit, p50", statistics.median(samples["commit, ms"]), "ms", COMMAND),
        Figure("one inbox file, p50", statistics.median(samples["file, ms"]), "ms", COMMAND),
    ]
    return new_result("commit", QUESTION, METHOD, options, figures, samples)
