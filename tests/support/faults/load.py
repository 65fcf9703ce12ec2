"""Load — senders, readers, subscribers and agents on their files, in a process of their own, beside a test.

Owns the process (`load_program`) and the test's view of its notes. What a load does is said by its plan (`load_plan`)
and done by `load_habits`; what must be true afterwards is judged by `checker`.
"""

__all__ = ["Load", "LoadPlan", "digest_of", "run_load"]

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from support.faults.load_context import digest_of
from support.faults.load_plan import LoadPlan
from support.harness.waiting import BOUND_SEC, wait_until


class Load:
    """A load that runs, seen by the test: its notes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._read = 0
        self.acknowledged = 0

    def wait_for_progress(self, sends: int = 20) -> None:
        """Waits until that number of sends, begun from now on, have been acknowledged."""
        begun_after = time.time()
        self._take(float("inf"))
        goal = self.acknowledged + sends
        wait_until(lambda: self._take(begun_after) >= goal, f"{sends} new sends are acknowledged")

    def _take(self, begun_after: float) -> int:
        with (self.directory / "sends.jsonl").open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            self.acknowledged += begun_after == float("inf") or json.loads(line)["begun"] > begun_after
        return self.acknowledged


@contextmanager
def run_load(plan: LoadPlan) -> Generator[Load]:
    """Runs a load while the context lasts, and waits for its good end."""
    directory = Path(plan.directory)
    directory.mkdir()
    text = json.dumps(asdict(plan))
    (directory / "plan.json").write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "support.faults.load_program", text],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "GRPC_ENABLE_FORK_SUPPORT": "0"},
        stdin=subprocess.PIPE,
    )
    assert process.stdin is not None
    try:
        wait_until(
            lambda: (directory / "started").exists() or process.poll() is not None, "the load's subscribers listen"
        )
        yield Load(directory)
    except BaseException:
        process.kill()
        process.wait(BOUND_SEC)
        raise
    finally:
        process.stdin.close()
    code = process.wait(plan.patience_sec + 2 * BOUND_SEC)
    assert code == 0, f"the load ended with {code}"
