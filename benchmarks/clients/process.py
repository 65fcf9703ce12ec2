"""process — runs a Python client in a process of its own, both ends on one screen.

The benchmark calls `run` (one job, one answer) or `started` (it says when it is ready, works, and answers at the end);
the client's `main` calls `serve`. Job and answer travel as JSON.
"""

__all__ = ["Client", "run", "say_ready", "serve", "started", "until_input_ends"]

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import uvloop

Answer = TypeVar("Answer")

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_SEC = 180.0
READY = b"ready\n"


class Client(Generic[Answer]):
    """A client that is running.

    Args:
        process: its standard input stays open for as long as it should hold what it has.
        answer: the type of what it answers.
    """

    def __init__(self, process: subprocess.Popen[bytes], answer: type[Answer]) -> None:
        self._process = process
        self._answer = answer

    def answer(self) -> Answer:
        """Returns its answer, after it has ended.

        Raises:
            RuntimeError: it failed; it has printed why.
            subprocess.TimeoutExpired: it took longer than TIMEOUT_SEC.
        """
        output, _ = self._process.communicate(timeout=TIMEOUT_SEC)
        if self._process.returncode != 0:
            raise RuntimeError(f"{self._process.args} failed with exit code {self._process.returncode}")
        return msgspec.json.decode(output.rpartition(READY)[2], type=self._answer)


@contextmanager
def started(module: str, job: object, answer: type[Answer]) -> Generator[Client[Answer]]:
    """Starts a client, waits until it is ready, and ends it with the block at the latest.

    Raises:
        RuntimeError: it ended instead; it has printed why.
    """
    process = _popen(module, job)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != READY:
            raise RuntimeError(f"{process.args} did not get ready")
        yield Client(process, answer)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def run(module: str, job: object, answer: type[Answer]) -> Answer:
    """Runs a client to its end; raises as `Client.answer` does."""
    process = _popen(module, job)
    try:
        return Client(process, answer).answer()
    finally:
        process.kill()
        process.wait()


def serve(work: Callable[[Any], Awaitable[object]], job: Any) -> None:
    """The client's side: reads the job from the command line, works, prints the answer.

    Args:
        work: takes the job.
        job: its type, or a union of tagged ones.
    """
    wanted = msgspec.json.decode(sys.argv[1], type=job)
    answer = uvloop.run(asyncio.wait_for(_awaited(work(wanted)), TIMEOUT_SEC))
    sys.stdout.buffer.write(msgspec.json.encode(answer))


def say_ready() -> None:
    """Tells the benchmark that the client is ready."""
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()


async def until_input_ends() -> None:
    """Waits until the benchmark has no more use for the client."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


async def _awaited(work: Awaitable[object]) -> object:
    return await work


def _popen(module: str, job: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", module, msgspec.json.encode(job).decode()]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
