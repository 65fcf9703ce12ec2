"""process — runs a Python client in its own process; both ends are defined here.

The benchmark calls `run` (one job, one result) or `started` (the client reports that it is ready, works, and returns
its result at the end). The client's main calls `serve`. Job and result travel as JSON.
"""

__all__ = ["Client", "report_ready", "run", "serve", "started", "until_input_ends"]

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import uvloop

Outcome = TypeVar("Outcome")

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_SEC = 180.0
READY = b"ready\n"


class Client(Generic[Outcome]):
    """A running client.

    Args:
        process: the client keeps its resources until its standard input is closed.
        result: the type of its result.
    """

    def __init__(self, process: subprocess.Popen[bytes], result: type[Outcome]) -> None:
        self._process = process
        self._result = result

    def result(self) -> Outcome:
        """Waits for the client to end, and returns its result.

        Raises:
            RuntimeError: the client failed; it has printed why.
            subprocess.TimeoutExpired: it took longer than TIMEOUT_SEC.
        """
        output, _ = self._process.communicate(timeout=TIMEOUT_SEC)
        if self._process.returncode != 0:
            raise RuntimeError(f"{self._process.args} failed with exit code {self._process.returncode}")
        return msgspec.json.decode(output.rpartition(READY)[2], type=self._result)


@contextmanager
def started(module: str, job: object, result: type[Outcome]) -> Generator[Client[Outcome]]:
    """Starts a client, waits until it is ready, and kills it after the block if it is still running.

    Raises:
        RuntimeError: it ended instead; it has printed why.
    """
    process = _popen(module, job)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != READY:
            raise RuntimeError(f"{process.args} did not start")
        yield Client(process, result)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def run(module: str, job: object, result: type[Outcome]) -> Outcome:
    """Runs a client to its end; raises like `Client.result`."""
    process = _popen(module, job)
    try:
        return Client(process, result).result()
    finally:
        process.kill()
        process.wait()


def serve(work: Callable[[Any], Awaitable[object]], job: Any) -> None:
    """The client's side: reads the job from the command line, works, prints the result.

    Args:
        work: is called with the job.
        job: the type of the job, or a union of tagged types.
    """
    decoded = msgspec.json.decode(sys.argv[1], type=job)
    result = uvloop.run(asyncio.wait_for(_awaited(work(decoded)), TIMEOUT_SEC))
    sys.stdout.buffer.write(msgspec.json.encode(result))


def report_ready() -> None:
    """Reports to the benchmark that the client is ready."""
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()


async def until_input_ends() -> None:
    """Waits until the benchmark closes the client's standard input."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


async def _awaited(work: Awaitable[object]) -> object:
    return await work


def _popen(module: str, job: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", module, msgspec.json.encode(job).decode()]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
